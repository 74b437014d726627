"""Every fault of the catalogue over real processes: proven where it takes effect, never passed where it does not."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec
import pytest

from backend.contract.edge import EdgeObservation
from backend.contract.errors import Refused, TrinityError
from backend.contract.faults import POISON_HEADER, FaultKind, FaultReport
from backend.contract.fleet import ReplicaStatus
from backend.contract.rows import ActionRow, Scalar
from backend.contract.words import DrillOutcome, Phase, Verb
from backend.drills import processes, undo_log
from backend.drills.catalogue import FAULTS, HeldBy
from backend.drills.check import Compiled, load_scenario
from backend.drills.faults import proofs, undoing
from backend.drills.injection import Injector
from backend.drills.records import FaultStamps, PhaseSpan, RunRecord
from backend.drills.scenario import FaultName
from backend.drills.undo_log import Undo
from backend.drills.verdict import judge
from backend.drills.watch import Watch
from tests.integration.drill_fakes import CLOCK, FakeHost, FakeReplica, until

SCENARIO = """
drill: 1
name: one-fault
title: one fault
targets:
  pool: {workload: llm}
  victim: {from: pool, index: 0}
safety: {fault_ttl: 30s, blast_radius: {max_down: 3, keep_healthy: 0}}
load:
  chat: {kind: chat-plain, arrival: {rate: 1/s}}
phases:
  - name: fault
    inject:
      - {id: f, INJECTION}
    hold: {for: 1s}
