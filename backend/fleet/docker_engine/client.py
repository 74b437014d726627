"""The connection to one Docker engine: calls of the SDK in threads of its own, and streams on the loop.

Owns the SDK's client, the thread pool and the HTTP connections of streams (events, logs, a program's terminal), and
turns every failure into a TrinityError (see errors.py). Knows nothing of fleets and keeps no state of the engine's.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from backend.contract.errors import InternalError, TrinityError, Unreachable
from backend.fleet.docker_engine.contexts import Endpoint, resolve_endpoint
from backend.fleet.docker_engine.errors import EngineTrouble, explain, refusal_of
from backend.fleet.docker_engine.reading import flag, items, text, whole
from backend.fleet.docker_engine.ssh import SshBridge

if TYPE_CHECKING:
    import docker
    import httpx
    from httpcore import AsyncNetworkStream

T = TypeVar("T")

CALL_S: Final = 20.0
"""An engine that does not answer a call for this long does not answer."""
_WORKERS: Final = 16
_ANY_VERSION: Final = "1.41"
"""Of the API; the first with all that is asked for here."""
_CONNECT_S: Final = 5.0
_MAX_ERROR_BYTES: Final = 64 * 1024


class EngineInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine says of itself."""

    id: str
    name: str
    version: str
    api_version: str
    system: str
    """`Debian GNU/Linux 12`, `Docker Desktop`, ..."""
    rootless: bool = False
    swarm_node: str = ""
    """Its own node's id in a Swarm; empty outside of one."""
    swarm_manager: bool = False
    memory_bytes: int | None = None
    cpus: int | None = None


