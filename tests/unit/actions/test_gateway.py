"""Every verb through one gateway: preview, guard, journal, result."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from backend.actions.executor import Effect, Inverse, Progress, Verbal, state_of
from backend.contract.control import ActionRequest, Quantiles, SeriesPoint, Snapshot
from backend.contract.errors import LeaseHeld, Refused, TrinityError, UsageError
from backend.contract.rows import ActionRow
from backend.contract.words import ActionOutcome, Phase, Risk, Verb
from tests.fakes.ledger import MemoryLedger
from tests.unit.actions.gateway_room import DAEMON_VERBS, PLATFORM_VERBS, REQUESTS, SPEC, Desk, ask, replica_view, until


def test_every_verb_has_an_executor_or_is_the_daemons() -> None:
    assert Desk().gateway.verbs | PLATFORM_VERBS | DAEMON_VERBS == set(Verb)
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
