"""One open way to an API server with one set of credentials: kubernetes.aio's client, its TLS and its connections.

Imports `kubernetes.aio` when the first is opened, not before. Owns how a link is made and ended; sends nothing by it.
"""

from __future__ import annotations

import asyncio
import importlib
import socket
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from backend.contract.errors import TrinityError
from backend.fleet.kube import credentials, kubeconfig
from backend.fleet.kube.answers import Misconfigured, NotAccepted
from backend.fleet.kube.credentials import Credentials
from backend.fleet.kube.oidc import Renewed, oidc_token
from backend.fleet.kube.proxies import proxy_for
from backend.lean import bare


class Link(msgspec.Struct, kw_only=True):
    """An open connection pool with one set of credentials. `api` is a kubernetes.aio ApiClient."""

    choice: kubeconfig.Choice
    credentials: Credentials
    api: Any
    connector: Any
    loader: Any
    generation: int
    renewed: Renewed

    async def close(self) -> None:
        await self.api.close()
        await self.connector.close()


async def open_link(
    choice: kubeconfig.Choice, generation: int, former: Link | None, *, service_account: Path, env: Mapping[str, str]
) -> Link:
    """A link by what the kubeconfig says, through the proxy that it or else `env` names. Raises UsageError,
    NotAccepted."""
    client, config_library = await asyncio.to_thread(_libraries)
    made = client.Configuration()
    made.connection_pool_maxsize = 0  # watches, logs and forwards must never wait for each other
    # From Python 3.13 on certificates are held to RFC 5280 to the letter, which those of many clusters fail.
    made.disable_strict_ssl_verification = True
    loader = None
    if choice.context == kubeconfig.IN_CLUSTER and not choice.cluster:
        cluster: dict[str, Any] = {"certificate-authority": str(service_account / "ca.crt")}
        user: dict[str, Any] = {"tokenFile": str(service_account / "token")}
        made.host = choice.server
    else:
        cluster, user = choice.cluster, choice.user
        loader = await _apply(config_library, choice, made, former)
    renewed = former.renewed if former is not None else {}
    if (config := _oidc(user)) is not None:
        files = tuple(Path(part) for part in choice.source.split(", "))
        token = await oidc_token(config, choice.user_name, files=files, env=env, now=time.time(), renewed=renewed)
        found = Credentials(token=token, expires_ts=credentials.token_expiry(token))
    else:
        found = await credentials.read_credentials(user, choice.user_name, cluster)
    if found.token:
        made.api_key["BearerToken"] = f"Bearer {found.token}"
    if choice.server.startswith("https"):
        made.ca_cert_data = credentials.read_authority(cluster) or None
    made.proxy = made.proxy or proxy_for(choice.server, env)
    api = await asyncio.to_thread(_client, client, made, found, choice)
    connector = _connector(api)
    import aiohttp

    made.client_session_kwargs = {"connector": connector, "cookie_jar": aiohttp.DummyCookieJar(), "trust_env": False}
    keep = loader if "auth-provider" in user and _oidc(user) is None else None
    return Link(
        choice=choice,
        credentials=found,
        api=api,
        connector=connector,
        loader=keep,
        generation=generation,
        renewed=renewed,
    )


def _oidc(user: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The settings of a user's OpenID provider; None where it has none."""
    provider = user.get("auth-provider")
    if not isinstance(provider, dict) or provider.get("name") != "oidc":
        return None
    config = provider.get("config")
    return config if isinstance(config, dict) else {}


def _libraries() -> tuple[Any, Any]:
    """kubernetes.aio's client and configuration, and nothing of the client beside them."""
    bare("kubernetes")
    bare("kubernetes.aio")
    client = importlib.import_module("kubernetes.aio.client")
    _ = client.ApiClient  # found when first asked for, which takes as long as all the rest
    return client, importlib.import_module("kubernetes.aio.config.kube_config")


async def _apply(config: Any, choice: kubeconfig.Choice, made: Any, former: Link | None) -> Any:
    """Let kubernetes.aio set host, proxy, TLS names, passwords and the tokens of its auth providers."""
    kept = {key: value for key, value in choice.user.items() if key in ("auth-provider", "username", "password")}
    if _oidc(choice.user) is not None:
        del kept["auth-provider"]
    ours = ("certificate-authority", "certificate-authority-data")
    document = {
        "current-context": choice.context,
        "contexts": [{"name": choice.context, "context": {"cluster": "cluster", "user": "user"}}],
        "clusters": [{"name": "cluster", "cluster": {k: v for k, v in choice.cluster.items() if k not in ours}}],
        "users": [{"name": "user", "user": kept}],
    }
    same = former is not None and former.loader is not None and former.choice == choice
    loader = former.loader if same and former is not None else config.KubeConfigLoader(document)
    try:
        await loader.load_and_set(made)
    except TrinityError:
        raise
    except Exception as error:
        words = f"The user {choice.user_name} of context {choice.context} gives no credentials: {error}"
        raise NotAccepted(words[:300].rstrip(".") + ".", "Log in again, or use another context.") from error
    return loader


def _client(client: Any, made: Any, found: Credentials, choice: kubeconfig.Choice) -> Any:
    """An ApiClient whose TLS context holds the client certificate. The key is in a file only while that is made."""
    with tempfile.TemporaryDirectory(prefix="trinity-kube-") as place:
        if found.certificate and choice.server.startswith("https"):
            certificate, key = Path(place, "certificate.pem"), Path(place, "key.pem")
            certificate.write_bytes(found.certificate)
            key.touch(0o600)
            key.write_bytes(found.key)
            made.cert_file, made.key_file = str(certificate), str(key) if found.key else None
        try:
            api = client.ApiClient(made)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise Misconfigured(
                f"The certificates of context {choice.context} cannot be used: {error}.",
                f"Check certificate-authority, client-certificate and client-key in {choice.source}.",
            ) from error
        made.cert_file = made.key_file = None
        return api


def _connector(api: Any) -> Any:
    """aiohttp's connections, with keep-alive: a peer that vanished ends a watch within a minute."""
    import aiohttp

    def open_socket(address: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, _ = address
        made = socket.socket(family, kind, protocol)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for name, value in (("TCP_KEEPIDLE", 20), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
            if hasattr(socket, name):
                made.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        return made

    return aiohttp.TCPConnector(limit=0, ssl=api.rest_client.ssl_context, socket_factory=open_socket)


def end_with_connection(response: Any) -> None:
    """aiohttp leaves a reader waiting for ever where the connection was closed over bytes that are no HTTP: its reader
    is told here."""
    import aiohttp

    protocol = response.connection.protocol if response.connection is not None else None
    closed = protocol.closed if protocol is not None else None
    if closed is None:
        return

    def tell(future: asyncio.Future[None]) -> None:
        if not future.cancelled():
            future.exception()  # seen
        if not response.content.is_eof() and response.content.exception() is None:
            response.content.set_exception(aiohttp.ClientPayloadError("what came was no HTTP"))

    closed.add_done_callback(tell)