"""
INJECTIONS = {
    "process.kill": "target: victim, verify: [pid_gone, respawned]",
    "process.stop": "target: victim, verify: [proc_state_T, holder_active]",
    "process.exit": "target: victim, code: 3, verify: [exit_recorded, pid_gone]",
    "process.slow-start": "target: victim, delay: 300ms, verify: [pid_gone, not_ready]",
    "process.crash-loop": "target: victim, code: 7, verify: [crash_loop, pid_gone]",
    "memory.exhaust": "target: victim, verify: [exit_recorded, pid_gone]",
    "memory.fill": "target: victim, size: 64MiB, verify: [holder_active]",
    "cpu.burn": "target: victim, cores: 1.0, verify: [holder_active]",
    "files.exhaust": "target: victim, verify: [holder_active]",
    "disk.fill": "target: victim, verify: [holder_active]",
    "net.latency": "target: pool, latency: 50ms, jitter: 10ms, verify: [requests_affected]",
    "net.bandwidth": "target: pool, rate: 1KiB, share: 0.5, verify: [requests_affected]",
    "net.reset": "target: victim, verify: [requests_affected]",
    "net.cut": "target: victim, after: 64B, verify: [requests_affected, holder_active]",
    "net.blackhole": "target: victim, verify: [requests_affected]",
    "net.partition": "target: victim, direction: to-edge, verify: [requests_affected]",
    "http.error": "target: pool, status: 503, share: 0.5, verify: [requests_affected]",
    "http.garbage": "target: victim, verify: [requests_affected]",
    "http.truncate": "target: victim, verify: [requests_affected]",
    "http.slow-tokens": "target: victim, latency: 50ms, verify: [requests_affected]",
    "health.lie": "target: victim, status: 200, verify: [requests_affected]",
    "request.poison": "target: pool, verify: [requests_affected]",
    "edge.kill": "target: pool, verify: [edge_replaced]",
    "edge.reload": "target: pool, verify: [edge_replaced]",
    "daemon.kill": "target: pool, verify: [daemon_replaced]",
    "workload.restart": "target: pool, verify: [action_done]",
    "workload.scale": "target: pool, replicas: 2, verify: [action_done]",
    "node.drain": "target: victim, verify: [pid_gone, respawned, action_done]",
}


class Outside(FakeHost):
    """A host that runs outside the daemon: its daemon is another `sleep`."""

    @property
    def daemon_pid(self) -> int | None:
        return self.edge().pid

    async def kill_daemon(self, run_id: str) -> int:
        return await self.kill_edge(run_id)

    async def await_daemon(self, timeout_s: float) -> int:
        return self.edge().pid or 0


class Platform(FakeHost):
    """A platform that makes another replica, under another name, in place of one that is gone; its pids are none of
    this machine."""

    def __init__(self, replicas: int) -> None:
        super().__init__(replicas)
        self.driver, self.held_back = "kubernetes", False

    def replicas(self, workload: str) -> Sequence[ReplicaStatus]:
        seen = super().replicas(workload)
        there = [one for one in seen if one.phase in (Phase.STARTING, Phase.READY)]
        return [msgspec.structs.replace(one, pid=one.pid and one.pid + 2**30) for one in there]

    def _respawn(self, member: FakeReplica) -> None:
        member.name += "-again"


class Rig:
    """An injector as a run has it, without load."""

    def __init__(self, host: FakeHost, run_dir: Path, compiled: Compiled) -> None:
        self.host, self.run_dir, self.compiled = host, run_dir, compiled
        self.watch = Watch(host, CLOCK, compiled, {"pool": "llm"}, run_dir)
        self.watch.spans.append(PhaseSpan(name="fault", start_s=CLOCK.mono()))
        self.injector = Injector(host, CLOCK, compiled, self.watch, {"pool": "llm"}, run_dir)

    async def inject(self) -> bool:
        return await self.injector.inject(self.compiled.scenario.injections()[0])

    async def roll_back(self) -> None:
        await self.injector.undo_all()
        await self.injector.settle()
        await self.injector.confirm_ready()

    def outcome(self) -> DrillOutcome:
        record = RunRecord(
            run_id="r1", actor="t", scenario_name="one-fault", scenario_digest="", seed=1, environment="dev",
            fleet="local", started_ts=0.0, started_mono_s=0.0, phases=tuple(self.watch.spans),
            faults=tuple(self.watch.stamps.values()), undo=self.injector.summaries(),
        )  # fmt: skip
        return judge(self.compiled, record, []).outcome

    @property
    def stamps(self) -> FaultStamps:
        return self.watch.stamps["f"]


@contextlib.asynccontextmanager
async def rig(tmp_path: Path, fault: str, keys: str = "", *, host: FakeHost | None = None) -> AsyncIterator[Rig]:
    run_dir = tmp_path / "r1"
    run_dir.mkdir()
    text = SCENARIO.replace("INJECTION", f"fault: {fault}, {keys or INJECTIONS[fault]}")
    async with host or (Outside if fault == "daemon.kill" else FakeHost)(3) as running:
        made = Rig(running, run_dir, load_scenario(text, "t.yaml"))
        yield made
        made.watch.close()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proofs, "VERIFY_TIMEOUT_S", 0.15)
    monkeypatch.setattr(proofs, "SLOW_TIMEOUT_S", 0.15)


def test_every_fault_is_tried_here() -> None:
    assert set(INJECTIONS) == set(FAULTS)


@pytest.mark.parametrize("fault", sorted(FAULTS))
async def test_each_fault_takes_effect_and_is_taken_away(tmp_path: Path, fault: FaultName) -> None:
    async with rig(tmp_path, fault) as made:
        assert await made.inject(), made.stamps.problem
        assert made.stamps.verified and made.stamps.t_effective is not None
        recorded = [entry for entry in undo_log.read(made.run_dir) if isinstance(entry, Undo)]
        assert recorded and all(entry.ttl_s == 30.0 for entry in recorded)
        await made.injector.finish()
        await made.roll_back()
        assert made.injector.all_verified, made.injector.summaries()
        assert undo_log.pending(undo_log.read(made.run_dir)) == []
        assert not any(made.host.orders.values()), "no holder holds anything"
        assert all(member.start_fault is None and not member.held for member in made.host.members)
        assert len([m for m in made.host.members if m.phase == Phase.READY and not m.removed]) == 3
        assert made.host.unspliced == (["llm"] if FAULTS[fault].held_by == "proxy" else [])
        assert made.stamps.t_undone is not None and made.stamps.t_undo_issued is not None


@pytest.mark.parametrize("fault", sorted(FAULTS))
async def test_a_fault_that_does_nothing_never_passes(tmp_path: Path, fault: str, quick: None) -> None:
    async with rig(tmp_path, fault) as made:
        made.host.deaf = True
        assert not await made.inject()
        assert not made.stamps.verified and made.stamps.problem
        await made.roll_back()
        assert made.outcome() == DrillOutcome.INCONCLUSIVE
        assert all(processes.state(member.pid or 0) in ("S", "R") for member in made.host.members)


class Liar(FakeHost):
    """Its holders say that they hold what they never did."""

    async def fault_reports(self, replica: str, kind: HeldBy) -> list[FaultReport]:
        return [FaultReport(id=f"r1:f:{replica}", kind=self.claims, active=True)]

    claims: FaultKind = "stop"


@pytest.mark.parametrize(
    ("fault", "claims", "said"),
    [
        ("process.stop", "stop", "shows nothing of it"),
        ("files.exhaust", "exhaust-descriptors", "shows nothing of it"),
        ("net.latency", "latency", "touched 0 at llm-0"),
    ],
)
async def test_a_holder_that_lies_is_found_out(
    tmp_path: Path, fault: str, claims: FaultKind, said: str, quick: None
) -> None:
    host = Liar(3)
    host.deaf, host.claims = True, claims
    keys = INJECTIONS[fault].replace("proc_state_T, ", "")
    async with rig(tmp_path, fault, keys, host=host) as made:
        assert not await made.inject()
        assert said in made.stamps.problem


@pytest.mark.parametrize(("fault", "restarts"), [("process.kill", 1), ("node.drain", 0)])
async def test_a_victim_that_its_platform_replaces_lives_on_under_another_name(
    tmp_path: Path, fault: str, restarts: int
) -> None:
    keys = "target: victim, verify: [pid_gone, respawned]"
    async with rig(tmp_path, fault, keys, host=Platform(3)) as made:
        assert await made.inject(), made.stamps.problem
        assert "respawned: llm-0-again stands in place of llm-0" in made.stamps.evidence

        def back() -> bool:
            made.watch.look()
            return made.stamps.t_ready is not None

        await until(back)
        assert made.stamps.replica == "llm-0"
        assert made.watch.members()["victim"] == ("llm-0", "llm-0-again")
        seen = made.watch.observations[-1]
        assert (seen.healthy["victim"], seen.healthy["pool"], seen.restarts["pool"]) == (1, 3, restarts)
        await made.injector.finish()
        await made.roll_back()
        assert made.injector.all_verified, made.injector.summaries()
        acts = [verb for verb, _ in made.host.acts]
        assert acts == ([Verb.NODE_DRAIN, Verb.UNCORDON] if fault == "node.drain" else [])


async def test_a_fleet_without_nodes_has_none_to_drain(tmp_path: Path) -> None:
    host = FakeHost(3)
    for member in host.members:
        member.node = ""
    async with rig(tmp_path, "node.drain", host=host) as made:
        with pytest.raises(Refused, match="llm-0 is on no node"):
            await made.inject()
        assert host.acts == []


async def test_all_replicas_on_a_node_count_as_taken_with_it(tmp_path: Path) -> None:
    host = FakeHost(3)
    for member in host.members[:2]:
        member.node = "shared"
    async with rig(tmp_path, "node.drain", host=host) as made:
        assert await made.inject(), made.stamps.problem
        assert made.stamps.replicas == ("llm-0", "llm-1")


async def test_a_daemon_refuses_to_kill_itself(tmp_path: Path) -> None:
    async with rig(tmp_path, "daemon.kill", host=FakeHost(3)) as made:
        with pytest.raises(Refused, match="runs outside the daemon"):
            await made.inject()
        assert undo_log.read(made.run_dir) == []


async def test_a_pool_is_one_order_and_one_undo_for_each_replica(tmp_path: Path) -> None:
    async with rig(tmp_path, "net.latency") as made:
        assert await made.inject()
        assert made.stamps.replicas == ("llm-0", "llm-1", "llm-2")
        orders = [order for held in made.host.orders.values() for order in held.values()]
        assert sorted(order.id for order in orders) == [f"r1:f:llm-{i}" for i in range(3)]
        assert {order.latency_s for order in orders} == {0.05} and {order.ttl_s for order in orders} == {30.0}
        assert len({order.seed for order in orders}) == 3
        kinds = [entry.kind for entry in undo_log.read(made.run_dir) if isinstance(entry, Undo)]
        assert kinds == ["unsplice", "holder", "holder", "holder"]
        await made.roll_back()


async def test_the_record_is_on_disk_before_the_deed_and_the_condition_holds_at_it(tmp_path: Path) -> None:
    """True when the victim is chosen, not any more once the record is on disk, then true again: only then the deed."""
    asked: list[int] = []
    at_the_deed: list[tuple[int, int]] = []

    class Watched(FakeHost):
        async def in_flight(self, workload: str, replica: str) -> int:
            recorded = undo_log.read(tmp_path / "r1") != []
            if replica == "llm-0":
                asked.append(2 if not recorded else 0 if asked.count(0) < 3 else 3)
            return asked[-1] if replica == "llm-0" else 0

        async def signal(self, run_id: str, replica: str, signal: int) -> int:
            at_the_deed.append((len(undo_log.pending(undo_log.read(tmp_path / "r1"))), asked[-1]))
            return await super().signal(run_id, replica, signal)

    keys = 'target: victim, when: "in_flight(victim) >= 2", verify: [pid_gone]'
    async with rig(tmp_path, "process.kill", keys, host=Watched(3)) as made:
        assert await made.inject()
        await made.roll_back()
    assert at_the_deed == [(1, 3)]
    assert asked == [2, 0, 0, 0, 3]


async def test_a_hanging_holder_does_not_delay_an_abort(tmp_path: Path) -> None:
    keys = "target: victim, verify: [proc_state_T]"
    async with rig(tmp_path, "process.stop", keys) as made:
        assert await made.inject()
        made.host.heal_delay_s["llm-0"] = 1000.0
        began = CLOCK.mono()
        await made.injector.undo_all()
        assert not processes.is_stopped(made.host.members[0].pid or 0, (made.host.members[0].process and "") or "")
        assert processes.state(made.host.members[0].pid or 0) in ("S", "R")
        assert made.injector.all_verified, "the direct way did it"
        assert made.stamps.t_undone is not None
        assert began < made.stamps.t_undone <= CLOCK.mono()


async def test_an_abort_with_three_slow_holders_undoes_them_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each heals only once all were asked to: one after the other, the first would never end."""
    monkeypatch.setattr(undoing, "HEAL_TIMEOUT_S", 60.0)
    async with rig(tmp_path, "net.latency") as made:
        assert await made.inject()
        heal = made.host.heal
        asked: list[str] = []

        async def together(run_id: str, replica: str, kind: HeldBy, fault_id: str) -> FaultReport | None:
            asked.append(replica)
            await until(lambda: len(asked) == 3, timeout_s=30.0)
            return await heal(run_id, replica, kind, fault_id)

        monkeypatch.setattr(made.host, "heal", together)
        await made.injector.undo_all()
        assert sorted(asked) == ["llm-0", "llm-1", "llm-2"]
        assert not any(made.host.orders.values())


