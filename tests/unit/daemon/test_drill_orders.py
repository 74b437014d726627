"""Orders to run a drill: compiled once, off the loop, and wrong ones say so where they are used."""

from __future__ import annotations

import threading

import pytest

from backend.contract.control import ActionRequest
from backend.contract.errors import FileError, UsageError
from backend.contract.words import Verb
from backend.daemon import drill_orders
from backend.daemon.drill_orders import KEPT, DrillOrders
from backend.drills.library import library


def order(**args: str | int) -> ActionRequest:
    return ActionRequest(verb=Verb.DRILL_RUN, args=dict(args), actor="cli:test")


async def test_a_prepared_order_is_compiled_in_a_thread_and_not_again(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []
    compile_it = drill_orders._compile
    monkeypatch.setattr(drill_orders, "_compile", lambda r: (threads.append(threading.get_ident()), compile_it(r))[1])
    orders, request = DrillOrders(), order(name=next(iter(library())), seed=3)
    await orders.prepare(request)
    assert orders.compiled(request) is orders.compiled(request)
    assert orders.compiled(request).scenario.seed == 3
    assert orders.compiled(order(name=next(iter(library())), seed=4)).scenario.seed == 4
    assert threads[0] != threading.get_ident()
    assert len(threads) == 2


async def test_a_wrong_order_is_refused_where_it_is_used_prepared_or_not() -> None:
    for request, error in ((order(yaml="drill: 1\n", source="mine.yaml"), FileError), (order(), UsageError)):
        orders = DrillOrders()
        with pytest.raises(error):
            orders.compiled(request)
        await orders.prepare(request)
        with pytest.raises(error):
            orders.compiled(request)


async def test_few_orders_are_kept() -> None:
    orders = DrillOrders()
    for seed in range(KEPT + 4):
        await orders.prepare(order(name="cpu-burn", seed=seed))
    assert len(orders._known) == KEPT
