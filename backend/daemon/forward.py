"""One forward: a port that the daemon listens on, and the replica that its connections are led to.

Owns the listening socket and the pumping of bytes. Follows the replica: when it goes, the next Ready one takes its
place. Which forwards there are is `Forwards`' business.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import struct
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import psutil

from backend.contract.errors import Refused, TrinityError, Unreachable, UsageError
from backend.contract.fleet import Fleet, ReplicaStatus, WorkloadSpec
from backend.contract.needs import refusal_of
from backend.contract.platform import ByteStream, Forwardable, ForwardView
from backend.contract.words import Verb
from backend.daemon.aim import Aim, aim_at
from backend.telemetry.http import listen

_PIECE: Final = 65536
_TRIES: Final = 3
"""Replicas that one connection is offered to."""
_LINGER_S: Final = 30.0
"""How long a client may go on sending to a replica that has said all it had to say."""
_RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER: a close is a reset."""
_FIRST_RETRY_S: Final = 0.5
_LAST_RETRY_S: Final = 15.0
Specs = Callable[[], Sequence[WorkloadSpec]]
"""The fleet's workloads as they are now, those without a replica too."""


class ForwardOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a forward over a restart. `local_port` 0 takes the target's port where it is free, else any."""

    id: str
    target: str
    port: int
    bind: str = "127.0.0.1"
    local_port: int = 0