class EngineClient:
    """One engine. `connect` before all else, and again after a failure; `close` at the end.

    Every method raises EngineTrouble while the engine cannot be used, and other TrinityErrors (NotThere, Conflict,
    Refused, UsageError) for what it answered. May be used by any number of tasks of one loop.
    """

    def __init__(self, context: str = "", *, environ: Mapping[str, str] | None = None, call_s: float = CALL_S) -> None:
        self._context, self._environ, self._call_s = context, environ, call_s
        self._pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="docker")
        self._endpoint: Endpoint | None = None
        self._api: docker.APIClient | None = None
        self._http: httpx.AsyncClient | None = None
        self._bridge: SshBridge | None = None
        self._connecting = asyncio.Lock()
        self._info: EngineInfo | None = None

    @property
    def endpoint(self) -> Endpoint:
        """Where the engine is. Raises EngineTrouble (no such context)."""
        if self._endpoint is None:
            self._endpoint = resolve_endpoint(self._context, self._environ)
        return self._endpoint

    @property
    def info(self) -> EngineInfo:
        """What the engine said of itself when it was last connected to. Raises InternalError before that."""
        if self._info is None:
            raise InternalError("The Docker engine was asked about itself before it was connected to.")
        return self._info

    async def connect(self) -> EngineInfo:
        """Find the engine (anew), learn its API version and what it is.

        Where the present connection still answers it is kept: streams of others hang on it.
        """
        async with self._connecting:
            if self._api is not None:
                try:
                    return await self._ask_engine(self._api)
                except TrinityError:
                    await self._let_go()
            self._endpoint = None
            endpoint = await asyncio.to_thread(resolve_endpoint, self._context, self._environ)
            self._endpoint = endpoint
            reached = endpoint
            if endpoint.host.startswith("ssh://"):
                self._bridge = await SshBridge.open(endpoint.host)
                reached = msgspec.structs.replace(endpoint, host=f"unix://{self._bridge.socket_path}")
            api = await self._in_thread(lambda: _connect(reached, self._call_s))
            self._api = api
            self._http = await self._in_thread(lambda: _stream_client(reached))
            return await self._ask_engine(api)

    async def call(self, work: Callable[[docker.APIClient], T]) -> T:
        """Run `work` with the SDK's low-level client in a thread. Connects first where that has not been done."""
        if self._api is None:
            await self.connect()
        api = self._api
        assert api is not None
        return await self._in_thread(lambda: work(api))

    async def get(self, path: str, **params: str | int) -> object:
        """The decoded answer to a GET; `path` without the API version. For what the SDK has no types for."""
        return await self._ask("GET", path, params)

    async def post(
        self, path: str, body: object = None, *, timeout_s: float | None = None, **params: str | int
    ) -> object:
        """The decoded answer to a POST, null where it is empty. Answers may take `timeout_s`."""
        return await self._ask("POST", path, params, body, timeout_s)

    async def delete(self, path: str, **params: str | int) -> None:
        """Remove something."""
        await self._ask("DELETE", path, params)

    async def _ask(
        self,
        method: str,
        path: str,
        params: Mapping[str, str | int],
        body: object = None,
        timeout_s: float | None = None,
    ) -> object:
        def ask(api: docker.APIClient) -> object:
            response = api.request(
                method,
                f"{api.base_url}/v{api.api_version}{path}",
                params=params,
                data=None if body is None else msgspec.json.encode(body),
                headers=None if body is None else {"Content-Type": "application/json"},
                timeout=timeout_s or self._call_s,
            )
            if response.status_code >= 400:
                raise refusal_of(response.status_code, _message(response.content), self.endpoint)
            return msgspec.json.decode(response.content) if response.content.strip() else None

        return await self.call(ask)

    @contextlib.asynccontextmanager
    async def stream(
        self,
        path: str,
        params: Mapping[str, str | int] | None = None,
        *,
        method: str = "GET",
        silence_s: float | None = None,
        **request: Any,
    ) -> AsyncIterator[httpx.Response]:
        """An answer whose body is read as it comes (`aiter_raw`); `path` without the API version.

        `silence_s`: the longest pause between two pieces, null for any.
        """
        import httpx

        http, url = await self._prepared(path)
        timeout = httpx.Timeout(self._call_s, connect=_CONNECT_S, read=silence_s)
        try:
            async with http.stream(method, url, params=params, timeout=timeout, **request) as response:
                await self._raise_for(response)
                yield response
        except (httpx.HTTPError, httpx.StreamError, ssl.SSLError, OSError) as error:
            raise explain(error, self.endpoint, timeout_s=silence_s or self._call_s) from None

    async def hijack(self, path: str, body: object) -> Hijacked:
        """POST that turns its connection into a stream of bytes both ways (an exec's start, an attach)."""
        import httpx

        http, url = await self._prepared(path)
        request = http.build_request(
            "POST",
            url,
            content=msgspec.json.encode(body),
            headers={"Content-Type": "application/json", "Connection": "Upgrade", "Upgrade": "tcp"},
            timeout=httpx.Timeout(None, connect=_CONNECT_S),
        )
        try:
            async with asyncio.timeout(self._call_s):
                response = await http.send(request, stream=True)
                await self._raise_for(response)
        except (httpx.HTTPError, ssl.SSLError, OSError) as error:
            raise explain(error, self.endpoint, timeout_s=self._call_s) from None
        if response.status_code != 101:
            await response.aclose()
            raise Unreachable(
                f"The Docker engine at {self.endpoint.host} did not open the stream (status {response.status_code}).",
                "A proxy between us and the engine may not let connections be upgraded: go around it.",
            )
        return Hijacked(response, self.endpoint)

    async def close(self) -> None:
        """Let everything go; calls in flight end with their threads."""
        async with self._connecting:
            await self._let_go()
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _prepared(self, path: str) -> tuple[httpx.AsyncClient, str]:
        if self._http is None or self._api is None:
            await self.connect()
        assert self._http is not None
        assert self._api is not None
        return self._http, f"/v{self._api.api_version}{path}"

    async def _raise_for(self, response: httpx.Response) -> None:
        if response.status_code < 400:
            return
        body = b""
        async for piece in response.aiter_raw():
            body += piece
            if len(body) > _MAX_ERROR_BYTES:
                break
        await response.aclose()
        raise refusal_of(response.status_code, _message(body), self.endpoint)

    async def _ask_engine(self, api: docker.APIClient) -> EngineInfo:
        info = _engine_info(await self._in_thread(api.info), await self._in_thread(api.version))
        self._info = info
        return info

    async def _in_thread(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        except Exception as error:  # the SDK raises of many kinds; `explain` keeps programming errors apart
            if isinstance(error, (TypeError, AttributeError, AssertionError, KeyError, NameError)):
                raise
            raise explain(error, self.endpoint, timeout_s=self._call_s) from error

    async def _let_go(self) -> None:
        api, self._api = self._api, None
        http, self._http = self._http, None
        bridge, self._bridge = self._bridge, None
        if http is not None:
            with contextlib.suppress(Exception):  # a broken connection may not even close well
                await http.aclose()
        if api is not None:
            api.close()
        if bridge is not None:
            await bridge.close()


class Hijacked:
    """A connection that the engine turned into a stream of bytes."""

    def __init__(self, response: httpx.Response, endpoint: Endpoint) -> None:
        self._response, self._endpoint = response, endpoint
        self._stream: AsyncNetworkStream = response.extensions["network_stream"]
        self._closed = False

    async def read(self, limit: int = 65536) -> bytes:
        """What came; empty at the end or once closed. Raises EngineTrouble where it broke."""
        import httpcore

        if self._closed:
            return b""
        try:
            return await self._stream.read(limit)
        except (httpcore.NetworkError, OSError) as error:
            if self._closed:
                return b""
            raise explain(error, self._endpoint) from None

    async def write(self, data: bytes) -> None:
        """Raises EngineTrouble where the other side is gone."""
        import httpcore

        try:
            await self._stream.write(data)
        except (httpcore.NetworkError, OSError) as error:
            raise explain(error, self._endpoint) from None

    async def end(self) -> None:
        """Half-close: the program's input ends, reading goes on. Under TLS there is no such thing, it does nothing."""
        if self._closed or self._stream.get_extra_info("ssl_object") is not None:
            return
        held = self._stream.get_extra_info("socket")
        if held is not None:
            # The loop's own socket object can't be shut down on one side; a copy of its descriptor can.
            with contextlib.suppress(OSError), socket.socket(fileno=os.dup(held.fileno())) as copy:
                copy.shutdown(socket.SHUT_WR)

    async def close(self) -> None:
        """At once. Idempotent."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(Exception):  # it may be broken already
            await self._stream.aclose()
        with contextlib.suppress(Exception):
            await self._response.aclose()


def _connect(endpoint: Endpoint, timeout_s: float) -> docker.APIClient:
    """The SDK's client, its API version agreed with the engine. Blocks."""
    import docker  # here: the SDK takes 100 ms to import, and most daemons never see an engine

    def client(version: str) -> docker.APIClient:
        made = docker.APIClient(
            base_url=endpoint.host,
            tls=_sdk_tls(endpoint) or False,
            version=version,
            timeout=int(timeout_s),
            max_pool_size=_WORKERS,
        )
        # The environment's CA bundle would take the context's place; proxies and .netrc are not meant for engines.
        made.trust_env = False
        return made

    first = client(_ANY_VERSION)  # not `auto`: that asks before the environment is left out
    try:
        return client(text(first.version(api_version=False), "ApiVersion") or _ANY_VERSION)
    finally:
        first.close()


def _sdk_tls(endpoint: Endpoint) -> docker.tls.TLSConfig | None:
    if not endpoint.tls:
        return None
    from docker.tls import TLSConfig

    pair = (endpoint.cert, endpoint.key) if endpoint.cert and endpoint.key else None
    return TLSConfig(client_cert=pair, ca_cert=endpoint.ca or None, verify=endpoint.verify)


def _stream_client(endpoint: Endpoint) -> httpx.AsyncClient:
    """The client of streams: a connection each, none kept."""
    import httpx

    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    verify: ssl.SSLContext | bool = False
    if endpoint.tls:
        verify = ssl.create_default_context(cafile=endpoint.ca or None)
        if not endpoint.verify:
            verify.check_hostname, verify.verify_mode = False, ssl.CERT_NONE
        if endpoint.cert and endpoint.key:
            verify.load_cert_chain(endpoint.cert, endpoint.key)
    transport = httpx.AsyncHTTPTransport(verify=verify, uds=endpoint.socket_path, limits=limits)
    return httpx.AsyncClient(transport=transport, base_url=endpoint.url, trust_env=False)


def _engine_info(info: object, version: object) -> EngineInfo:
    security = [str(item) for item in items(info, "SecurityOptions")]
    return EngineInfo(
        id=text(info, "ID"),
        name=text(info, "Name"),
        version=text(version, "Version") or text(info, "ServerVersion"),
        api_version=text(version, "ApiVersion"),
        system=text(info, "OperatingSystem"),
        rootless=any("rootless" in option for option in security),
        swarm_node=text(info, "Swarm", "NodeID"),
        swarm_manager=flag(info, "Swarm", "ControlAvailable"),
        memory_bytes=whole(info, "MemTotal"),
        cpus=whole(info, "NCPU"),
    )


def _message(body: bytes) -> str:
    try:
        return text(msgspec.json.decode(body), "message") or body.decode("utf-8", "replace")[:400]
    except msgspec.DecodeError:
        return body.decode("utf-8", "replace")[:400]


async def lines_of(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """A stream's lines as they get whole; empty ones are left out."""
    rest = b""
    async for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            if line.strip():
                yield line


__all__ = ["CALL_S", "EngineClient", "EngineInfo", "EngineTrouble", "Hijacked", "lines_of"]