async def test_the_time_of_a_proof_begins_with_the_deed(tmp_path: Path, quick: None) -> None:
    """Ordered through a busy fleet, the deed itself may take longer than a proof of it is waited for."""

    class Busy(FakeHost):
        async def signal(self, run_id: str, replica: str, signal: int) -> int:
            await asyncio.sleep(4 * proofs.VERIFY_TIMEOUT_S)
            return await super().signal(run_id, replica, signal)

    async with rig(tmp_path, "process.kill", "target: victim, verify: [pid_gone]", host=Busy(3)) as made:
        made.host.respawn_s = 1000.0
        assert await made.inject(), made.stamps.problem
        assert made.stamps.evidence == (f"pid_gone: process {made.stamps.pid} has ended",)


async def test_an_undo_that_fails_does_not_stop_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with rig(tmp_path, "net.latency") as made:
        assert await made.inject()
        heal = made.host.heal

        async def broken(run_id: str, replica: str, kind: HeldBy, fault_id: str) -> FaultReport | None:
            if replica == "llm-2":
                raise TrinityError("the proxy is in a bad mood")
            return await heal(run_id, replica, kind, fault_id)

        monkeypatch.setattr(made.host, "heal", broken)
        await made.injector.undo_all()
        verified = {summary.id: summary.verified for summary in made.injector.summaries()}
        assert verified == {"splice:llm": False, "f:llm-0": True, "f:llm-1": True, "f:llm-2": False}
        assert [undo.id for undo in undo_log.pending(undo_log.read(made.run_dir))] == ["f:llm-2", "splice:llm"]
        monkeypatch.setattr(made.host, "heal", heal)
        await made.injector.settle()
        assert made.injector.all_verified, "tried once more after the load"


