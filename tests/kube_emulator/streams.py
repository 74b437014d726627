"""Subresources that are streams: exec and attach (v4 and v5.channel.k8s.io), portforward (channels over WebSocket) and
proxy. Runs registered programs and connects to real TCP ports; owns no objects.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import msgspec
from aiohttp import WSMsgType, web

from tests.kube_emulator.access import Account
from tests.kube_emulator.api import Api
from tests.kube_emulator.faults import abort
from tests.kube_emulator.logs import Logs
from tests.kube_emulator.programs import NoSuchProgram, Programs, Session, Stream
from tests.kube_emulator.requests import Asked
from tests.kube_emulator.status import ApiError, bad_request, method_not_allowed
from tests.kube_emulator.store import Object
from tests.kube_emulator.subresources import chosen_container

_EXEC_PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
_FORWARD_PROTOCOLS = ("v4.channel.k8s.io",)
_STDIN, _STDOUT, _STDERR, _ERROR, _RESIZE, _CLOSE = 0, 1, 2, 3, 4, 255
_CHANNELS: dict[Stream, int] = {"stdout": _STDOUT, "stderr": _STDERR}


@dataclass
class Streams:
    """Adds itself to `api`. `ports` says where a port of an emulated pod really listens: (namespace, pod, port) ->
    (host, port); pods that run real processes need no entry."""

    api: Api
    logs: Logs
    programs: Programs = field(default_factory=Programs)
    ports: dict[tuple[str, str, int], tuple[str, int]] = field(default_factory=dict)
    real_address: Callable[[Object], str | None] = lambda pod: None
    """The loopback address of a pod that runs real processes."""
    open_streams: dict[web.WebSocketResponse, web.BaseRequest] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.api.subresources |= {
            "exec": self.exec,
            "attach": self.attach,
            "portforward": self.portforward,
            "proxy": self.proxy,
        }
        self.api.streams_open = lambda: len(self.open_streams)

    def drop(self) -> int:
        """Abort every open exec, attach and forward; returns how many."""
        dropped = list(self.open_streams.values())
        for request in dropped:
            abort(request)
        return len(dropped)

    # exec and attach

    async def exec(self, request: web.BaseRequest, what: Asked, account: Account) -> web.StreamResponse:
        argv = tuple(request.query.getall("command", []))
        if not argv:
            raise bad_request("you must specify at least 1 command for the container")
        return await self._session(request, what, argv)

    async def attach(self, request: web.BaseRequest, what: Asked, account: Account) -> web.StreamResponse:
        return await self._session(request, what, ())

    async def _session(self, request: web.BaseRequest, what: Asked, argv: tuple[str, ...]) -> web.StreamResponse:
        pod = self.api.registry.get("Pod", what.namespace, what.name)
        container = chosen_container(pod, request.query.get("container", ""))
        _need_running(pod, container)
        wants = {name: request.query.get(name) == "true" for name in ("stdin", "stdout", "stderr", "tty")}
        if not (wants["stdin"] or wants["stdout"] or wants["stderr"]):
            raise bad_request("you must specify at least one of stdin, stdout, stderr")
        socket = await self._accept(request, _EXEC_PROTOCOLS)
        try:
            with contextlib.suppress(ConnectionError):
                await self._run(socket, pod, container, argv, wants)
        finally:
            self.open_streams.pop(socket, None)
        return socket

    async def _run(
        self,
        socket: web.WebSocketResponse,
        pod: Object,
        container: str,
        argv: tuple[str, ...],
        wants: dict[str, bool],
    ) -> None:
        async def send(stream: Stream, data: bytes) -> None:
            if wants[stream] and data:
                await socket.send_bytes(bytes((_CHANNELS[stream],)) + data)

        stdin = asyncio.StreamReader()
        if not wants["stdin"]:
            stdin.feed_eof()
        session = Session(argv, pod, container, wants["tty"], send, stdin, programs=self.programs)
        await socket.send_bytes(bytes((_STDOUT if wants["stdout"] else _ERROR,)))  # tells that the stream stands
        reading = asyncio.ensure_future(_feed(socket, session))
        running = asyncio.ensure_future(self._program(session))
        try:
            await asyncio.wait({reading, running}, return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                return  # the client went
            await socket.send_bytes(bytes((_ERROR,)) + msgspec.json.encode(running.result()))
            await self._end(socket)
        finally:
            for task in (reading, running):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                    await task

    async def _program(self, session: Session) -> dict[str, Any]:
        """The Status for the error channel."""
        if not session.argv:
            return _exit_status(await self._attached(session))
        try:
            program = self.programs.find(session.argv)
        except NoSuchProgram as error:
            message = (
                "error executing command in container: failed to exec in container: failed to start exec: OCI runtime "
                f'exec failed: exec failed: unable to start container process: exec: "{error}": executable file not '
                "found in $PATH"
            )
            return {
                "metadata": {},
                "status": "Failure",
                "message": message,
                "reason": "InternalError",
                "details": {"causes": [{"message": message}]},
                "code": 500,
            }
        return _exit_status(await program(session))

    async def _attached(self, session: Session) -> int:
        output = self.logs.current(session.pod["metadata"]["uid"], session.container)
        async for block in output.read(follow=True, tail=0, since_ts=None, timestamps=False):
            await session.out(block)
        return 0

    # forwards

    async def portforward(self, request: web.BaseRequest, what: Asked, account: Account) -> web.StreamResponse:
        pod = self.api.registry.get("Pod", what.namespace, what.name)
        try:
            ports = [int(port) for some in request.query.getall("ports", []) for port in some.split(",")]
        except ValueError as error:
            raise bad_request(f"unable to parse {request.query['ports']!r} as a port") from error
        if not ports:
            raise bad_request('query parameter "ports" is required')
        if pod["status"].get("phase") != "Running":
            message = f"unable to forward port because pod is not running. Current status={pod['status'].get('phase')}"
            raise ApiError(500, "InternalError", message)
        socket = await self._accept(request, _FORWARD_PROTOCOLS)
        writers: dict[int, asyncio.StreamWriter] = {}
        pumps: list[asyncio.Task[None]] = []
        try:
            with contextlib.suppress(ConnectionError):
                for index, port in enumerate(ports):
                    for channel in (2 * index, 2 * index + 1):
                        await socket.send_bytes(bytes((channel,)) + struct.pack("<H", port))
                for index, port in enumerate(ports):
                    await self._connect(socket, pod, index, port, writers, pumps)
                feeding = asyncio.ensure_future(_forward(socket, writers))
                pumps.append(feeding)
                ends = [pump for pump in pumps if pump is not feeding]
                if ends:
                    every = asyncio.ensure_future(asyncio.wait(ends))
                    await asyncio.wait({feeding, every}, return_when=asyncio.FIRST_COMPLETED)
                    every.cancel()
                await self._end(socket)
        finally:
            self.open_streams.pop(socket, None)
            for pump in pumps:
                pump.cancel()
            for writer in writers.values():
                writer.close()
        return socket

    async def _connect(
        self,
        socket: web.WebSocketResponse,
        pod: Object,
        index: int,
        port: int,
        writers: dict[int, asyncio.StreamWriter],
        pumps: list[asyncio.Task[None]],
    ) -> None:
        try:
            reader, writer = await asyncio.open_connection(*self.target(pod, port))
        except OSError:
            sandbox, uid = pod["metadata"]["uid"].replace("-", ""), pod["metadata"]["uid"]
            message = (
                f"error forwarding port {port} to pod {sandbox}, uid {uid}: failed to execute portforward in network "
                f'namespace "/var/run/netns/cni-{uid}": failed to connect to localhost:{port} inside namespace '
                f'"{sandbox}", IPv4: dial tcp4 127.0.0.1:{port}: connect: connection refused'
            )
            await socket.send_bytes(bytes((2 * index + 1,)) + message.encode())
            return
        writers[2 * index] = writer
        pumps.append(asyncio.ensure_future(_pump(socket, 2 * index, reader)))

    def target(self, pod: Object, port: int) -> tuple[str, int]:
        """Where that port of the pod really is. Raises OSError where nothing can listen there."""
        metadata = pod["metadata"]
        found = self.ports.get((metadata["namespace"], metadata["name"], port))
        if found is not None:
            return found
        address = self.real_address(pod)
        if address is None:
            raise ConnectionRefusedError(f"nothing listens on port {port}")
        return address, port

    async def proxy(self, request: web.BaseRequest, what: Asked, account: Account) -> web.StreamResponse:
        if what.kind is None or what.kind.kind != "Pod":
            raise method_not_allowed()
        scheme, _, name = what.name.rpartition(":") if what.name.count(":") == 2 else ("", "", what.name)
        name, _, port_text = (f"{scheme}:{name}" if scheme else name).removeprefix("http:").partition(":")
        pod = self.api.registry.get("Pod", what.namespace, name)
        port = int(port_text) if port_text else _first_port(pod)
        try:
            host, real_port = self.target(pod, port)
            url = f"http://{host}:{real_port}/{what.rest}"
            body = await request.read()
            async with aiohttp.ClientSession(auto_decompress=False) as session:
                asking = session.request(
                    request.method, url, params=request.query, data=body or None, allow_redirects=False
                )
                async with asking as answer:
                    response = web.StreamResponse(status=answer.status)
                    response.content_type = answer.content_type
                    await response.prepare(request)
                    async for block in answer.content.iter_any():
                        await response.write(block)
                    await response.write_eof()
                    return response
        except (OSError, aiohttp.ClientConnectionError) as error:
            address = pod["status"].get("podIP", "")
            message = f"error trying to reach service: dial tcp {address}:{port}: connect: connection refused"
            raise ApiError(503, "ServiceUnavailable", message) from error

    async def _end(self, socket: web.WebSocketResponse) -> None:
        """Say that it is over and close the connection right behind that, as API servers do: no answer is awaited."""
        writer, request = socket._writer, self.open_streams.get(socket)
        if writer is not None:
            await writer.close(1000)
        if request is not None and request.transport is not None:
            request.transport.close()

    async def _accept(self, request: web.BaseRequest, protocols: tuple[str, ...]) -> web.WebSocketResponse:
        if request.headers.get("Upgrade", "").lower() != "websocket":
            raise bad_request("Upgrade request required")
        offered = {part.strip() for part in request.headers.get("Sec-WebSocket-Protocol", "").split(",")} - {""}
        if offered and not offered & set(protocols):
            message = f"unable to upgrade: unable to negotiate protocol: client supports {sorted(offered)}"
            raise ApiError(403, "Forbidden", message)
        socket = web.WebSocketResponse(protocols=protocols, max_msg_size=0, autoping=True, compress=False)
        await socket.prepare(request)
        self.open_streams[socket] = request
        return socket


def _exit_status(code: int) -> dict[str, Any]:
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: command terminated with exit code {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


async def _feed(socket: web.WebSocketResponse, session: Session) -> None:
    """What the client sends, to the program, until the client goes."""
    ended = False
    async for message in socket:
        data = message.data.encode() if message.type is WSMsgType.TEXT else message.data
        if not data:
            continue
        if data[0] == _STDIN and not ended:
            session.stdin.feed_data(data[1:])
        elif data[0] == _RESIZE:
            size = msgspec.json.decode(data[1:])
            session.sizes.append((size["Width"], size["Height"]))
        elif data[0] == _CLOSE and data[1:] == bytes((_STDIN,)) and socket.ws_protocol == _EXEC_PROTOCOLS[0]:
            ended = True
            session.stdin.feed_eof()


async def _forward(socket: web.WebSocketResponse, writers: dict[int, asyncio.StreamWriter]) -> None:
    async for message in socket:
        if message.type is not WSMsgType.BINARY or not message.data:
            continue
        writer = writers.get(message.data[0])
        if writer is not None:
            writer.write(message.data[1:])
            await writer.drain()


async def _pump(socket: web.WebSocketResponse, channel: int, reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(32768):
            await socket.send_bytes(bytes((channel,)) + data)


def _first_port(pod: Object) -> int:
    for container in pod["spec"]["containers"]:
        for port in container.get("ports") or ():
            return int(port["containerPort"])
    return 80


def _need_running(pod: Object, container: str) -> None:
    name = pod["metadata"]["name"]
    phase = pod["status"].get("phase")
    if phase in ("Succeeded", "Failed"):
        raise bad_request(f"cannot exec into a container in a completed pod; current phase is {phase}")
    for status in pod["status"].get("containerStatuses") or ():
        if status["name"] == container and "running" in (status.get("state") or {}):
            return
    raise ApiError(
        500,
        "InternalError",
        f'error dialing backend: unable to upgrade connection: container not found ("{container}") in pod {name}',
    )
