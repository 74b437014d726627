"""Which Docker engine is meant, and how it is reached: a context, $DOCKER_HOST, or the machine's own socket.

Owns reading the Docker program's configuration (`config.json`, the contexts' metadata and certificates) with its own
order of precedence. Never connects and never writes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from backend.fleet.docker_engine.errors import EngineTrouble

DEFAULT: Final = "default"
DEFAULT_HOST: Final = "unix:///var/run/docker.sock"
_SCHEMES: Final = ("unix", "tcp", "http", "https", "ssh")


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Where an engine is. The certificate paths are empty where there are none."""

    context: str
    """Its context's name; `default` for $DOCKER_HOST and the machine's own socket."""
    host: str
    """`unix:///path`, `tcp://host:port` or `ssh://user@host`."""
    tls: bool = False
    verify: bool = True
    """Whether the engine's certificate is checked (only with `tls`)."""
    ca: str = ""
    cert: str = ""
    key: str = ""

    @property
    def socket_path(self) -> str | None:
        """Of a unix socket; null for others."""
        return self.host.removeprefix("unix://") if self.host.startswith("unix://") else None

    @property
    def is_local(self) -> bool:
        """Whether its published ports are this machine's."""
        return self.host.startswith("unix://") or self.address in ("127.0.0.1", "localhost", "::1")

    @property
    def address(self) -> str:
        """The machine that its published ports are on."""
        return "127.0.0.1" if self.host.startswith("unix://") else urlsplit(self.host).hostname or "127.0.0.1"

    @property
    def url(self) -> str:
        """Its API's base address for an HTTP client; over a unix socket the host part means nothing."""
        if not self.host.startswith("tcp://"):
            return "http://docker"
        return ("https://" if self.tls else "http://") + self.host.removeprefix("tcp://")


def resolve_endpoint(context: str = "", environ: Mapping[str, str] | None = None) -> Endpoint:
    """The engine of a context; empty: $DOCKER_HOST, else $DOCKER_CONTEXT, else the configuration's current one.

    `default` is $DOCKER_HOST or the machine's own socket. Raises EngineTrouble for a context that there is not, and
    for addresses and files that cannot be used.
    """
    env = os.environ if environ is None else environ
    folder = _config_dir(env)
    name = context
    if not name:
        name = DEFAULT if env.get("DOCKER_HOST") else env.get("DOCKER_CONTEXT") or _current(folder)
    if name == DEFAULT:
        return _from_environment(env)
    return _from_context(name, folder)