async def test_a_fault_that_its_own_limit_ended_proves_nothing(tmp_path: Path) -> None:
    async with rig(tmp_path, "cpu.burn") as made:
        assert await made.inject()
        made.host.ended["r1:f:llm-0"] = "ttl"
        assert await made.injector.heal("f")
        assert "time limit" in made.stamps.problem
        await made.roll_back()
        assert made.outcome() == DrillOutcome.INCONCLUSIVE


async def test_a_failed_rollout_is_not_a_proven_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with rig(tmp_path, "workload.restart") as made:
        act = made.host.act

        async def failing(run_id: str, verb: Verb, workload: str, args: dict[str, Scalar]) -> ActionRow:
            await act(run_id, verb, workload, args)
            raise TrinityError("the last replica did not come up")

        monkeypatch.setattr(made.host, "act", failing)
        assert await made.inject()
        await made.injector.finish()
        assert "did not come up" in made.stamps.problem
        await made.roll_back()
        assert made.outcome() == DrillOutcome.INCONCLUSIVE


async def test_the_poisoned_request_is_sent_once_and_its_answer_is_evidence(tmp_path: Path) -> None:
    heads: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 1\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    class Public(FakeHost):
        def edge(self) -> EdgeObservation:
            return msgspec.structs.replace(super().edge(), public_url=f"http://127.0.0.1:{port}")

    async with server, rig(tmp_path, "request.poison", host=Public(3)) as made:
        assert await made.inject()
        await made.injector.finish()
        await until(lambda: "503" in " ".join(made.stamps.evidence))
        await made.roll_back()
    assert len(heads) == 1
    assert f"{POISON_HEADER}: r1:f".encode() in heads[0]


