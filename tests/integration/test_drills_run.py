"""Whole drill runs against real processes: what each ending looks like, and that no fault is left in place."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from xml.etree import ElementTree

import psutil
import pytest

from backend.contract.errors import InternalError, Refused
from backend.contract.rows import RequestRow
from backend.contract.words import DrillOutcome, Phase
from backend.drills import faults, processes, store, undo_log
from backend.drills.check import load_scenario
from backend.drills.faults import proofs, undoing
from backend.drills.library import library
from backend.drills.recompute import verify_run
from backend.drills.report import Report
from backend.drills.runner import DrillRunner
from tests.integration.drill_fakes import CLOCK, KILL, FakeHost, FakeLoads, FakeReplica, until

STOP = KILL.replace("fault: process.kill", "fault: process.stop").replace("[pid_gone]", "[proc_state_T]")
STOP = STOP.replace(
    'expect: ["failed_before_first_byte(chat) == 0", "recovery(kill) <= 60s", "detect(kill) <= 60s"]', ""
)
STOP = STOP.replace("name: recovery\n", "name: recovery\n    heal: [kill]\n")


async def finish(host: FakeHost, drills_dir: Path, text: str = KILL) -> Report:
    runner = DrillRunner(host, FakeLoads(host), CLOCK, drills_dir)
    run_id = await runner.start(load_scenario(text, "t.yaml"), actor="cli:test")
    report = await runner.wait(run_id)
    view = runner.view()
    assert view is not None
    assert view.outcome == report.outcome
    assert (view.ended_ts or 0) > view.started_ts
    return report


async def test_a_kill_under_load_passes_and_its_report_can_be_computed_again(tmp_path: Path) -> None:
    async with FakeHost() as host:
        report = await finish(host, tmp_path)
        assert sorted(member.restarts for member in host.members) == [0, 1]
    assert report.outcome == "pass", report.reasons
    assert report.exit_code == 0
    run_dir = tmp_path / report.run_id
    assert verify_run(run_dir).same, verify_run(run_dir).differences
    assert undo_log.is_closed(undo_log.read(run_dir))
    (fault,) = report.faults
    assert fault.stamps.t_command and fault.stamps.t_effective and fault.stamps.t_detected and fault.stamps.t_ready
    assert fault.stamps.t_command <= fault.stamps.t_effective <= fault.stamps.t_ready
    assert {"drill.started", "drill.phase", "drill.effective", "drill.ready", "drill.ended"} <= set(host.kinds())
    rows = store.read_rows(run_dir)
    assert len(rows) == sum(isinstance(row, RequestRow) for row in host.rows)
    # The load begins a moment before the first phase does.
    phased = [row for row in rows if row.intended_s >= report.record.phases[0].start_s]
    assert len(phased) == sum(load.arrivals for phase in report.phases for load in phase.loads)
    suite = ElementTree.parse(run_dir / "junit.xml").getroot()
    assert suite.get("failures") == suite.get("errors") == "0"
    assert "pass (exit 0)" in (run_dir / "report.md").read_text()


async def test_the_same_drill_fails_where_the_edge_does_not_retry(tmp_path: Path) -> None:
    async with FakeHost(retries=False) as host:
        report = await finish(host, tmp_path)
    assert (report.outcome, report.exit_code) == ("fail", 1)
    assert any("failed_before_first_byte" in reason for reason in report.reasons)
    assert report.failed and report.failed[0].spans == ("kill",)
    assert ElementTree.parse(tmp_path / report.run_id / "junit.xml").getroot().get("failures") != "0"
    assert verify_run(tmp_path / report.run_id).same


async def test_a_changed_ledger_is_noticed(tmp_path: Path) -> None:
    async with FakeHost() as host:
        report = await finish(host, tmp_path)
    ledger = tmp_path / report.run_id / store.LEDGER
    ledger.write_bytes(ledger.read_bytes().replace(b'"outcome":"ok"', b'"outcome":"wrong"', 1))
    verification = verify_run(tmp_path / report.run_id)
    assert not verification.same
    assert "verdict" in verification.differences[0]


@pytest.mark.parametrize("text", [KILL, STOP], ids=["kill", "stop"])
async def test_a_fault_without_effect_is_inconclusive(
    tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proofs, "VERIFY_TIMEOUT_S", 0.3)
    async with FakeHost() as host:
        host.deaf = True
        report = await finish(host, tmp_path, text)
    assert (report.outcome, report.exit_code) == ("inconclusive", 2)
    assert any("took effect" in reason for reason in report.reasons)


async def test_a_when_that_never_comes_true_is_inconclusive(tmp_path: Path) -> None:
    text = KILL.replace('when: "in_flight(victim) >= 1"', 'when: "in_flight(victim) >= 99", within: 200ms')
    async with FakeHost() as host:
        report = await finish(host, tmp_path, text)
        assert all(member.restarts == 0 for member in host.members)
    assert report.outcome == "inconclusive"


async def test_a_failing_baseline_injects_nothing(tmp_path: Path) -> None:
    text = KILL.replace('expect: ["ok_ratio(chat) == 1.0"]', 'expect: ["p50(chat) <= 1ms"]', 1)
    async with FakeHost() as host:
        report = await finish(host, tmp_path, text)
        assert all(member.restarts == 0 for member in host.members)
    assert (report.outcome, report.exit_code) == ("baseline-failed", 4)
    assert not report.faults


async def test_a_stop_is_proven_healed_and_proven_gone(tmp_path: Path) -> None:
    async with FakeHost() as host:
        report = await finish(host, tmp_path, STOP)
        assert all(processes.state(member.pid or 0) in ("S", "R") for member in host.members)
    assert report.outcome == "pass", report.reasons
    (fault,) = report.faults
    assert "state T" in fault.stamps.evidence[0]
    assert fault.stamps.t_healed is not None


async def test_a_held_kill_stays_down_until_healed(tmp_path: Path) -> None:
    text = KILL.replace("verify: [pid_gone]", "respawn: held, verify: [pid_gone]")
    text = text.replace("name: recovery\n", "name: recovery\n    heal: [kill]\n")
    text = text.replace(
        'expect: ["failed_before_first_byte(chat) == 0", "recovery(kill) <= 60s", ', 'expect: ["healthy(pool) == 1", '
    )
    async with FakeHost() as host:
        report = await finish(host, tmp_path, text)
        assert not any(member.held for member in host.members)
    assert report.outcome == "pass", report.reasons
    assert report.faults[0].recovery_s is not None


class Replacing(FakeHost):
    """A platform that makes another replica, of another name, in place of a dead one; listed by name."""

    def _respawn(self, member: FakeReplica) -> None:
        member.name = f"{member.name}-heir"
        self.members.sort(key=lambda one: one.name.endswith("heir"))

    async def in_flight(self, workload: str, replica: str) -> int:
        return sum(member.in_flight for member in self.members if member.name == replica)


async def test_two_kills_by_index_hit_two_seats_also_where_heirs_have_other_names(tmp_path: Path) -> None:
    text = KILL.replace("replicas: 2", "replicas: 3").replace("safety: {", "safety: {blast_radius: {max_down: 2}, ")
    text = text.replace("victim: {from: pool, pick: busiest}", "a: {from: pool, index: 0}\n  b: {from: pool, index: 1}")
    kill = '{id: kill, fault: process.kill, target: victim, when: "in_flight(victim) >= 1", verify: [pid_gone]}'
    first = "{id: kill, fault: process.kill, target: a, verify: [pid_gone]}"
    whole = 'when: "restarts(a) == 1 and healthy(pool) == 3"'
    second = first.replace("kill, f", "again, f").replace("target: a", f"target: b, {whole}")
    text = text.replace(kill, f"{first}\n      - {second}")
    async with Replacing(replicas=3) as host:
        report = await finish(host, tmp_path, text)
        assert sorted(member.name for member in host.members) == ["llm-0-heir", "llm-1-heir", "llm-2"]
    assert report.outcome == "pass", report.reasons
    assert [fault.stamps.replica for fault in report.faults] == ["llm-0", "llm-1"], "index 1 was llm-2 by then"


async def test_panic_answers_when_the_faults_are_gone_and_the_report_follows(tmp_path: Path) -> None:
    text = STOP.replace("for: 700ms", "for: 20s")
    async with FakeHost() as host:
        runner = DrillRunner(host, FakeLoads(host), CLOCK, tmp_path)
        run_id = await runner.start(load_scenario(text, "t.yaml"), actor="cli:test")
        await until(lambda: "drill.effective" in host.kinds())
        began = CLOCK.mono()
        view = await runner.panic("key X")
        took = CLOCK.mono() - began
        assert all(processes.state(member.pid or 0) != "T" for member in host.members)
        assert view is not None
        assert view.rollback is not None
        assert (view.outcome, view.rollback.undos, view.rollback.left) == (DrillOutcome.RUNNING, 1, 0)
        assert 0.0 < view.rollback.took_s <= took
        assert "key X; every fault is gone after" in view.detail
        assert not (tmp_path / run_id / store.REPORT).exists()
        report = await runner.wait(run_id)
        assert (report.outcome, report.exit_code) == ("aborted-clean", 3)
        with pytest.raises(Refused, match="key X"):
            await runner.start(load_scenario(text, "t.yaml"), actor="cli:test")
        runner.allow()
        assert runner.blocked == ""


async def test_end_waits_for_the_report(tmp_path: Path) -> None:
    async with FakeHost() as host:
        runner = DrillRunner(host, FakeLoads(host), CLOCK, tmp_path)
        await runner.start(load_scenario(STOP.replace("for: 700ms", "for: 20s"), "t.yaml"), actor="cli:test")
        await until(lambda: "drill.phase" in host.kinds())
        report = await runner.end("the daemon is ending")
        assert report is not None
        assert report.outcome == "aborted-clean"
        assert await runner.end("again") is None


async def test_panic_says_which_undo_is_not_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_op(*_: object) -> faults.UndoAttempt:
        return faults.UndoAttempt(True, False, "did nothing")

    monkeypatch.setattr(faults, "take_away", no_op)
    async with FakeHost() as host:
        runner = DrillRunner(host, FakeLoads(host), CLOCK, tmp_path)
        run_id = await runner.start(load_scenario(STOP.replace("for: 700ms", "for: 20s"), "t.yaml"), actor="cli:test")
        await until(lambda: "drill.effective" in host.kinds())
        view = await runner.panic("key X")
        assert view is not None
        assert view.rollback is not None
        assert view.rollback.left == 1
        assert "1 of 1 undos are not verified" in view.detail
        await runner.wait(run_id)


async def test_a_view_counts_every_request_by_its_outcome_as_the_report_does(tmp_path: Path) -> None:
    async with FakeHost(retries=False) as host:
        runner = DrillRunner(host, FakeLoads(host), CLOCK, tmp_path)
        report = await runner.wait(await runner.start(load_scenario(KILL, "t.yaml"), actor="cli:test"))
        view = runner.view()
    assert view is not None
    loads = [load for phase in report.phases for load in phase.loads]
    told = {name: sum(getattr(load, name) for load in loads) for name in ("ok", "slow", "wrong", "shed", "failed")}
    assert view.counts == told
    assert told["failed"] > 0


async def test_an_abort_rule_rolls_back(tmp_path: Path) -> None:
    text = STOP.replace("for: 700ms", "for: 20s").replace("healthy(pool) < 1", "count(chat, last=1s) > 3")
    async with FakeHost() as host:
        report = await finish(host, tmp_path, text.replace("for: 100ms", "for: 500ms"))
    assert report.outcome == "aborted-clean"
    assert "rule" in report.reasons[0]


async def test_max_runtime_ends_a_run_that_cannot_end(tmp_path: Path) -> None:
    text = KILL.replace("min_requests: {chat: 5}", "min_requests: {chat: 100000}").replace(
        "max_runtime: 100s", "max_runtime: 1500ms"
    )
    async with FakeHost() as host:
        report = await finish(host, tmp_path, text)
    assert report.outcome == "aborted-clean"
    assert "longer than" in report.reasons[0]


async def test_an_undo_that_does_nothing_is_done_by_the_warden_and_never_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_op(*_: object) -> faults.UndoAttempt:
        return faults.UndoAttempt(False, False, "did nothing")

    monkeypatch.setattr(faults, "take_away", no_op)
    async with FakeHost() as host:
        report = await finish(host, tmp_path, STOP.replace("heal: [kill]", "heal: []"))
        # The warden, told that something is left, resumed it all the same.
        assert all(processes.state(member.pid or 0) in ("S", "R") for member in host.members)
    assert report.record.undo[0].by == "warden"
    assert report.outcome == "inconclusive"


async def test_a_victim_that_never_comes_back_is_dirty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(undoing, "READY_TIMEOUT_S", 0.2)
    text = KILL.replace("within: 60s", "within: 100ms")
    async with FakeHost() as host:
        host.respawn_s = 1000.0
        runner = DrillRunner(host, FakeLoads(host), CLOCK, tmp_path)
        report = await runner.wait(await runner.start(load_scenario(text, "t.yaml"), actor="cli:test"))
        assert (report.outcome, report.exit_code) == ("dirty", 5)
        assert not undo_log.is_closed(undo_log.read(tmp_path / report.run_id))


async def test_refusals_start_nothing(tmp_path: Path) -> None:
    compiled = load_scenario(KILL, "t.yaml")
    async with FakeHost(1) as host:
        runner = DrillRunner(host, FakeLoads(host), CLOCK, tmp_path)
        assert any("keep_healthy" in line for line in runner.plan(compiled).refusals)
        with pytest.raises(Refused):
            await runner.start(compiled, actor="cli:test")
    async with FakeHost(environment="prod") as host:
        with pytest.raises(Refused, match="prod"):
            await DrillRunner(host, FakeLoads(host), CLOCK, tmp_path).start(compiled, actor="cli:test")
    assert store.runs(tmp_path) == []


async def test_a_lease_held_by_somebody_else_refuses_the_run(tmp_path: Path) -> None:
    async with FakeHost() as host:
        host.leased_by = "rollout"
        report = await finish(host, tmp_path)
    assert (report.outcome, report.exit_code) == ("refused", 7)
    assert "rollout" in report.reasons[0]


async def test_only_one_run_at_a_time_and_leaving_the_wait_does_nothing(tmp_path: Path) -> None:
    async with FakeHost() as host:
        runner = DrillRunner(host, FakeLoads(host), CLOCK, tmp_path)
        compiled = load_scenario(KILL, "t.yaml")
        run_id = await runner.start(compiled, actor="cli:test")
        with pytest.raises(Refused, match="running"):
            await runner.start(compiled, actor="cli:test")
        waiting = asyncio.create_task(runner.wait(run_id))
        await asyncio.sleep(0)
        waiting.cancel()
        view = runner.view()
        assert view is not None
        assert view.outcome == DrillOutcome.RUNNING
        assert (await runner.wait(run_id)).outcome == "pass"
        assert (await DrillRunner(host, FakeLoads(host), CLOCK, tmp_path).wait(run_id)).outcome == "pass"


async def test_a_run_that_loses_its_warden_is_rolled_back(tmp_path: Path) -> None:
    async with FakeHost() as host:
        runner = DrillRunner(host, FakeLoads(host), CLOCK, tmp_path)
        run_id = await runner.start(load_scenario(STOP.replace("700ms", "20s"), "t.yaml"), actor="cli:test")
        await until(lambda: "drill.effective" in host.kinds())
        (warden,) = [p for p in psutil.Process().children() if "backend.drills.warden" in p.cmdline()]
        warden.kill()
        report = await runner.wait(run_id)
        assert all(processes.state(member.pid or 0) != "T" for member in host.members)
    assert (report.outcome, report.exit_code) == ("aborted-clean", 3)
    assert "warden" in report.reasons[0]


async def test_a_broken_engine_of_ours_is_rolled_back_and_told(tmp_path: Path) -> None:
    async with FakeHost() as host:
        loads = FakeLoads(host)

        async def broken(*_: object) -> float:
            raise ZeroDivisionError("a bug")

        loads.calibrate = broken  # type: ignore[method-assign]  # the bug of the test
        runner = DrillRunner(host, loads, CLOCK, tmp_path)
        run_id = await runner.start(load_scenario(KILL, "t.yaml"), actor="cli:test")
        with pytest.raises(InternalError, match="a bug"):
            await runner.wait(run_id)
        assert "drill.broke" in host.kinds()
        assert not host.leased_by
    report = store.read_report(tmp_path / run_id)
    assert report.outcome == "inconclusive"
    assert undo_log.is_closed(undo_log.read(tmp_path / run_id))


async def test_a_cancelled_daemon_task_still_rolls_back(tmp_path: Path) -> None:
    async with FakeHost() as host:
        runner = DrillRunner(host, FakeLoads(host), CLOCK, tmp_path)
        run_id = await runner.start(load_scenario(STOP.replace("700ms", "20s"), "t.yaml"), actor="cli:test")
        await until(lambda: "drill.effective" in host.kinds())
        (task,) = [t for t in asyncio.all_tasks() if t.get_name() == f"drill {run_id}"]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert all(processes.state(member.pid or 0) != "T" for member in host.members)
    assert undo_log.pending(undo_log.read(tmp_path / run_id)) == []


def _ten_times_and_more(bound: re.Match[str]) -> str:
    """The drill's bounds are for machines it has to itself."""
    return re.sub(r"\d+m?s", "60s", bound[0])


