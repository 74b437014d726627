"""One holder at a time, and everybody learns who it is."""

from __future__ import annotations

import asyncio

import pytest

from backend.contract.errors import LeaseHeld
from backend.reconcile.leases import Leases


async def test_a_second_holder_is_refused_with_the_firsts_name() -> None:
    leases = Leases()
    async with leases.hold("llm", "rollout by cli:ann"):
        assert leases.holder("llm") == "rollout by cli:ann"
        assert leases.blocker("llm", "cli:ann") == "rollout by cli:ann", "not even its own actor may interfere"
        with pytest.raises(LeaseHeld) as refused:
            async with leases.hold("llm", "scale by console:bob"):
                pass
        assert refused.value.holder == "rollout by cli:ann"
        async with leases.hold("api", "scale by console:bob"):
            assert leases.holder("api") == "scale by console:bob"
    assert leases.holder("llm") is None and leases.holder("api") is None


async def test_the_owners_actions_run_within_its_lease() -> None:
    leases = Leases()
    async with leases.hold("llm", "drill kill", owner="drill:1"):
        async with leases.hold("llm", "restart by drill:1", actor="drill:1"):
            assert leases.holder("llm") == "drill kill"
        assert leases.holder("llm") == "drill kill", "the inner one does not end the outer one"
        assert leases.blocker("llm", "drill:1") is None
        with pytest.raises(LeaseHeld):
            async with leases.hold("llm", "restart by drill:2", actor="drill:2"):
                pass


async def test_waiting_is_in_turn_and_a_cancelled_waiter_is_passed_over() -> None:
    leases, order = Leases(), []
    begun = asyncio.Event()

    async def work(name: str) -> None:
        async with leases.hold("llm", name, wait=True):
            order.append(name)
            assert leases.holder("llm") == name
            await asyncio.sleep(0)

    async with leases.hold("llm", "first"):
        waiting = [asyncio.create_task(work(name)) for name in ("a", "b", "c")]
        asyncio.get_running_loop().call_soon(begun.set)
        await begun.wait()
        waiting[1].cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert order == ["a", "c"]
    assert leases.holder("llm") is None


async def test_a_waiter_cancelled_as_its_turn_comes_hands_it_on() -> None:
    leases = Leases()

    async def work(name: str) -> None:
        async with leases.hold("llm", name, wait=True):
            pass

    async with leases.hold("llm", "first"):
        one, two = asyncio.create_task(work("one")), asyncio.create_task(work("two"))
        await asyncio.sleep(0)
    one.cancel()  # its turn has come, it has not run yet
    with pytest.raises(LeaseHeld):
        async with leases.hold("llm", "an intruder"):
            pass
    await asyncio.wait_for(asyncio.gather(one, two, return_exceptions=True), 60)
    assert leases.holder("llm") is None


async def test_a_lease_ends_with_an_exception_too() -> None:
    leases = Leases()
    with pytest.raises(RuntimeError):
        async with leases.hold("llm", "first"):
            raise RuntimeError
    assert leases.holder("llm") is None