def known_contexts(environ: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Names of the contexts there are, `default` first. What cannot be read is left out."""
    folder = _config_dir(os.environ if environ is None else environ) / "contexts" / "meta"
    names = set()
    for path in sorted(folder.glob("*/meta.json")):
        name = _object(path).get("Name")
        if isinstance(name, str) and name:
            names.add(name)
    return (DEFAULT, *sorted(names - {DEFAULT}))


def _config_dir(env: Mapping[str, str]) -> Path:
    return Path(env.get("DOCKER_CONFIG") or Path(env.get("HOME") or Path.home()) / ".docker")


def _current(folder: Path) -> str:
    current = _object(folder / "config.json").get("currentContext")
    return current if isinstance(current, str) and current else DEFAULT


def _from_environment(env: Mapping[str, str]) -> Endpoint:
    host = env.get("DOCKER_HOST") or DEFAULT_HOST
    verify = bool(env.get("DOCKER_TLS_VERIFY"))
    folder = env.get("DOCKER_CERT_PATH") or ""
    scheme = host.partition("://")[0]
    if scheme in ("unix", "ssh") or not (verify or folder):
        return _endpoint(DEFAULT, host)
    ca, cert, key = (str(Path(folder or _config_dir(env)) / name) for name in ("ca.pem", "cert.pem", "key.pem"))
    for path in (*((ca,) if verify else ()), cert, key):
        if not Path(path).is_file():
            raise EngineTrouble(
                "misconfigured",
                f"The certificate {path} for the Docker engine at {host} is missing.",
                "Set DOCKER_CERT_PATH to the folder with ca.pem, cert.pem and key.pem, or unset DOCKER_TLS_VERIFY.",
            )
    return _endpoint(DEFAULT, host, tls=True, verify=verify, ca=ca if verify else "", cert=cert, key=key)


def _from_context(name: str, folder: Path) -> Endpoint:
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()
    path = folder / "contexts" / "meta" / digest / "meta.json"
    if not path.is_file():
        known = ", ".join(known_contexts({"DOCKER_CONFIG": str(folder)}))
        raise EngineTrouble(
            "not-found", f"There is no Docker context `{name}`.", f"Known are: {known}. See `docker context ls`."
        )
    endpoints = _object(path).get("Endpoints")
    docker = endpoints.get("docker") if isinstance(endpoints, dict) else None
    host = docker.get("Host") if isinstance(docker, dict) else None
    if not isinstance(docker, dict) or not isinstance(host, str) or not host:
        raise EngineTrouble(
            "misconfigured",
            f"The Docker context `{name}` names no engine ({path}).",
            f"Mend it: `docker context update {name} --docker host=...`.",
        )
    files = _certificates(folder / "contexts" / "tls" / digest / "docker")
    skip = docker.get("SkipTLSVerify") is True
    tls = host.startswith(("tcp://", "https://")) and (bool(files) or host.startswith("https://"))
    if bool(files.get("cert")) != bool(files.get("key")):
        raise EngineTrouble(
            "misconfigured",
            f"The Docker context `{name}` has only one of certificate and key.",
            f"Store both: `docker context update {name} --docker host={host},ca=...,cert=...,key=...`.",
        )
    return _endpoint(
        name,
        host,
        tls=tls,
        verify=not skip,
        ca=files.get("ca", ""),
        cert=files.get("cert", ""),
        key=files.get("key", ""),
    )


def _certificates(folder: Path) -> dict[str, str]:
    """`ca`, `cert` and `key` of a context, those that it has."""
    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError:
        return {}
    found = {}
    for kind in ("ca", "cert", "key"):
        for name in names:
            if name.startswith(kind):
                found[kind] = str(folder / name)
                break
    return found


def _endpoint(
    context: str, host: str, *, tls: bool = False, verify: bool = True, ca: str = "", cert: str = "", key: str = ""
) -> Endpoint:
    scheme, divider, rest = host.partition("://")
    if not divider:  # `host:port` is short for TCP
        scheme, rest = "tcp", host
    if scheme not in _SCHEMES or not rest.strip("/"):
        raise EngineTrouble(
            "misconfigured",
            f"`{host}` is no address of a Docker engine (context `{context}`).",
            "Write unix:///path/to/docker.sock, tcp://HOST:2376 or ssh://USER@HOST in DOCKER_HOST or the context.",
        )
    if scheme in ("http", "https"):
        tls, scheme = tls or scheme == "https", "tcp"
    if scheme == "unix":
        rest = "/" + rest.lstrip("/")
    elif scheme == "tcp":
        rest = rest.rstrip("/")
        try:
            port = urlsplit(f"//{rest}").port
        except ValueError:
            raise EngineTrouble(
                "misconfigured",
                f"`{host}` has no usable port (context `{context}`).",
                "Write tcp://HOST:2375, or tcp://HOST:2376 for TLS.",
            ) from None
        if port is None:
            rest += ":2376" if tls else ":2375"
    return Endpoint(context=context, host=f"{scheme}://{rest}", tls=tls, verify=verify, ca=ca, cert=cert, key=key)


def _object(path: Path) -> dict[str, object]:
    """The JSON object in a file; empty where there is none."""
    try:
        held = msgspec.json.decode(path.read_bytes())
    except (OSError, msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return {}
    return held if isinstance(held, dict) else {}
