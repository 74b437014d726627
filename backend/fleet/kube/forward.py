"""A stream to a port of a pod, over the API server's port-forward WebSocket. One socket carries one connection.

Owns the protocol: data on channel 0 and errors on channel 1, each begun by the port's two bytes. The protocol knows no
half-closed connection: `end` is kept here, the other side only learns of `close`.
"""

from __future__ import annotations

import asyncio
from typing import Final

from backend.contract.errors import Unreachable, UsageError
from backend.fleet.kube.access import Access
from backend.fleet.kube.channels import V4, Channels, open_channels
from backend.fleet.kube.objects import Ref, path_of

_DATA, _ERROR = 0, 1
_FIRST_S: Final = 10.0
"""For the two port messages that the kubelet sends as soon as it has the pod."""
_DOUBT_S: Final = 0.15
"""How long an error is waited for at the first connection to a port: nothing else tells that somebody listens."""


class KubeStream:
    """A ByteStream to one port."""

    def __init__(self, channels: Channels, where: str) -> None:
        self._channels, self._where = channels, where
        self._begun = {_DATA: b"", _ERROR: b""}
        """The port's bytes of each channel, as far as they came."""
        self._kept = b""
        self._error = ""
        self._over = self._ended = False

    async def begin(self) -> None:
        """Wait for the port's bytes on both channels. Raises Unreachable."""
        try:
            async with asyncio.timeout(_FIRST_S):
                while not self._kept and any(len(seen) < 2 for seen in self._begun.values()):
                    self._kept += await self._receive()
                    if self._over:
                        raise self._broken()
        except TimeoutError:
            raise Unreachable(
                f"The kubelet says nothing of {self._where}.", "See whether its node answers the API server."
            ) from None

    async def doubt(self) -> None:
        """Wait a moment for word that nothing listens. Raises Unreachable."""
        if self._kept:
            return
        waiting = asyncio.ensure_future(self._receive())
        done, _ = await asyncio.wait({waiting}, timeout=_DOUBT_S)
        if not done:
            # Cancelling a receive loses nothing: aiohttp hands out a message only to who takes it.
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            return
        self._kept += waiting.result()
        if self._error:
            raise self._broken()

    async def read(self) -> bytes:
        """What came; empty at the end. Raises Unreachable where it broke or nothing listens."""
        if self._kept:
            kept, self._kept = self._kept, b""
            return kept
        while not self._over:
            data = await self._receive()
            if self._error:
                raise self._broken()
            if data:
                return data
        return b""

    async def write(self, data: bytes) -> None:
        if self._ended:
            raise UsageError("This stream was ended; nothing more can be written to it.")
        await self._channels.send(_DATA, data)

    async def end(self) -> None:
        self._ended = True

    async def close(self) -> None:
        self._over = True
        await self._channels.close()

    async def _receive(self) -> bytes:
        """What one message brought to read."""
        message = await self._channels.next()
        if message is None:
            self._over = True
            return b""
        channel, data = message
        if channel not in self._begun:
            return b""
        missing = 2 - len(self._begun[channel])
        if missing > 0:
            self._begun[channel] += data[:missing]
            data = data[missing:]
        if channel == _ERROR:
            self._error += data.decode("utf-8", "replace")
            return b""
        return data

    def _broken(self) -> Unreachable:
        said = " ".join(self._error.split())
        if "connection refused" in said.lower():
            return Unreachable(f"Nothing listens at {self._where}.", "Check the port, or wait until it is Ready.")
        why = f": {said[:300]}" if said else ""
        return Unreachable(f"The stream to {self._where} broke{why}.", "It may be gone; open another one.")


async def dial(access: Access, ref: Ref, port: int, *, sure: bool) -> KubeStream:
    """Open a stream to a pod's port. `sure`: somebody listened there before, so word that nobody does is not waited
    for (reading would tell). Raises Unreachable, Refused."""
    if not 0 < port < 65536:
        raise UsageError(f"{port} is no port.", "Name one from 1 to 65535.")
    where = f"port {port} of {ref.name}"
    channels = await open_channels(
        access,
        path_of(ref, "portforward"),
        [("ports", port)],
        protocols=(V4,),
        right="pods/portforward",
        what=f"reach {where}",
        label="portforward pods",
    )
    stream = KubeStream(channels, where)
    try:
        await stream.begin()
        if not sure:
            await stream.doubt()
    except BaseException:
        await stream.close()
        raise
    return stream