async def test_a_replica_that_died_meanwhile_is_not_the_victim(tmp_path: Path) -> None:
    keys = 'target: any, when: "in_flight(any) >= 2", verify: [pid_gone]'
    text = SCENARIO.replace("INJECTION", f"fault: process.kill, {keys}")
    text = text.replace("  victim:", "  any: {from: pool, pick: busiest}\n  victim:")
    run_dir = tmp_path / "r1"
    run_dir.mkdir()
    async with FakeHost(3) as host:
        made = Rig(host, run_dir, load_scenario(text, "t.yaml"))
        host.members[0].in_flight = 2
        injecting = asyncio.create_task(made.inject())
        await until(lambda: undo_log.read(run_dir) != [])
        await injecting
        await made.roll_back()
        names = [entry.replica for entry in undo_log.read(run_dir) if isinstance(entry, Undo)]
        assert names == ["llm-0"] and made.stamps.replica == "llm-0"


async def test_the_same_seed_chooses_the_same_victims(tmp_path: Path) -> None:
    text = SCENARIO.replace("index: 0", "pick: random")
    text = text.replace("INJECTION", "fault: cpu.burn, target: victim, cores: 1.0, verify: [holder_active]")
    chosen = []
    async with FakeHost(3) as host:
        for index, seed in enumerate((7, 7, 8)):
            run_dir = tmp_path / f"{index}"
            run_dir.mkdir()
            made = Rig(host, run_dir, load_scenario(text.replace("drill: 1", f"drill: 1\nseed: {seed}"), "t.yaml"))
            picks = []
            for _ in range(8):
                assert await made.inject()
                picks.append(made.stamps.replica)
                await made.injector.heal("f")
            chosen.append(picks)
    assert chosen[0] == chosen[1] != chosen[2]


async def test_the_last_healthy_replica_is_never_taken(tmp_path: Path) -> None:
    text = SCENARIO.replace(", keep_healthy: 0", "").replace(
        "INJECTION", "fault: net.blackhole, target: pool, verify: [requests_affected]"
    )
    run_dir = tmp_path / "r1"
    run_dir.mkdir()
    async with FakeHost(3) as host:
        made = Rig(host, run_dir, load_scenario(text, "t.yaml"))
        with pytest.raises(Refused, match="keep_healthy is 1"):
            await made.inject()
        assert not host.orders and undo_log.read(run_dir) == []


async def test_a_held_fault_counts_as_down_although_its_probes_still_pass(tmp_path: Path) -> None:
    second = "{id: g, fault: process.stop, target: other, verify: [proc_state_T]}"
    text = SCENARIO.replace("max_down: 3, keep_healthy: 0", "max_down: 2, keep_healthy: 1")
    text = text.replace("INJECTION", "fault: process.stop, target: victim, verify: [proc_state_T]")
    text = text.replace("    hold:", f"      - {second}\n    hold:")
    text = text.replace("  victim:", "  other: {from: pool, index: 1}\n  victim:")
    run_dir = tmp_path / "r1"
    run_dir.mkdir()
    async with FakeHost(2) as host:
        made = Rig(host, run_dir, load_scenario(text, "t.yaml"))
        assert await made.inject()
        assert all(member.phase == Phase.READY for member in host.members), "nobody noticed yet"
        with pytest.raises(Refused, match="would leave 0 healthy"):
            await made.injector.inject(made.compiled.scenario.injections()[1])
        await made.roll_back()
