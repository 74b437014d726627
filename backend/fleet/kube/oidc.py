"""ID tokens of an OpenID provider: the `oidc` auth provider of a kubeconfig, renewed as kubectl renews them.

Owns the exchange of a refresh token, and writing both new tokens back into the kubeconfig they came from: a provider
may take each refresh token only once. Nothing else of that file changes, not a comment. Never logs a token.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import ssl
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import yaml

from backend.config.atomic_file import write_atomically
from backend.config.own_logs import get_logger
from backend.fleet.kube.answers import NotAccepted
from backend.fleet.kube.credentials import token_expiry
from backend.fleet.kube.proxies import proxy_for

_log = get_logger(__name__)
EARLY_S: Final = 30.0
"""A token that ends so soon is renewed."""
_ANSWER_S: Final = 20.0
_LOCKED_S: Final = 2.0
"""kubectl holds `<kubeconfig>.lock` while it writes; one that stays is left over from a kubectl that died."""
Renewed = dict[str, dict[str, str]]
"""Refresh token of the file -> the two tokens it was exchanged for: should the file not be written, they live here."""


async def oidc_token(
    config: Mapping[str, Any],
    user_name: str,
    *,
    files: Sequence[Path],
    env: Mapping[str, str],
    now: float,
    renewed: Renewed,
) -> str:
    """The ID token to use now. `config`: of the auth provider. Raises NotAccepted where there is none to be had."""
    tokens = {name: str(config.get(name) or "") for name in ("id-token", "refresh-token")}
    while (newer := renewed.get(tokens["refresh-token"])) is not None and newer != tokens:
        tokens = newer
    expires = token_expiry(tokens["id-token"])
    if tokens["id-token"] and (expires is None or expires - EARLY_S > now):
        return tokens["id-token"]
    if not tokens["refresh-token"]:
        raise NotAccepted(
            f"The ID token of {user_name} has expired and there is no refresh token.", "Log in to the provider again."
        )
    fresh = await _exchanged(config, tokens["refresh-token"], user_name, env)
    renewed[tokens["refresh-token"]] = fresh
    try:
        await asyncio.to_thread(_write_back, files, user_name, fresh)
    except (OSError, ValueError, yaml.YAMLError) as error:
        _log.warning("renewed tokens could not be written to the kubeconfig", user=user_name, error=str(error))
    return fresh["id-token"]


# -- the provider


async def _exchanged(config: Mapping[str, Any], refresh: str, user: str, env: Mapping[str, str]) -> dict[str, str]:
    """The new tokens."""
    import aiohttp

    issuer = str(config.get("idp-issuer-url") or "").rstrip("/")
    client, secret = str(config.get("client-id") or ""), str(config.get("client-secret") or "")
    form = {"grant_type": "refresh_token", "refresh_token": refresh}
    # Providers differ in where they want the client named: in a header first, then in the form.
    named = base64.b64encode(f"{quote(client, safe='')}:{quote(secret, safe='')}".encode()).decode()
    basic = {"Authorization": f"Basic {named}"}
    inside = form | {"client_id": client} | ({"client_secret": secret} if secret else {})
    try:
        context = await asyncio.to_thread(_trusted, config)
        timeout = aiohttp.ClientTimeout(total=_ANSWER_S)
        async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(ssl=context)) as session:
            place = f"{issuer}/.well-known/openid-configuration"
            async with session.get(place, proxy=proxy_for(place, env), raise_for_status=True) as found:
                where = str((await found.json(content_type=None))["token_endpoint"])
            for headers, data in ((basic, form), ({}, inside)):
                async with session.post(where, data=data, headers=headers, proxy=proxy_for(where, env)) as answer:
                    status, said = answer.status, await answer.read()
                if status == 200:
                    break
        told = json.loads(said) if status == 200 else {}
    except (aiohttp.ClientError, OSError, ValueError, KeyError, TypeError) as error:  # TimeoutError is an OSError
        words = (
            f"The ID token of {user} cannot be renewed: {issuer or 'no provider'} does not answer as one ({error!r})"
        )
        raise NotAccepted(words[:300] + ".", "Check `idp-issuer-url`, or log in to the provider again.") from None
    if status != 200:
        raise NotAccepted(
            f"{issuer} does not renew the ID token of {user} ({status}).", "Log in to the provider again."
        )
    if not isinstance(told, dict) or not told.get("id_token"):
        raise NotAccepted(f"{issuer} gave no ID token to {user}.", "Log in again, with the scope `openid`.")
    return {"id-token": str(told["id_token"]), "refresh-token": str(told.get("refresh_token") or refresh)}


def _trusted(config: Mapping[str, Any]) -> ssl.SSLContext:
    """Who may say to be the provider."""
    data, file = config.get("idp-certificate-authority-data"), config.get("idp-certificate-authority")
    if data:
        return ssl.create_default_context(cadata=base64.b64decode(str(data)).decode("ascii"))
    return ssl.create_default_context(cafile=str(file) if file else None)


# -- the file


def _write_back(files: Sequence[Path], user: str, tokens: Mapping[str, str]) -> None:
    """Into the first of the files that has this user. Raises OSError, ValueError."""
    for path in files:
        entry = _config_of(yaml.compose(path.read_text(encoding="utf-8"), yaml.SafeLoader), user)
        if entry is None:
            continue
        whole = path.resolve()  # of a link, what it leads to is written
        lock = Path(f"{path}.lock")
        mine = _locked(lock)
        try:
            text = whole.read_text(encoding="utf-8")
            write_atomically(whole, replaced(text, user, tokens).encode(), mode=whole.stat().st_mode & 0o777)
        finally:
            if mine:
                lock.unlink(missing_ok=True)
        return
    raise ValueError(f"no kubeconfig has the user {user}")


def replaced(text: str, user: str, tokens: Mapping[str, str]) -> str:
    """The kubeconfig with those tokens for that user, all else as it was. Raises ValueError where it cannot be done."""
    for name, value in tokens.items():
        config = _config_of(yaml.compose(text, yaml.SafeLoader), user)
        if config is None or not config.value:
            raise ValueError(f"there is no oidc user {user}")
        written = json.dumps(value)
        old = next((held for key, held in config.value if key.value == name), None)
        if old is not None:
            before, held = text[: old.start_mark.index], text[old.start_mark.index : old.end_mark.index]
            # A block scalar ends behind its newline.
            text = before + written + held[len(held.rstrip()) :] + text[old.end_mark.index :]
            continue
        mark = config.value[0][0].start_mark
        between = ", " if config.flow_style else "\n" + " " * mark.column
        text = f"{text[: mark.index]}{name}: {written}{between}{text[mark.index :]}"
    made = _config_of(yaml.compose(text, yaml.SafeLoader), user)
    now = {key.value: value.value for key, value in made.value} if made is not None else {}
    if any(now.get(name) != value for name, value in tokens.items()):
        raise ValueError(f"the tokens of {user} cannot be put into its YAML")
    return text


def _config_of(document: Any, user: str) -> Any:
    """The mapping node `users[name=user].user.auth-provider.config`; None where there is none."""
    users = _inside(document, "users")
    for entry in users.value if isinstance(users, yaml.SequenceNode) else ():
        name = _inside(entry, "name")
        if name is not None and name.value == user:
            return _inside(_inside(_inside(entry, "user"), "auth-provider"), "config")
    return None


def _inside(node: Any, key: str) -> Any:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for name, value in node.value if name.value == key), None)


def _locked(lock: Path) -> bool:
    """Whether the lock is ours now."""
    end = time.monotonic() + _LOCKED_S
    while True:
        with contextlib.suppress(FileExistsError):
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            return True
        if time.monotonic() >= end:
            return False
        time.sleep(0.05)
