"""The judgement: a stuck engine is found in time, a slow one never, and gaps in the looking accuse nobody."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.contract.fleet import EngineKind, WorkloadSpec
from backend.contract.pulse import EnginePulse
from backend.contract.words import SlotState
from backend.reconcile import watchdog
from backend.reconcile.watchdog import Stuck, Watch, Watchdog, WatchdogSettings, begin, judge
from tests.fakes.clock import FakeClock
from tests.fakes.edge import FakeEdge
from tests.fakes.fleet import FakeFleet
from tests.fakes.ledger import MemoryLedger

TICK = 0.1


class Bench:
    """One engine and the looks at it."""

    def __init__(self, engine: EngineKind = "llamacpp") -> None:
        self.engine, self.now = engine, 100.0
        self.pulse = EnginePulse(pid=7, answers=0, cpu_s=5.0)
        self.watch: Watch = begin(self.pulse, self.now)

    def look(
        self, *, answered: bool = False, stepped: bool = False, cpu: float = 0.0, gap: float = TICK, **changes: object
    ) -> Stuck | None:
        self.now += gap
        before = self.pulse
        self.pulse = msgspec.structs.replace(
            before,
            answers=before.answers + (answered or stepped),
            progress=(before.progress or 0.0) + stepped,
            pending=True if answered or stepped else before.pending,
            cpu_s=(before.cpu_s or 0.0) + cpu * gap,
            runnable=False,
            halted=False,
        )
        in_flight = int(str(changes.pop("in_flight", 1)))
        self.pulse = msgspec.structs.replace(self.pulse, **changes)
        self.watch, stuck = judge(self.watch, self.pulse, in_flight=in_flight, engine=self.engine, mono_s=self.now)
        return stuck

    def until_stuck(self, *, within_s: float = 60.0, **how: object) -> tuple[float, Stuck | None]:
        began = self.now
        while self.now - began < within_s:
            stuck = self.look(**how)  # type: ignore[arg-type]  # the test's own words for `look`
            if stuck is not None:
                return self.now - began, stuck
        return self.now - began, None


def test_frozen_engine_is_stuck_within_a_second() -> None:
    bench = Bench()
    for _ in range(20):
        assert bench.look(stepped=True, cpu=1.0) is None
    took, stuck = bench.until_stuck()
    assert stuck is not None and stuck.why == "idle" and took <= 0.8


def test_stopped_thread_is_seen_sooner_even_where_others_spin() -> None:
    took, stuck = Bench().until_stuck(halted=True, cpu=1.0, runnable=True)
    assert stuck is not None and stuck.why == "halted" and took <= 0.55


def test_embedding_that_answers_but_computes_nothing_is_stuck_by_its_stopped_thread() -> None:
    took, stuck = Bench("embedding").until_stuck(answered=True, halted=True, cpu=0.4)
    assert stuck is not None and stuck.why == "halted" and took <= 0.6


def test_long_step_that_computes_is_not_stuck_before_the_floor() -> None:
    took, stuck = Bench().until_stuck(cpu=0.4)
    assert stuck is not None and stuck.why == "stalled" and took >= 10.0


def test_engine_that_waits_for_a_processor_works() -> None:
    took, stuck = Bench().until_stuck(cpu=0.0, runnable=True)
    assert stuck is not None and stuck.why == "stalled" and took >= 10.0


def test_slow_steps_move_the_limit_and_a_hang_does_not() -> None:
    bench = Bench()
    for _ in range(2):
        for _ in range(60):
            assert bench.look(cpu=0.9) is None  # six seconds for a step
        assert bench.look(stepped=True, cpu=0.9) is None
    assert 5.5 <= bench.watch.slowest_step_s <= 6.5
    took, stuck = bench.until_stuck(cpu=0.9)
    assert stuck is not None and 4 * 5.5 <= took <= 4 * 6.5 + 1
    hung = Bench()
    for _ in range(5):
        hung.look(cpu=0.0)
    hung.look(stepped=True, cpu=0.0)
    assert hung.watch.slowest_step_s <= 0.2, "time without the processor is no part of a step"


def test_engine_whose_clients_read_slowly_has_nothing_to_do() -> None:
    _, stuck = Bench().until_stuck(answered=True, pending=False)
    assert stuck is None


def test_unknown_threads_leave_only_the_slow_judgement() -> None:
    took, stuck = Bench("vllm").until_stuck(answered=True, cpu_s=None)
    assert stuck is not None and stuck.why == "stalled" and took >= 10.0


@given(st.lists(st.tuples(st.floats(0.05, 0.3), st.booleans(), st.booleans()), min_size=1, max_size=400))
def test_engine_that_works_at_every_look_is_never_stuck_before_the_floor(
    looks: list[tuple[float, bool, bool]],
) -> None:
    bench, stood = Bench(), 0.0
    for gap, stepped, spins in looks:
        stuck = bench.look(stepped=stepped, cpu=1.0 if spins else 0.0, runnable=not spins, gap=gap)
        stood = 0.0 if stepped else stood + gap
        assert stuck is None or stood >= 9.9


@given(st.floats(0.0, 1e6), st.booleans())
def test_one_look_that_came_late_accuses_nobody(gap: float, halted: bool) -> None:
    """The daemon was stopped, or the machine slept: what was seen last may be long ago."""
    bench = Bench()
    assert bench.look(gap=gap, halted=halted) is None
    assert bench.watch.idle_s <= watchdog.LONGEST_GAP_S


@given(st.integers(0, 50), st.booleans())
def test_frozen_engine_is_always_found(worked_before: int, slow_looks: bool) -> None:
    bench = Bench()
    for _ in range(worked_before):
        bench.look(stepped=True, cpu=1.0)
    took, stuck = bench.until_stuck(gap=0.2 if slow_looks else TICK)
    assert stuck is not None and took <= 0.95


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.floats(0.0, 1.0)), max_size=100))
def test_with_nothing_in_flight_only_a_stopped_one_is_stuck(looks: list[tuple[bool, bool, float]]) -> None:
    bench, held = Bench(), 0
    for answered, halted, cpu in looks:
        held = held + 1 if halted else 0
        stuck = bench.look(answered=answered, halted=halted, cpu=cpu, in_flight=0)
        assert stuck is None or (stuck.why == "halted" and held >= 4)


# -- the loop


class Pulses:
    """Pulses as the test wants them; a frozen engine's stand still."""

    def __init__(self) -> None:
        self.frozen: set[str] = set()
        self.kept: frozenset[str] = frozenset()
        self.steps = 0

    def pulse(self, status: object, engine: EngineKind) -> EnginePulse | None:
        name, pid = status.name, status.pid  # type: ignore[attr-defined]  # a ReplicaStatus
        if name in self.frozen:
            return EnginePulse(pid=pid, answers=1, progress=1.0, pending=True, cpu_s=1.0, halted=True)
        self.steps += 1
        return EnginePulse(pid=pid, answers=self.steps + 1, progress=float(self.steps + 1), pending=True, cpu_s=2.0)

    def keep(self, replicas: frozenset[str]) -> None:
        self.kept = replicas


