"""What a person or a server is known by: tokens and client certificates of a kubeconfig's user, and when they end.

Owns reading them (files, inline data, plugins) and looking at their dates; never sends them anywhere, never logs them.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import os
import shlex
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from backend.contract.errors import FileError
from backend.fleet.kube.answers import Misconfigured, NotAccepted

_PLUGIN_S: Final = 60.0
"""A plugin that asks somebody to log in may take its time; nobody sees it here, so it is not waited for longer."""


_TOLD_TO_PLUGINS: Final = ("server", "tls-server-name", "insecure-skip-tls-verify", "proxy-url")


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """What goes with a request. Tokens have no `Bearer` before them."""

    token: str = ""
    certificate: bytes = b""
    key: bytes = b""
    expires_ts: float | None = None
    """Of the token or the certificate, where it says so."""

    def same_as(self, other: Credentials) -> bool:
        return (self.token, self.certificate, self.key) == (other.token, other.certificate, other.key)

    def __repr__(self) -> str:
        """Never the secrets."""
        digest = hashlib.sha256(self.token.encode() + self.certificate).hexdigest()[:8]
        return f"<Credentials {digest}>"


class _ExecStatus(msgspec.Struct, frozen=True, rename="camel"):
    token: str = ""
    client_certificate_data: str = ""
    client_key_data: str = ""
    expiration_timestamp: datetime | None = None


class _ExecCredential(msgspec.Struct, frozen=True):
    status: _ExecStatus | None = None


async def read_credentials(
    user: Mapping[str, Any], user_name: str, cluster: Mapping[str, Any] | None = None
) -> Credentials:
    """What the user's entry of a kubeconfig gives now: its plugin is run, its files are read again.

    Raises NotAccepted where a plugin gives none, FileError or Misconfigured where what is written cannot be used."""
    if isinstance(plugin := user.get("exec"), dict):
        return await _from_plugin(plugin, user_name, cluster or {})
    certificate = _material(user, "client-certificate")
    key = _material(user, "client-key")
    token = ""
    if user.get("tokenFile"):
        token = _file(Path(str(user["tokenFile"]))).decode("utf-8", "replace").strip()
    token = token or str(user.get("token") or "").strip()
    expires = token_expiry(token) if token else certificate_expiry(certificate)
    return Credentials(token=token, certificate=certificate, key=key, expires_ts=expires)


async def _from_plugin(plugin: Mapping[str, Any], user_name: str, cluster: Mapping[str, Any]) -> Credentials:
    command = str(plugin.get("command") or "")
    argv = [command, *(str(arg) for arg in plugin.get("args") or [])]
    version = str(plugin.get("apiVersion") or "client.authentication.k8s.io/v1")
    spec: dict[str, Any] = {"interactive": False}
    if plugin.get("provideClusterInfo"):
        spec["cluster"] = {name: cluster[name] for name in _TOLD_TO_PLUGINS if name in cluster}
        if authority := read_authority(cluster):
            spec["cluster"]["certificate-authority-data"] = base64.b64encode(authority.encode()).decode()
    wish = {"apiVersion": version, "kind": "ExecCredential", "spec": spec}
    named = {str(e.get("name")): str(e.get("value") or "") for e in plugin.get("env") or [] if isinstance(e, dict)}
    env = {**os.environ, **named, "KUBERNETES_EXEC_INFO": msgspec.json.encode(wish).decode()}
    by_hand = f"Run it by hand: `{shlex.join(argv)}`."
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            env=env,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        hint = str(plugin.get("installHint") or "").strip().partition("\n")[0]
        problem = (error.strerror or str(error)).lower()
        raise NotAccepted(
            f"The credential plugin {command or '(none)'} of user {user_name} cannot be run: {problem}.",
            hint or "Install it, or choose a context with another user.",
        ) from None
    try:
        async with asyncio.timeout(_PLUGIN_S):
            out, err = await process.communicate()
    except (TimeoutError, asyncio.CancelledError) as stopped:
        process.kill()
        await process.wait()
        if isinstance(stopped, asyncio.CancelledError):
            raise
        raise NotAccepted(f"The credential plugin {command} gave nothing in {_PLUGIN_S:.0f} s.", by_hand) from None
    if process.returncode != 0:
        lines = err.decode("utf-8", "replace").strip().splitlines()
        said = f": {lines[-1][:200]}" if lines else ""
        words = f"The credential plugin {command} of user {user_name} failed ({process.returncode}){said}"
        raise NotAccepted(words.rstrip(".") + ".", f"Log in again. {by_hand}")
    try:
        status = msgspec.json.decode(out, type=_ExecCredential).status
    except (msgspec.DecodeError, UnicodeDecodeError):
        status = None
    if status is None or not (status.token or status.client_certificate_data):
        raise NotAccepted(f"The credential plugin {command} printed no credentials.", by_hand)
    certificate, key = status.client_certificate_data.encode(), status.client_key_data.encode()
    expires = status.expiration_timestamp.timestamp() if status.expiration_timestamp else None
    if expires is None:
        expires = token_expiry(status.token) if status.token else certificate_expiry(certificate)
    return Credentials(token=status.token.strip(), certificate=certificate, key=key, expires_ts=expires)


def read_authority(cluster: Mapping[str, Any]) -> str:
    """The cluster's certificate authorities as PEM text; empty: the machine's own. Raises FileError, Misconfigured."""
    return _material(cluster, "certificate-authority").decode("ascii", "replace")


def _material(entry: Mapping[str, Any], name: str) -> bytes:
    """`<name>-data` (base64) or the file `<name>`."""
    if data := entry.get(f"{name}-data"):
        try:
            return base64.b64decode(str(data), validate=False)
        except (binascii.Error, ValueError):
            raise Misconfigured(f"`{name}-data` in the kubeconfig is not base64.", "Write the entry anew.") from None
    return _file(Path(str(entry[name]))) if entry.get(name) else b""


def _file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        problem = (error.strerror or str(error)).lower()
        raise FileError(str(path), f"cannot be read: {problem}.", "The kubeconfig names it; put it there.") from None


def token_expiry(token: str) -> float | None:
    """The `exp` of a JSON web token; None for other tokens."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = msgspec.json.decode(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, msgspec.DecodeError):
        return None
    expires = claims.get("exp") if isinstance(claims, dict) else None
    return float(expires) if isinstance(expires, int | float) and not isinstance(expires, bool) else None


