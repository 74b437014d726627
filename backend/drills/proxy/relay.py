"""One client connection and its connection to the replica: bytes pass, and each request meets the faults it must.

Owns what happens to a request from its head to the end of its answer. Requests of one connection go one after the
other (a pipelined one waits here). What is not HTTP passes unread, as one long request.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Final, Literal

from backend.contract.faults import FaultOrder
from backend.drills.proxy.composition import Plan, compose, own_answer
from backend.drills.proxy.ends import End
from backend.drills.proxy.exchange import Exchange, Site, pacings
from backend.drills.proxy.framing import (
    MAX_HEAD_BYTES,
    Body,
    Malformed,
    RequestHead,
    may_be_request,
    parse_answer,
    parse_request,
)
from backend.drills.proxy.lane import HIGH_BYTES, Lane

POISON_AFTER_S: Final = 0.02
"""How long a replica lives with its poison where the order says nothing: longer than the edge takes for the last
moments of a process that was dying anyway, so that the death is counted as this request's own."""


class Relay:
    """See the module. `health`: it came in by the health port."""

    def __init__(self, site: Site, *, health: bool) -> None:
        self._site, self._health = site, health
        self.client = End(
            made=self._accepted,
            data=self._client_data,
            eof=self._client_eof,
            lost=self._client_lost,
        )
        self._target = End(
            made=self._connected,
            data=self._target_data,
            eof=self._target_eof,
            lost=self._target_lost,
        )
        self._forward = Lane(site.loop, site.mono, self._to_target, self._pause_client)
        self._backward = Lane(site.loop, site.mono, self.client.write, lambda: self._target.pause(self._backward.full))
        self.client.blocked, self._target.blocked = self._backward.block, self._forward.block
        self._forward.block(True)
        self._connecting: asyncio.Task[None] | None = None
        self._held_back = b""
        """Bytes of the client that are not a whole head yet, or of a request whose turn has not come."""
        self._exchange: Exchange | None = None
        self._opaque = False
        self._refused = False
        self._closed = False
        self._eofs: set[Literal["client", "target"]] = set()
        self._client_ended = False

    @property
    def busy(self) -> bool:
        """Whether a request is under way."""
        exchange = self._exchange
        waits = bool(self._held_back) or not self._forward.empty or not self._backward.empty
        return waits or (exchange is not None and not exchange.done)

    def close(self) -> None:
        """End both sides in good order."""
        self._finish(self.client.close, self._target.close)

    def refresh(self) -> None:
        """Faults came or went."""
        if self._exchange is not None and not self._closed:
            self._plan(self._exchange, begun=True)
            self._turn()

    # -- the client's side

    def _accepted(self) -> None:
        self._connecting = self._site.loop.create_task(self._connect())

    async def _connect(self) -> None:
        address = self._site.address(health=self._health)
        try:
            if address is None:
                raise ConnectionRefusedError
            await self._site.loop.create_connection(lambda: self._target, *address)
        except OSError:
            self._refused = True
            self._site.refused(health=self._health)
            if self._site.registry.needs_no_target:
                self._forward.block(False)  # what needs no replica is answered, the rest is reset when its turn comes
            else:
                self._reset()

    def _client_data(self, data: bytes) -> None:
        if self._opaque:
            if self._exchange is None or self._exchange.plan.own is None:
                self._forward.put(data)
            return
        self._held_back = self._held_back + data if self._held_back else data
        self._advance()
        self._next_turn()
        self._pause_client()

    def _advance(self) -> None:
        """Take as much of the client's bytes as may go now."""
        while not self._closed and not self._opaque and self._held_back:
            exchange = self._exchange
            if exchange is None or (exchange.done and self._backward.empty and self._forward.empty):
                if not self._begin():
                    break
            elif exchange.body.complete or not self._take_body(exchange):
                break
        if self._client_ended and not self._closed and not self._opaque and not self._waits_for_turn():
            if self._held_back:
                self._pass_unread(None)
            self._end_forward()

    def _waits_for_turn(self) -> bool:
        exchange = self._exchange
        return bool(self._held_back) and exchange is not None and not exchange.done

    def _begin(self) -> bool:
        """The next request, once its head is whole. False where more bytes are needed."""
        end = self._held_back.find(b"\r\n\r\n")
        if end < 0:
            if len(self._held_back) > MAX_HEAD_BYTES or not may_be_request(self._held_back):
                self._pass_unread(None)
                return True
            return False
        raw, rest = self._held_back[: end + 4], self._held_back[end + 4 :]
        try:
            head = parse_request(raw)
        except Malformed:
            self._pass_unread(None)
            return True
        self._held_back = rest
        if head.method == b"CONNECT":
            self._held_back = raw + rest
            self._pass_unread(head)
            return True
        exchange = self._exchange = Exchange(head, self._health or head.path in self._site.health_paths)
        self._plan(exchange, begun=False)
        if exchange.plan.own is None:
            self._forward.put(raw)
        elif exchange.body.complete or b"expect" in head.headers:
            self._answer_self(exchange)
        if exchange.body.complete:
            self._asked(exchange)
        return not self._closed

    def _take_body(self, exchange: Exchange) -> bool:
        try:
            taken = exchange.body.take(self._held_back)
        except Malformed:
            self._pass_unread(exchange.head)
            return True
        data, self._held_back = self._held_back[:taken], self._held_back[taken:]
        if exchange.plan.own is None:
            self._forward.put(data)
        elif exchange.body.complete and not exchange.answered:
            self._answer_self(exchange)
        if exchange.body.complete:
            self._asked(exchange)
        return bool(self._held_back)

    def _asked(self, exchange: Exchange) -> None:
        """The request has been forwarded as a whole."""
        poison = exchange.plan.poison
        if poison is not None:
            self._forward.put(lambda: self._poison_later(exchange, poison))

    def _poison_later(self, exchange: Exchange, order: FaultOrder) -> None:
        self._site.loop.call_later(order.latency_s or POISON_AFTER_S, self._poison, exchange, order)

    def _poison(self, exchange: Exchange, order: FaultOrder) -> None:
        exchange.spared = not self._site.poison(order)
        if exchange.spared and exchange.withheld:
            data, exchange.withheld = exchange.withheld, b""
            self._target_data(data)

    def _pass_unread(self, head: RequestHead | None) -> None:
        """From now on bytes pass as they come, as one request."""
        self._opaque = True
        data, self._held_back = self._held_back, b""
        if self._exchange is None or self._exchange.done:
            self._exchange = Exchange(head, self._health)
            self._plan(self._exchange, begun=False)
            if self._exchange.plan.own is not None:
                self._answer_self(self._exchange)
                return
        if data:
            self._forward.put(data)

    def _client_eof(self) -> None:
        self._client_ended = True
        if self._forward.held and self._backward.held:
            self._finish(self.client.reset, self._target.reset)  # swallowed: nobody will ask for it again
        elif self._opaque:
            self._end_forward()
        else:
            self._advance()

    def _end_forward(self) -> None:
        if "client" not in self._eofs:
            self._eofs.add("client")
            self._forward.put(self._forward_eof)

    def _forward_eof(self) -> None:
        if self._refused:
            self._reset()
            return
        self._target.write_eof()
        self._close_if_over()

    def _client_lost(self, exc: Exception | None) -> None:
        self._finish(self._target.reset if exc is not None else self._target.close)

    # -- the replica's side

    def _connected(self) -> None:
        if self._closed:
            self._target.reset()
            return
        self._forward.block(False)

    def _target_data(self, data: bytes) -> None:
        exchange = self._exchange
        if self._closed or (exchange is not None and exchange.plan.own is not None):
            return
        if exchange is not None and exchange.plan.poison is not None and not exchange.spared:
            # A request that kills its replica gets no answer from it, however quick the replica is.
            exchange.withheld += data
            return
        if exchange is None or self._opaque or exchange.done:
            self._answer_bytes(exchange, data)
            return
        try:
            rest = self._follow_answer(exchange, data)
        except Malformed:
            rest, exchange.answer_head = exchange.answer_head or data, b""
            self._opaque = True
            if self._held_back:
                self._pass_unread(exchange.head)
        if rest and not self._closed:
            self._answer_bytes(exchange, rest)
        self._next_turn()

    def _follow_answer(self, exchange: Exchange, data: bytes) -> bytes:
        """Pass what belongs to this answer; what is left belongs to none. Raises Malformed, nothing of it passed."""
        while exchange.answer_body is None:
            exchange.answer_head += data
            end = exchange.answer_head.find(b"\r\n\r\n")
            if end < 0:
                if len(exchange.answer_head) > MAX_HEAD_BYTES:
                    raise Malformed("the head of the answer is too long")
                return b""
            raw, data = exchange.answer_head[: end + 4], exchange.answer_head[end + 4 :]
            head = parse_answer(raw, exchange.method)
            exchange.answer_head = b""
            if 100 <= head.status < 200 and head.status != 101:
                self._backward.put(raw)
                if not data:
                    return b""
                continue
            exchange.answer, exchange.answer_body = head, Body(head.framing, head.length)
            exchange.answered = True
            self._touch_answer(exchange)
            if head.status == 101:
                self._pass_unread(exchange.head)
                self._backward.put(raw + data)
                return b""
            if data and exchange.plan.leaves_pieces_whole:  # the common case: head and body in one piece
                taken = exchange.answer_body.take(data)
                exchange.answer_bytes += taken
                self._backward.put(raw + data[:taken])
                return data[taken:]
            self._backward.put(raw)
        if not data:
            return b""
        taken = exchange.answer_body.take(data)
        if exchange.plan.leaves_pieces_whole:
            exchange.answer_bytes += taken
            self._backward.put(data if taken == len(data) else data[:taken])
        else:
            marks = [*exchange.answer_body.starts, taken]
            if marks[0] != 0:
                self._piece(exchange, data[: marks[0]], chunk=False)
            for start, end in itertools.pairwise(marks):
                self._piece(exchange, data[start:end], chunk=True)
        return data[taken:]

    def _piece(self, exchange: Exchange, data: bytes, *, chunk: bool) -> None:
        """A piece of the answer's body, as far as an ending lets it."""
        if self._closed:
            return
        keep, ended_by = exchange.let_pass(data)
        if keep:
            self._backward.put(keep, chunk=chunk)
        if ended_by is not None:
            self._count(exchange, ended_by)
            self._backward.put(lambda: self._cut(exchange))

    def _cut(self, exchange: Exchange) -> None:
        """End the transfer so that the client sees it broken: by FIN where a length or chunks tell, else by RST."""
        framed = exchange.answer_body is not None and exchange.answer_body.framing in ("length", "chunked")
        self._finish(self.client.close if framed else self.client.reset, self._target.reset)

    def _answer_bytes(self, exchange: Exchange | None, data: bytes) -> None:
        """Bytes that are not followed: of no request, or of something that is not HTTP."""
        if exchange is None:
            self._backward.put(data)
            return
        if not exchange.answered:
            exchange.answered = True
            self._touch_answer(exchange)
        self._piece(exchange, data, chunk=True)

    def _next_turn(self) -> None:
        if self._held_back and self._exchange is not None and self._exchange.done:
            self._backward.put(self._turn)

    def _turn(self) -> None:
        self._site.loop.call_soon(self._advance_and_resume)

    def _advance_and_resume(self) -> None:
        if not self._closed:
            self._advance()
            self._pause_client()

    def _target_eof(self) -> None:
        exchange = self._exchange
        if exchange is not None and exchange.answer_body is not None:
            exchange.answer_body.eof()
        if exchange is not None and exchange.answer_head:
            self._answer_bytes(exchange, exchange.answer_head)
        self._eofs.add("target")
        self._backward.put(self._backward_eof)

    def _backward_eof(self) -> None:
        self.client.write_eof()
        self._close_if_over()

    def _target_lost(self, exc: Exception | None) -> None:
        if self._closed:
            return
        self._forward.block(False)
        if exc is not None:
            self._backward.put(self._reset)
        elif "target" not in self._eofs:
            self._target_eof()

    # -- faults

    def _plan(self, exchange: Exchange, *, begun: bool) -> None:
        """Decide, or decide anew, what touches the request; applies the pacing at once."""
        orders, before = exchange.touched_by(self._site.registry.active, begun=begun), exchange.plan
        plan = compose(orders, poison=exchange.poison, answered=exchange.answered or before.own is not None)
        if before.own is not None:  # its answer is decided, even when the fault has ended meanwhile
            plan = Plan(own=before.own, bandwidth=plan.bandwidth, latency=plan.latency, holds=plan.holds)
        exchange.plan = plan
        for order in plan.at_once if not exchange.done else ():
            self._count(exchange, order)
        if exchange.answered and not exchange.done:
            self._touch_answer(exchange)
        if begun and plan.own is not None and before.own is None:
            self._answer_self(exchange)
        self._pace(plan)
        if begun and self._client_ended and self._forward.held and self._backward.held:
            self._client_eof()

    def _pace(self, plan: Plan) -> None:
        forward, backward = pacings(plan, self._site.registry.delays)
        self._forward.pace(forward)
        self._backward.pace(backward)

    def _touch_answer(self, exchange: Exchange) -> None:
        for order in (*exchange.plan.slow, *exchange.plan.bandwidth):
            self._count(exchange, order)

    def _count(self, exchange: Exchange, order: FaultOrder) -> None:
        """Once a request; health requests count for the fault that is about them only."""
        if order.id in exchange.counted or (exchange.health and order.kind != "health-lie"):
            return
        exchange.counted.add(order.id)
        self._site.registry.count(order)

    def _answer_self(self, exchange: Exchange) -> None:
        order = exchange.plan.own
        if order is None or exchange.answered:
            return
        exchange.answered = True
        if order.kind == "reset":
            self._forward.put(self._reset)
            return
        closes = exchange.head is None or exchange.head.closes or not exchange.body.complete
        answer = own_answer(order, head_only=exchange.method == b"HEAD", closes=closes)

        def give() -> None:
            exchange.answer_body = Body("none")
            self._backward.put(answer)
            if closes:
                self._backward.put(self.close)
            self._next_turn()

        self._forward.put(give)

    # -- the ends

    def _to_target(self, data: bytes) -> None:
        if self._refused:
            self._reset()
        else:
            self._target.write(data)

    def _pause_client(self) -> None:
        self.client.pause(self._forward.full or len(self._held_back) > HIGH_BYTES)

    def _close_if_over(self) -> None:
        if len(self._eofs) == 2 and self._forward.empty and self._backward.empty:
            self.close()

    def _reset(self) -> None:
        self._finish(self.client.reset, self._target.reset)

    def _finish(self, *endings: Callable[[], None]) -> None:
        if self._closed:
            return
        self._closed = True
        self._forward.close()
        self._backward.close()
        if self._connecting is not None and self._connecting is not asyncio.current_task(self._site.loop):
            self._connecting.cancel()
        for ending in endings:
            ending()
        self._site.ended(self)