class Forward:
    """Call `open` once; end with `close`. `told` hears a sentence when it breaks, and when it works again."""

    def __init__(self, order: ForwardOrder, fleet: Fleet, specs: Specs, told: Callable[[str, bool], None]) -> None:
        self.order, self._fleet, self._specs, self._told = order, fleet, specs, told
        self._server: asyncio.Server | None = None
        self._retry: asyncio.Task[None] | None = None
        self._pumps: set[asyncio.Task[None]] = set()
        self._aim: Aim | None = None
        self._replica = ""
        self._broken = ""
        self._dialling = 0
        self._connections = self._restarts = self._bytes_in = self._bytes_out = 0
        self._urls: tuple[str, ...] = ()

    async def open(self, *, patient: bool = False) -> None:
        """Listen. Raises PortTaken and UsageError; a `patient` one says so in its view and goes on trying."""
        try:
            await self._listen()
        except TrinityError as error:
            if not patient:
                raise
            self._break(str(error))
            self._retry = asyncio.create_task(self._listen_later(), name=f"forward {self.order.id}")
        self.look(None)

    async def _listen(self) -> None:
        order = self.order
        aim = self._aim_now()
        wanted = order.local_port or aim.port
        try:
            sock = await listen(order.bind, wanted, "forward")
        except TrinityError:
            if order.local_port:
                raise
            sock = await listen(order.bind, 0, "forward")
        port: int = sock.getsockname()[1]
        self.order = msgspec.structs.replace(order, local_port=port)
        self._urls = urls(order.bind, port)
        self._server = await asyncio.start_server(self._accepted, sock=sock)

    async def _listen_later(self) -> None:
        delay = _FIRST_RETRY_S
        while True:
            await asyncio.sleep(delay)
            delay = min(_LAST_RETRY_S, delay * 2)
            try:
                await self._listen()
            except TrinityError as error:
                self._break(str(error))
            else:
                self.look(None)
                return

    async def close(self) -> None:
        """Stop listening and cut what goes through. Idempotent."""
        if self._retry is not None:
            self._retry.cancel()
            await asyncio.gather(self._retry, return_exceptions=True)
        if self._server is not None:
            self._server.close()
            self._server = None
        for pump in list(self._pumps):
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    def view(self) -> ForwardView:
        """How it stands."""
        order = self.order
        state = "broken" if self._broken else "connecting" if self._dialling else "listening"
        return ForwardView(
            id=order.id,
            target=order.target,
            port=order.port or (self._aim.port if self._aim else 0),
            bind=order.bind,
            local_port=order.local_port,
            replica=self._replica,
            state=state,  # type: ignore[arg-type]  # one of its three words
            detail=self._broken,
            connections=self._connections,
            restarts=self._restarts,
            bytes_in=self._bytes_in,
            bytes_out=self._bytes_out,
            urls=self._urls,
        )

    # -- where it leads

    def look(self, changed: ReplicaStatus | None) -> None:
        """A replica may have come or gone (`changed`; null: look at all of them)."""
        if changed is not None and self._aim is not None and not self._aim.concerns(changed):
            return
        if self._server is None:
            return
        ready = self._aim_now().ready(self._fleet)
        if not ready:
            self._break(f"No replica of {self.order.target} is Ready.")
        elif self._replica not in ready or self._broken:
            self._lead_to(self._replica if self._replica in ready else ready[0])

    def _aim_now(self) -> Aim:
        """The target as it is understood now; as it was last where none of its replicas is left."""
        try:
            self._aim = aim_at(self._fleet, self._specs(), self.order.target, self.order.port)
        except UsageError:
            if self._aim is None:
                raise
        return self._aim

    def _lead_to(self, replica: str) -> None:
        """A first choice, or one more after the former was lost."""
        if self._replica and (replica != self._replica or self._broken):
            self._restarts += 1
        self._replica = replica
        if self._broken:
            self._broken = ""
            self._told(f"{self.order.target} is forwarded again, to {replica}.", True)

    def _break(self, why: str) -> None:
        if not self._broken:
            self._told(f"The forward to {self.order.target} is broken: {why}", False)
        self._broken = why

    # -- connections

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pump = asyncio.create_task(self._serve(reader, writer), name=f"forward {self.order.id}")
        self._pumps.add(pump)
        pump.add_done_callback(self._pumps.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        whole = False
        try:
            stream = await self._dial()
            try:
                whole = await self._pump(reader, writer, stream)
            finally:
                await stream.close()
        except TrinityError as error:
            self._break(str(error))
        finally:
            if not whole:  # the client is to see that something is missing
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.close()

    async def _dial(self) -> ByteStream:
        """To the replica that it leads to, else to the next Ready one. Raises what the last one said."""
        fleet = self._fleet
        if not isinstance(fleet, Forwardable):
            raise Refused(refusal_of(fleet, Verb.FORWARD))
        aim = self._aim_now()
        ready = aim.ready(fleet)
        ready.sort(key=lambda name: name != self._replica)
        trouble: TrinityError = Unreachable(f"No replica of {self.order.target} is Ready.", "See `trinity ps`.")
        self._dialling += 1
        try:
            for replica in ready[:_TRIES]:
                try:
                    stream = await fleet.dial(replica, aim.port)
                except TrinityError as error:
                    trouble = error
                    continue
                if replica != self._replica or self._broken:
                    self._lead_to(replica)
                return stream
        finally:
            self._dialling -= 1
        raise trouble

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, stream: ByteStream) -> bool:
        """Both ways, until both have ended or one broke; whether all that the replica said was handed on."""

        async def inward() -> None:
            while data := await reader.read(_PIECE):
                self._bytes_in += len(data)
                await stream.write(data)
            await stream.end()

        async def outward() -> None:
            while data := await stream.read():
                self._bytes_out += len(data)
                writer.write(data)
                await writer.drain()
            writer.write_eof()

        ways = asked, answered = asyncio.create_task(inward()), asyncio.create_task(outward())
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            if asked.done() and not asked.exception():
                await asyncio.wait([answered])
            elif answered.done() and not answered.exception():
                await asyncio.wait([asked], timeout=_LINGER_S)
            return answered.done() and not answered.exception()
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)


def is_loopback(bind: str) -> bool:
    """Whether only this machine reaches it. Raises UsageError for what is no address."""
    if bind == "localhost":
        return True
    try:
        return ipaddress.ip_address(bind).is_loopback
    except ValueError:
        raise UsageError(f"`{bind}` is no address to listen on.", "Write 127.0.0.1, 0.0.0.0 or :: for all.") from None


def urls(bind: str, port: int) -> tuple[str, ...]:
    """What to open: the machine's own addresses first where it listens on all of them."""
    hosts = [bind]
    if bind in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        hosts = [*_addresses(also_ipv6=bind == "::"), "127.0.0.1"]
    return tuple(f"http://{f'[{host}]' if ':' in host else host}:{port}" for host in hosts)


def _addresses(*, also_ipv6: bool) -> list[str]:
    """Of this machine's interfaces, without loopback and link-local ones."""
    found = []
    with contextlib.suppress(OSError, psutil.Error):
        for each in psutil.net_if_addrs().values():
            for entry in each:
                if entry.family not in (socket.AF_INET, socket.AF_INET6):
                    continue
                address = ipaddress.ip_address(entry.address.partition("%")[0])
                if not address.is_loopback and not address.is_link_local and (address.version == 4 or also_ipv6):
                    found.append(str(address))
    return sorted(found, key=lambda text: (":" in text, text))