def certificate_expiry(pem: bytes) -> float | None:
    """`notAfter` of the first certificate of a PEM text; None where there is none that can be read."""
    _, begin, rest = pem.partition(b"-----BEGIN CERTIFICATE-----")
    body, end, _ = rest.partition(b"-----END CERTIFICATE-----")
    if not begin or not end:
        return None
    try:
        return _not_after(base64.b64decode(body))
    except (ValueError, IndexError, OverflowError):
        return None


def _not_after(der: bytes) -> float:
    """Of an X.509 certificate: tbsCertificate's fifth field is `validity`, its second time the end."""
    certificate, _ = _value(der, 0, 0x30)
    tbs, _ = _value(certificate, 0, 0x30)
    at = 0
    if tbs[0] == 0xA0:  # version, which only the oldest leave out
        at = _skip(tbs, at)
    for _ in range(3):  # serial number, signature algorithm, issuer
        at = _skip(tbs, at)
    validity, _ = _value(tbs, at, 0x30)
    at = _skip(validity, 0)
    text, _ = _value(validity, at, validity[at])
    digits = text.decode("ascii").rstrip("Z")
    if len(digits) == 12:  # UTCTime: 50 to 99 are of the last century
        digits = ("19" if int(digits[:2]) >= 50 else "20") + digits
    return datetime.strptime(digits, "%Y%m%d%H%M%S").replace(tzinfo=UTC).timestamp()


def _value(data: bytes, at: int, tag: int) -> tuple[bytes, int]:
    """The contents of the DER element at `at`, and where the next begins."""
    if data[at] != tag:
        raise ValueError("another DER element was expected")
    length, at = data[at + 1], at + 2
    if length & 0x80:
        count = length & 0x7F
        length, at = int.from_bytes(data[at : at + count], "big"), at + count
    if at + length > len(data):
        raise ValueError("DER ends early")
    return data[at : at + length], at + length


def _skip(data: bytes, at: int) -> int:
    return _value(data, at, data[at])[1]