class Ejector:
    def __init__(self, edge: FakeEdge) -> None:
        self.edge, self.out = edge, set[str]()

    async def eject(self, replica: str, pid: int) -> bool:
        await self.edge.eject("llm", replica)
        self.out.add(replica)
        return True

    async def readmit(self, replica: str) -> bool:
        await self.edge.undrain("llm", replica)
        self.out.discard(replica)
        return True

    def serving(self, workload: str) -> tuple[str, ...]:
        return tuple(slot.replica for slot in self.edge.slots() if slot.state == SlotState.READY)


class Rig:
    """A fleet of two with one request each, and the dog's looks in virtual time."""

    def __init__(self, settings: WatchdogSettings | None = None) -> None:
        self.clock, self.edge, self.fleet = FakeClock(), FakeEdge(), FakeFleet(ready_after_s=0.0)
        self.pulses, self.ledger = Pulses(), MemoryLedger()
        self.spec = WorkloadSpec(name="llm", command=("x",), engine="llamacpp", max_replicas=4)
        self.dog = Watchdog(
            self.fleet,
            self.edge,
            self.pulses,
            Ejector(self.edge),
            self.ledger,
            self.clock,
            settings=settings,
        )

    async def up(self) -> None:
        await self.edge.configure([self.spec])
        for name in ("llm-0", "llm-1"):
            await self.fleet.create(self.spec, name)
            await self.edge.fill("llm", name, host="127.0.0.1", port=1, check_port=1, maxconn=4)
        async with asyncio.timeout(60.0):
            while any(status.phase != "Ready" for status in self.fleet.observe()):  # noqa: ASYNC110 - a fake's timer
                await asyncio.sleep(0.005)
        for _ in range(2):
            self.edge.begin("llm")

    async def look_for(self, seconds: float) -> None:
        for _ in range(round(seconds / TICK)):
            self.clock.advance(TICK)
            await self.dog.look({"llm": self.spec})

    def kinds(self) -> list[str]:
        return [row.kind for row in self.ledger.rows]  # type: ignore[union-attr]  # only events are told


async def test_stuck_replica_is_ejected_once_and_let_in_when_it_works_again() -> None:
    rig = Rig()
    await rig.up()
    await rig.look_for(1.0)
    assert rig.kinds() == []
    rig.pulses.frozen.add("llm-0")
    await rig.look_for(1.0)
    assert rig.kinds() == ["edge.ejected"] and rig.edge.state("llm-0") == SlotState.MAINT
    event = rig.ledger.rows[0]
    assert event.attributes["why"] == "halted" and event.severity == "error"  # type: ignore[union-attr]
    await rig.look_for(5.0)
    assert rig.kinds() == ["edge.ejected"]
    assert "llm-0" in rig.pulses.kept, "an ejected replica is asked on"
    rig.pulses.frozen.clear()
    await rig.look_for(1.0)
    assert rig.kinds() == ["edge.ejected", "edge.readmitted"] and rig.edge.state("llm-0") == SlotState.READY


async def test_replica_stuck_for_long_is_killed_for_its_supervision() -> None:
    rig = Rig(WatchdogSettings(restart_after_s=3.0))
    await rig.up()
    before = {status.name: status.pid for status in rig.fleet.observe()}
    await rig.look_for(0.3)
    rig.pulses.frozen.add("llm-0")
    await rig.look_for(3.0)
    assert rig.kinds() == ["edge.ejected"]
    await rig.look_for(1.0)
    assert rig.kinds() == ["edge.ejected", "watchdog.restart"]
    assert next(s.pid for s in rig.fleet.observe() if s.name == "llm-0") != before["llm-0"]


async def test_watchdog_that_is_off_looks_at_nothing() -> None:
    rig = Rig(WatchdogSettings(enabled=False))
    await rig.up()
    rig.pulses.frozen.add("llm-0")
    await rig.dog.run(lambda: (rig.spec,))
    assert rig.kinds() == []


@pytest.mark.parametrize(("ejections", "seconds"), [(1, 0.3), (2, 0.6), (3, 1.2), (20, 30.0)])
def test_each_ejection_makes_the_way_back_longer(ejections: int, seconds: float) -> None:
    assert watchdog.calm_needed(ejections) == pytest.approx(seconds)
