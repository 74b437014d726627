"""The API server's channel protocol: one WebSocket, several streams, told apart by each message's first byte.

Owns framing and the way from a message to its stream. Used by exec and port forwards; knows nothing of either.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Sequence
from typing import Any, Final

from backend.contract.errors import Refused, TrinityError, Unreachable
from backend.fleet.kube.access import Access
from backend.fleet.kube.answers import ApiError

V5: Final = "v5.channel.k8s.io"
V4: Final = "v4.channel.k8s.io"
_CLOSE: Final = 255
"""A v5 message `255, n` ends stream n in that direction."""
MAX_MESSAGE_BYTES: Final = 32 * 1024
"""What is written is cut into such messages: servers have read limits."""


def framed(channel: int, data: bytes) -> list[bytes]:
    """Messages that carry `data` on a channel."""
    head = bytes((channel,))
    return [head + data[at : at + MAX_MESSAGE_BYTES] for at in range(0, len(data), MAX_MESSAGE_BYTES)]


class Channels:
    """An open WebSocket. `next` gives (channel, bytes); `send` and `next` may run at once, each in one task."""

    def __init__(self, socket: Any, access: Access) -> None:
        self._socket, self._access = socket, access
        self._sending = asyncio.Lock()

    @property
    def protocol(self) -> str:
        """What the server chose."""
        return str(self._socket.protocol or V4)

    async def next(self) -> tuple[int, bytes] | None:
        """The next message that is not empty; None at the end. Raises Unreachable where it broke."""
        while True:
            try:
                message = await self._socket.receive()
            except Exception as error:
                raise self._access.broken(error) from error
            data = message.data
            if isinstance(data, str):
                data = data.encode()
            if isinstance(data, bytes | bytearray):
                if data:
                    return data[0], bytes(data[1:])
                continue
            self._check_ended(data)
            return None

    def _check_ended(self, told: object) -> None:
        """Raises Unreachable where it did not end as it should. `told`: the code of the server's last message, if that
        was it. API servers close the connection right behind it, so that answering it may fail: which is no matter."""
        code = told if isinstance(told, int) else self._socket.close_code
        if code in (0, 1000, 1001, 1005):
            return
        error = self._socket.exception()
        if error is not None:
            raise self._access.broken(error) from error
        raise Unreachable(
            f"The stream through the API server broke (close code {code}).", "Open it again; it may have been cut."
        )

    async def send(self, channel: int, data: bytes) -> None:
        """Raises Unreachable where it broke."""
        async with self._sending:
            for message in framed(channel, data):
                try:
                    await self._socket.send_bytes(message)
                except Exception as error:
                    raise self._access.broken(error) from error

    async def end(self, channel: int) -> bool:
        """Nothing more is sent on the channel. False where the protocol cannot say so."""
        if self.protocol != V5:
            return False
        with contextlib.suppress(TrinityError):
            await self.send(_CLOSE, bytes((channel,)))
        return True

    async def close(self) -> None:
        with contextlib.suppress(Exception):
            async with asyncio.timeout(2.0):
                await self._socket.close()


async def open_channels(
    access: Access,
    path: str,
    query: Sequence[tuple[str, object]],
    *,
    protocols: Collection[str],
    right: str,
    what: str,
    label: str,
) -> Channels:
    """`right` is the subresource that is needed (`pods/exec`), `what` the deed for sentences. Raises Refused for a
    missing right, TrinityError where there is no such pod or the server offers none of the protocols."""
    try:
        socket = await access.websocket(path, query, protocols=tuple(protocols), label=label)
    except ApiError as error:
        if error.status == 403:
            raise Refused(
                f"Could not {what}: {access.user_name or 'this account'} needs `get` and `create` on `{right}` "
                f"in namespace {access.namespace}.",
                "Ask for a Role with that rule.",
            ) from None
        if error.status == 404:
            raise TrinityError(f"Could not {what}: there is no such pod (any more).", "Look again.") from None
        if error.status == 400:
            raise TrinityError(
                f"Could not {what}: the API server refused it (400): the container may not run, or has another name.",
                "See whether it is running.",
            ) from None
        raise TrinityError(
            f"Could not {what}: the API server answered {error.status} {error.reason}.",
            "Try again; where it stays, see the API server's own log.",
        ) from None
    if socket.protocol not in protocols:
        await socket.close()
        raise TrinityError(
            f"Could not {what}: the API server (or a proxy before it) speaks none of {', '.join(protocols)}.",
            "Use a cluster of version 1.29 or newer, or a proxy that lets WebSockets pass.",
        )
    return Channels(socket, access)