@pytest.mark.parametrize(("retries", "wanted"), [(True, ("pass", 0)), (False, ("fail", 1))])
async def test_the_shipped_kill_drill_in_short(tmp_path: Path, retries: bool, wanted: tuple[str, int]) -> None:
    text = library()["llm-replica-kill"].read_text()
    text, shortened = re.subn(r"{for: 12s, min_requests: {[^}]*}}", "{for: 1s}", text)
    text, quickened = re.subn(r"min\(\d+/s, 0", "min(20/s, 0", text)
    text, patient = re.subn(r"expires: 1s|<= 500ms|<= 3s|within: 15s|, 2s\)", _ten_times_and_more, text)
    assert (shortened, quickened, patient) == (3, 2, 5)
    async with FakeHost(retries=retries) as host:
        runner = DrillRunner(host, FakeLoads(host, service_s=0.25), CLOCK, tmp_path)
        compiled = load_scenario(text, "library/llm-replica-kill.yaml")
        report = await runner.wait(await runner.start(compiled, actor="cli:test"))
    assert (report.outcome, report.exit_code) == wanted, report.reasons
    if not retries:
        assert any("failed_before_first_byte(plain) == 0" in reason for reason in report.reasons)


async def test_a_fault_waits_for_the_requests_of_earlier_phases(tmp_path: Path) -> None:
    # Whatever the victim holds at the deed is of the second phase: the first one's requests have ended by then.
    text = KILL.replace("    gate: true\n", "")
    async with FakeHost() as host:
        runner = DrillRunner(host, FakeLoads(host, service_s=0.3), CLOCK, tmp_path)
        report = await runner.wait(await runner.start(load_scenario(text, "t.yaml"), actor="cli:test"))
    assert report.outcome == "pass", report.reasons
    assert report.phases[0].loads[0].spanning == 0
    assert report.phases[1].loads[0].spanning > 0


async def test_health_is_checked_again_right_before_the_injection(tmp_path: Path) -> None:
    async with FakeHost() as host:
        runner = DrillRunner(host, FakeLoads(host), CLOCK, tmp_path)
        run_id = await runner.start(load_scenario(KILL, "t.yaml"), actor="cli:test")
        await until(lambda: "drill.phase" in host.kinds())
        host.members[0].phase = Phase.NOT_READY
        report = await runner.wait(run_id)
        assert [member.restarts for member in host.members] == [0, 0]
    assert (report.outcome, report.exit_code) == ("refused", 7)
    assert "keep_healthy" in report.reasons[0]
