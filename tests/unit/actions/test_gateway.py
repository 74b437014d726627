"""Every verb through one gateway: preview, guard, journal, result, undo."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence

import msgspec
import pytest

from backend.actions.executor import ActionState, Effect, Inverse, Progress, Verbal, state_of
from backend.actions.fleet_verbs import fleet_executors
from backend.actions.gateway import Gateway
from backend.contract.control import ActionRequest, Quantiles, ReplicaView, SeriesPoint, Snapshot, WorkloadView
from backend.contract.edge import EdgeServer
from backend.contract.errors import LeaseHeld, Refused, TrinityError, UsageError
from backend.contract.fleet import ReplicaStatus, WorkloadSpec
from backend.contract.rows import ActionRow, Scalar
from backend.contract.words import ActionOutcome, Phase, Risk, SlotState, Verb
from backend.reconcile.diff import diff
from tests.fakes.clock import FakeClock
from tests.fakes.ledger import MemoryLedger

SPEC = WorkloadSpec(name="llm", command=("serve",), slots=4, revision="r1", max_replicas=8)
DAEMON_VERBS = frozenset(
    {
        Verb.LOAD_START,
        Verb.LOAD_STOP,
        Verb.DRILL_RUN,
        Verb.DRILL_STOP,
        Verb.INJECT,
        Verb.HEAL,
        Verb.NOTE,
        Verb.ACKNOWLEDGE,
        Verb.SHUTDOWN,
    }
)


def replica_view(name: str, phase: Phase = Phase.READY, in_flight: int = 0) -> ReplicaView:
    status = ReplicaStatus(
        name=name,
        fleet="local",
        workload="llm",
        phase=phase,
        created_ts=0.0,
        pid=100 if phase != Phase.FAILED else None,
    )
    server = EdgeServer(
        workload="llm",
        slot=0,
        replica=name,
        state=SlotState.READY,
        up=True,
        status="UP",
        in_flight=in_flight,
        queued=0,
        sessions_total=0,
        retries_total=0,
        errors_total=0,
    )
    return ReplicaView(status=status, edge=server)


class Desk:
    """A gateway over operations that only note what they were asked."""

    def __init__(self, *, read_only: bool = False, ledger: MemoryLedger | None = None) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.ledger, self.clock = ledger or MemoryLedger(), FakeClock()
        self.wanted, self.autoscale, self.maintenance, self.in_flight = 3, False, False, 0
        self.replicas: tuple[ReplicaView, ...] = (replica_view("llm-0", in_flight=3), replica_view("llm-1"))
        self.lease: str | None = None
        self.fail: Exception | None = None
        self.gate: asyncio.Event | None = None
        ids = itertools.count(1)
        self.gateway = Gateway(
            self.state,
            self.ledger,
            self.ledger,
            self.clock,
            blocker=lambda workload, actor: self.lease,
            executors=fleet_executors(self, set_autoscale=self.set_autoscale, parse=self.parse, diff=diff),
            read_only=read_only,
            new_id=lambda: f"a{next(ids)}",
        )

    def state(self) -> ActionState:
        view = WorkloadView(
            name="llm",
            wanted=self.wanted,
            ready=2,
            total=2,
            slots=4,
            routes=("/",),
            queued=0,
            in_flight=self.in_flight,
            autoscale=self.autoscale,
            maintenance=self.maintenance,
        )
        return ActionState(
            fleet="local",
            specs=(SPEC,),
            replicas=self.replicas,
            workloads=(view,),
            ttft={"llm": Quantiles(count=40, p50_s=0.2, p95_s=0.412, p99_s=0.5, window_s=300)},
        )

    async def _call(self, *call: object) -> None:
        self.calls.append(call)
        if self.gate is not None:
            await self.gate.wait()
        if self.fail is not None:
            raise self.fail

    async def set_replicas(self, workload: str, n: int, *, actor: str = "operator") -> int:
        await self._call("scale", workload, n, actor)
        was, self.wanted = self.wanted, n
        return was

    async def rollout(self, workload: str, progress: Progress | None = None, *, actor: str = "operator") -> str:
        await self._call("rollout", workload)
        return "2 replicas replaced."

    async def restart_replica(self, replica: str, progress: Progress | None = None, *, actor: str = "operator") -> str:
        await self._call("restart", replica)
        return "restarted"

    async def drain(self, replica: str, *, actor: str = "operator") -> int:
        await self._call("drain", replica)
        return 3

    async def undrain(self, replica: str, *, actor: str = "operator") -> None:
        await self._call("undrain", replica)

    async def kill(self, replica: str, signal: int = 9, *, actor: str = "operator") -> int:
        await self._call("kill", replica, signal)
        return 100

    async def set_maintenance(self, workload: str, on: bool, *, actor: str = "operator") -> None:
        await self._call("maintenance", workload, on)
        self.maintenance = on

    async def set_autoscale(self, workload: str, on: bool) -> None:
        await self._call("autoscale", workload, on)
        self.autoscale = on

    async def apply(
        self, specs: Sequence[WorkloadSpec], *, yaml: str = "", source: str = "", actor: str = "operator"
    ) -> tuple[str, ...]:
        await self._call("apply", len(specs))
        return diff((SPEC,), specs)

    def parse(self, yaml: str, source: str) -> tuple[WorkloadSpec, ...]:
        return (msgspec.structs.replace(SPEC, replicas=int(yaml)),)


def ask(verb: Verb, target: str = "", actor: str = "cli:ann", **args: Scalar) -> ActionRequest:
    return ActionRequest(verb=verb, target=target, args=args, actor=actor)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - the desk has nothing to wait on
        await asyncio.sleep(0)


REQUESTS: dict[Verb, ActionRequest] = {
    Verb.SCALE: ask(Verb.SCALE, "llm", replicas=2),
    Verb.RESTART: ask(Verb.RESTART, "llm-0"),
    Verb.ROLLOUT: ask(Verb.ROLLOUT, "llm"),
    Verb.KILL: ask(Verb.KILL, "llm-0"),
    Verb.DRAIN: ask(Verb.DRAIN, "llm-0"),
    Verb.UNDRAIN: ask(Verb.UNDRAIN, "llm-0"),
    Verb.APPLY: ask(Verb.APPLY, yaml="1"),
    Verb.AUTOSCALE: ask(Verb.AUTOSCALE, "llm", on=True),
    Verb.MAINTENANCE: ask(Verb.MAINTENANCE, "llm", on=True),
    Verb.UNDO: ask(Verb.UNDO),
}


def test_every_verb_has_an_executor_or_is_the_daemons() -> None:
    assert Desk().gateway.verbs | DAEMON_VERBS == set(Verb)
    assert not Desk().gateway.verbs & DAEMON_VERBS
    assert REQUESTS.keys() == Desk().gateway.verbs


@pytest.mark.parametrize("verb", sorted(REQUESTS))
@pytest.mark.parametrize("how", ["gateway", "actor"])
async def test_every_verb_is_refused_read_only_and_does_nothing(verb: Verb, how: str) -> None:
    desk = Desk(read_only=how == "gateway")
    request = REQUESTS[verb]
    if how == "actor":
        request = msgspec.structs.replace(request, actor="read-only:console:ann")
    preview = desk.gateway.preview(request)
    assert not preview.allowed and "read-only" in preview.refusal
    with pytest.raises(Refused, match="read-only"):
        await desk.gateway.perform(request)
    assert desk.calls == [] and desk.ledger.durable == []
    assert [row.outcome for row in desk.ledger.actions()] == [ActionOutcome.REFUSED]


@pytest.mark.parametrize("verb", sorted(REQUESTS.keys() - {Verb.UNDO}))
async def test_every_verb_is_journalled_before_the_deed_and_after(verb: Verb) -> None:
    desk = Desk()
    seen: list[list[ActionOutcome]] = []
    original = desk._call

    async def watched(*call: object) -> None:
        seen.append([row.outcome for row in desk.ledger.durable if isinstance(row, ActionRow)])
        desk.clock.advance(2.5)
        await original(*call)

    desk._call = watched  # type: ignore[method-assign]  # watched
    row = await desk.gateway.perform(REQUESTS[verb])
    assert seen == [[ActionOutcome.RUNNING]]
    assert [r.outcome for r in desk.ledger.durable if isinstance(r, ActionRow)] == ["running", "ok"]
    assert row.id == "a1" and row.actor == "cli:ann" and row.preview and row.result and row.duration_s == 2.5
    (event,) = desk.ledger.events(f"action.{verb}")
    assert event.attributes["id"] == row.id


async def test_nothing_is_done_where_it_cannot_be_journalled() -> None:
    desk = Desk()
    desk.ledger.fail_with = TrinityError("no space left")
    with pytest.raises(TrinityError, match="no space left"):
        await desk.gateway.perform(REQUESTS[Verb.SCALE])
    assert desk.calls == []


def test_a_preview_says_the_effect_and_changes_nothing() -> None:
    desk = Desk()
    preview = desk.gateway.preview(REQUESTS[Verb.SCALE])
    assert preview.summary == ("llm: 3 → 2 replicas; capacity 12 → 8 slots; p95 TTFT over the last 5 min 0.41 s")
    assert (preview.risk, preview.allowed, preview.undo) == (Risk.LOW, True, "scale back to 3")
    assert desk.calls == [] and desk.ledger.rows == []


def test_risks() -> None:
    desk = Desk()
    assert desk.gateway.preview(ask(Verb.SCALE, "llm", replicas=4)).risk == Risk.NONE
    assert desk.gateway.preview(ask(Verb.SCALE, "llm", replicas=0)).risk == Risk.HIGH
    assert desk.gateway.preview(ask(Verb.KILL, "llm-0")).risk == Risk.LOW
    assert desk.gateway.preview(ask(Verb.DRAIN, "llm-0")).risk == Risk.LOW
    desk.replicas = (replica_view("llm-0"), replica_view("llm-1", Phase.STARTING))
    assert desk.gateway.preview(ask(Verb.DRAIN, "llm-0")).risk == Risk.HIGH
    kill = desk.gateway.preview(ask(Verb.KILL, "llm-0"))
    assert kill.risk == Risk.HIGH and not kill.allowed and "last healthy replica" in kill.refusal
    forced = desk.gateway.preview(ask(Verb.KILL, "llm-0", force=True))
    assert forced.risk == Risk.HIGH and forced.allowed


async def test_the_last_healthy_replica_is_killed_only_by_force() -> None:
    desk = Desk()
    desk.replicas = (replica_view("llm-0"),)
    with pytest.raises(Refused, match="last healthy"):
        await desk.gateway.perform(ask(Verb.KILL, "llm-0"))
    assert desk.calls == []
    assert (await desk.gateway.perform(ask(Verb.KILL, "llm-0", force=True, signal=15))).outcome == "ok"
    assert desk.calls == [("kill", "llm-0", 15)]


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (ask(Verb.SCALE, "lmm", replicas=1), "There is no workload lmm. Did you mean llm?"),
        (ask(Verb.RESTART, "llm-9"), "There is no replica llm-9. Did you mean llm-"),
        (ask(Verb.RESTART, ""), "Which replica? None was named."),
        (ask(Verb.SCALE, "llm"), "scale needs replicas as a whole number"),
        (ask(Verb.SCALE, "llm", replicas=True), "scale needs replicas as a whole number"),
        (ask(Verb.AUTOSCALE, "llm", on="yes"), "autoscale needs on as true or false"),
        (ask(Verb.KILL, "llm-0", signal=4711), "4711 is not a signal"),
        (ask(Verb.APPLY, yaml=" "), "apply needs the text"),
        (ask(Verb.NOTE, text="deploy"), "This daemon cannot note"),
        (ask(Verb.UNDO, id="zzz"), "There is no action zzz"),
    ],
)
async def test_what_makes_no_sense_is_said_and_journalled(request_: ActionRequest, words: str) -> None:
    desk = Desk()
    with pytest.raises(UsageError) as said:
        desk.gateway.preview(request_)
    assert words in str(said.value)
    with pytest.raises(UsageError):
        await desk.gateway.perform(request_)
    assert [row.outcome for row in desk.ledger.actions()] == ["refused"] and desk.calls == []


async def test_bounds_are_refused_with_their_numbers() -> None:
    desk = Desk()
    for count in (-1, 9):
        with pytest.raises(Refused, match="0 to 8 replicas"):
            await desk.gateway.perform(ask(Verb.SCALE, "llm", replicas=count))


async def test_a_held_lease_refuses_what_touches_the_workload_and_names_its_holder() -> None:
    desk = Desk()
    desk.lease = "drill llm-replica-kill"
    for verb in (Verb.SCALE, Verb.RESTART, Verb.ROLLOUT, Verb.KILL, Verb.DRAIN, Verb.UNDRAIN, Verb.MAINTENANCE):
        with pytest.raises(Refused, match="drill llm-replica-kill"):
            await desk.gateway.perform(REQUESTS[verb])
    assert (await desk.gateway.perform(REQUESTS[Verb.AUTOSCALE])).outcome == "ok"


async def test_maintenance_refuses_scaling_and_restarts_but_not_its_own_end() -> None:
    desk = Desk()
    desk.maintenance = True
    for verb in (Verb.SCALE, Verb.RESTART, Verb.ROLLOUT):
        with pytest.raises(Refused, match="in maintenance"):
            await desk.gateway.perform(REQUESTS[verb])
    assert (await desk.gateway.perform(ask(Verb.MAINTENANCE, "llm", on=False))).outcome == "ok"
    assert (await desk.gateway.perform(REQUESTS[Verb.KILL])).outcome == "ok"


async def test_the_autoscaler_acts_only_while_it_is_on() -> None:
    desk = Desk()
    request = ask(Verb.SCALE, "llm", actor="autoscaler", replicas=2)
    with pytest.raises(Refused, match="is off"):
        await desk.gateway.perform(request)
    desk.autoscale = True
    assert (await desk.gateway.perform(request)).actor == "autoscaler"


async def test_a_failed_deed_is_a_row_and_a_warning() -> None:
    desk = Desk()
    desk.fail = TrinityError("llm-2 did not get Ready.", "See its log.")
    row = await desk.gateway.perform(REQUESTS[Verb.ROLLOUT])
    assert (row.outcome, row.result, row.undoable) == ("failed", "llm-2 did not get Ready. See its log.", False)
    (event,) = desk.ledger.events("action.rollout")
    assert event.severity == "warning"


async def test_a_refusal_from_the_deed_itself_is_a_refusal() -> None:
    desk = Desk()
    desk.fail = LeaseHeld("llm", "rollout by console:bob")
    with pytest.raises(LeaseHeld):
        await desk.gateway.perform(REQUESTS[Verb.SCALE])
    assert [row.outcome for row in desk.ledger.actions()] == ["running", "refused"]


async def test_a_fault_of_ours_is_recorded_as_such() -> None:
    desk = Desk()
    desk.fail = KeyError("oops")
    row = await desk.gateway.perform(REQUESTS[Verb.SCALE])
    assert row.outcome == "failed" and "Internal error: KeyError" in row.result


async def test_a_caller_that_goes_away_does_not_stop_the_deed() -> None:
    desk = Desk()
    desk.gate = asyncio.Event()
    calling = asyncio.create_task(desk.gateway.perform(REQUESTS[Verb.SCALE]))
    await until(lambda: bool(desk.calls))
    calling.cancel()
    await asyncio.gather(calling, return_exceptions=True)
    desk.gate.set()
    await until(lambda: desk.ledger.actions()[-1].outcome != "running")
    assert desk.wanted == 2 and desk.ledger.actions()[-1].outcome == "ok"


async def test_a_stopped_daemon_ends_its_deeds_as_interrupted() -> None:
    desk = Desk()
    desk.gate = asyncio.Event()
    calling = asyncio.create_task(desk.gateway.perform(REQUESTS[Verb.SCALE]))
    await until(lambda: bool(desk.calls))
    await desk.gateway.stop()
    await asyncio.gather(calling, return_exceptions=True)
    assert desk.ledger.actions()[-1].outcome == "failed"
    assert "Interrupted" in desk.ledger.actions()[-1].result


async def test_the_next_daemon_closes_what_a_dead_one_left_running() -> None:
    ledger = MemoryLedger()
    dead = Desk(ledger=ledger)
    dead.gate = asyncio.Event()
    calling = asyncio.create_task(dead.gateway.perform(REQUESTS[Verb.SCALE]))
    await until(lambda: bool(dead.calls))
    desk = Desk(ledger=ledger)
    assert await desk.gateway.close_interrupted() == 1
    assert ledger.actions()[-1].outcome == "failed" and "daemon ended" in ledger.actions()[-1].result
    assert await desk.gateway.close_interrupted() == 0
    calling.cancel()
    await dead.gateway.stop()


async def test_a_file_with_secrets_is_journalled_by_its_digest() -> None:
    desk = Desk()
    row = await desk.gateway.perform(ask(Verb.APPLY, yaml="1", source="trinity.yaml"))
    assert "yaml" not in row.args and len(str(row.args["yaml_sha256"])) == 64
    preview = desk.gateway.preview(ask(Verb.APPLY, yaml="2"))
    assert preview.effects == ("~ llm: replicas 1 → 2",)


# -- undo -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "inverse"),
    [
        (REQUESTS[Verb.SCALE], ("scale", "llm", 3, "cli:bob")),
        (REQUESTS[Verb.DRAIN], ("undrain", "llm-0")),
        (REQUESTS[Verb.UNDRAIN], ("drain", "llm-0")),
        (REQUESTS[Verb.AUTOSCALE], ("autoscale", "llm", False)),
        (REQUESTS[Verb.MAINTENANCE], ("maintenance", "llm", False)),
    ],
)
async def test_undo_does_the_inverse_as_an_action_of_its_own(
    request_: ActionRequest, inverse: tuple[object, ...]
) -> None:
    desk = Desk()
    row = await desk.gateway.perform(request_)
    assert row.undoable
    desk.calls.clear()
    undo = await desk.gateway.perform(ask(Verb.UNDO, actor="cli:bob", id=row.id))
    assert desk.calls == [inverse]
    assert (undo.undo_of, undo.actor, undo.outcome, undo.target) == (row.id, "cli:bob", "ok", row.target)
    with pytest.raises(Refused, match=f"undone already, by {undo.id}"):
        await desk.gateway.perform(ask(Verb.UNDO, id=row.id))


async def test_undo_survives_a_restart_of_the_daemon() -> None:
    ledger = MemoryLedger()
    row = await Desk(ledger=ledger).gateway.perform(REQUESTS[Verb.SCALE])
    desk = Desk(ledger=ledger)
    desk.wanted = 2
    preview = desk.gateway.preview(ask(Verb.UNDO, id=row.id))
    assert preview.verb == Verb.UNDO and "llm: 2 → 3 replicas" in preview.summary
    assert (await desk.gateway.perform(ask(Verb.UNDO, row.id))).outcome == "ok"
    assert desk.wanted == 3


async def test_undo_without_an_id_takes_the_newest_that_can_be_undone() -> None:
    desk = Desk()
    first = await desk.gateway.perform(REQUESTS[Verb.SCALE])
    second = await desk.gateway.perform(REQUESTS[Verb.DRAIN])
    await desk.gateway.perform(REQUESTS[Verb.KILL])
    assert (await desk.gateway.perform(ask(Verb.UNDO))).undo_of == second.id
    assert (await desk.gateway.perform(ask(Verb.UNDO))).undo_of == first.id
    with pytest.raises(Refused, match="no action that can be undone"):
        await desk.gateway.perform(ask(Verb.UNDO))


async def test_what_cannot_be_undone_says_why() -> None:
    desk = Desk()
    kill = await desk.gateway.perform(REQUESTS[Verb.KILL])
    with pytest.raises(Refused, match="the process is gone"):
        await desk.gateway.perform(ask(Verb.UNDO, id=kill.id))
    same = await desk.gateway.perform(ask(Verb.SCALE, "llm", replicas=3))
    assert not same.undoable
    with pytest.raises(Refused, match="changed nothing"):
        await desk.gateway.perform(ask(Verb.UNDO, id=same.id))
    desk.fail = TrinityError("no")
    failed = await desk.gateway.perform(REQUESTS[Verb.SCALE])
    with pytest.raises(Refused, match="was failed: there is nothing to undo"):
        await desk.gateway.perform(ask(Verb.UNDO, id=failed.id))


async def test_two_undos_at_once_undo_once() -> None:
    desk = Desk()
    row = await desk.gateway.perform(REQUESTS[Verb.SCALE])
    both = await asyncio.gather(
        *(desk.gateway.perform(ask(Verb.UNDO, id=row.id)) for _ in range(2)), return_exceptions=True
    )
    assert sorted(type(result).__name__ for result in both) == ["ActionRow", "Refused"]


async def test_a_failed_undo_can_be_tried_again() -> None:
    desk = Desk()
    row = await desk.gateway.perform(REQUESTS[Verb.SCALE])
    desk.fail = TrinityError("no")
    assert (await desk.gateway.perform(ask(Verb.UNDO, id=row.id))).outcome == "failed"
    desk.fail = None
    assert (await desk.gateway.perform(ask(Verb.UNDO, id=row.id))).outcome == "ok"


async def test_the_daemon_registers_verbs_of_its_own() -> None:
    desk = Desk()
    running: list[str] = []

    async def start(request: ActionRequest, progress: Progress) -> str:
        running.append("load")
        return "started"

    async def stop(request: ActionRequest, progress: Progress) -> str:
        running.clear()
        return "stopped"

    desk.gateway.register(
        Verbal(
            Verb.LOAD_START,
            lambda state, request: Effect(summary="demo load"),
            start,
            lambda state, request: Inverse(verb=Verb.LOAD_STOP, words="stop it"),
        )
    )
    desk.gateway.register(Verbal(Verb.LOAD_STOP, lambda state, request: Effect(summary="no demo load"), stop))
    with pytest.raises(ValueError, match="executor already"):
        desk.gateway.register(Verbal(Verb.LOAD_STOP, lambda state, request: Effect(summary=""), stop))
    row = await desk.gateway.perform(ask(Verb.LOAD_START))
    assert running == ["load"]
    await desk.gateway.perform(ask(Verb.UNDO, id=row.id))
    assert running == []


def test_a_snapshot_is_all_a_preview_needs() -> None:
    desk = Desk()
    state = desk.state()
    point = SeriesPoint(
        ts=0,
        ttft=Quantiles(),
        queued=0,
        in_flight=0,
        requests_per_s=0,
        tokens_per_s=0,
        errors_per_s=0,
        ready=0,
        wanted=0,
        cpu_percent=0,
        memory_percent=0,
    )
    snapshot = Snapshot(
        seq=1,
        ts=0,
        fleet="local",
        version="0",
        health="ok",
        replicas=state.replicas,
        workloads=state.workloads,
        point=point,
    )
    assert state_of(snapshot, [SPEC], state.ttft) == state
