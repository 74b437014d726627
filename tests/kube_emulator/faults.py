"""Faults that a test orders: answers instead of the true ones, delays, connections that break, watches that end in
every ugly way. Holds the orders; the server asks for them at each request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from aiohttp import web

from tests.kube_emulator.requests import Asked
from tests.kube_emulator.status import ApiError, method_not_allowed, too_many_requests

Ending = Literal["end", "cut", "mid-line", "garbage"]
"""How a watch is dropped: ended properly; the connection aborted; aborted within a line; bytes that are no
HTTP. After such bytes aiohttp 3.14's reader waits for ever, past its own sock_read: who watches must mind silence."""

_WORDS = {
    401: ("Unauthorized", "Unauthorized"),
    403: ("Forbidden", "forbidden: ordered by the test"),
    404: ("NotFound", "the server could not find the requested resource"),
    409: ("Conflict", "the object has been modified; please apply your changes to the latest version and try again"),
    410: ("Expired", "too old resource version: 1 (2)"),
    500: ("InternalError", "Internal error occurred: etcdserver: leader changed"),
    503: ("ServiceUnavailable", "the server is currently unable to handle the request"),
    504: ("Timeout", "The request did not complete within 60 seconds"),
}


@dataclass
class Order:
    """A fault for requests that fit; `times` counts down to zero, null means until it is taken away."""

    act: Callable[[web.BaseRequest], Awaitable[None]]
    verb: str = ""
    resource: str = ""
    times: int | None = 1
    hits: int = 0

    def fits(self, what: Asked) -> bool:
        if self.times == 0:
            return False
        return self.verb in ("", what.verb) and self.resource in ("", what.counted, what.resource)

    def cancel(self) -> None:
        self.times = 0


class Aborted(Exception):
    """The connection was broken on purpose: nothing more is answered."""


def abort(request: web.BaseRequest) -> None:
    """Reset the connection, whatever was sent so far."""
    if request.transport is not None:
        request.transport.abort()


class Faults:
    """Orders in force. `verb` and `resource` narrow them (`list`, `pods`, `deployments.apps/scale`); empty fits all."""

    def __init__(self) -> None:
        self._orders: list[Order] = []
        self._released = asyncio.Event()

    def _add(self, order: Order) -> Order:
        self._orders.append(order)
        return order

    def answer(
        self, code: int, *, times: int | None = 1, verb: str = "", resource: str = "", retry_after_s: int = 1
    ) -> Order:
        """Answer the next `times` fitting requests with a Status of that code."""

        async def act(request: web.BaseRequest) -> None:
            if code == 429:
                raise too_many_requests(retry_after_s)
            if code == 405:
                raise method_not_allowed()
            raise ApiError(code, *_WORDS[code])

        return self._add(Order(act, verb, resource, times))

    def delay(self, seconds: float, *, times: int | None = None, verb: str = "", resource: str = "") -> Order:
        """Each fitting request waits that long before it is served."""

        async def act(request: web.BaseRequest) -> None:
            await asyncio.sleep(seconds)

        return self._add(Order(act, verb, resource, times))

    def hang(self, *, times: int | None = 1, verb: str = "", resource: str = "") -> Order:
        """Fitting requests are not answered until `release`."""

        async def act(request: web.BaseRequest) -> None:
            await self._released.wait()

        return self._add(Order(act, verb, resource, times))

    def reset(self, *, times: int | None = 1, verb: str = "", resource: str = "") -> Order:
        """The connection is reset instead of an answer."""

        async def act(request: web.BaseRequest) -> None:
            abort(request)
            raise Aborted

        return self._add(Order(act, verb, resource, times))

    def garbage(self, *, times: int | None = 1, verb: str = "", resource: str = "") -> Order:
        """Bytes that are no HTTP instead of an answer."""

        async def act(request: web.BaseRequest) -> None:
            if request.transport is not None:
                request.transport.write(b"\x15\x03\x01\x00\x02\x02\x50 not a protocol\r\n\r\n")
                request.transport.close()
            raise Aborted

        return self._add(Order(act, verb, resource, times))

    def release(self) -> None:
        """Requests that hang go on."""
        self._released.set()
        self._released = asyncio.Event()

    def clear(self) -> None:
        """No faults any more."""
        self._orders.clear()
        self.release()

    async def apply(self, what: Asked, request: web.BaseRequest) -> None:
        """Raises ApiError (an ordered answer) or Aborted."""
        for order in [order for order in self._orders if order.fits(what)]:
            if order.times is not None:
                order.times -= 1
            order.hits += 1
            await order.act(request)
        self._orders = [order for order in self._orders if order.times != 0]
