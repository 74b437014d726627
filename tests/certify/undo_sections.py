"""Sections about what is left behind: the kill points, and how fast an abort has taken everything away."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

from backend.contract.control import ActionRequest
from backend.contract.words import Verb
from backend.drills import store, undo_log
from tests.certify.frame import Line
from tests.certify.kill_points import LATEST_S, VICTIMS, WITHIN_S, plan_points, run_points
from tests.certify.remains import look
from tests.e2e.harness import wait_for
from tests.e2e.light_drill import light_drill_fleet, scenario
from tests.e2e.light_fleet import LightFleet

POINTS, SEED = 200, 20261121
ABORTS, ABORT_S = 5, 1.0
FAULT = "fault: process.stop, target: victim, verify: [proc_state_T]"
RULE = 'abort:\n  - {expr: "in_flight(embed) >= 0 and healthy(pool) < 2", do: rollback}\nphases:'


def kill_points() -> Iterator[Line]:
    """Promise 4."""
    done = []
    for point in run_points(plan_points(POINTS, SEED)):
        done.append(point)
        if point.problem:
            print(f"  {point}", flush=True)
    for victim in dict.fromkeys(VICTIMS):
        mine = [point for point in done if point.victim == victim]
        slowest = max((point.gone_s for point in mine), default=0.0)
        bad = [point for point in mine if point.problem]
        held = sum(bool(point.in_place) for point in mine)
        yield Line(
            promise=4,
            what=f"{len(mine)} deaths of {victim}, ≤ {LATEST_S:g} s after begin or {WITHIN_S:g} s after fault",
            measured=f"{len(bad)} with a problem, {held} with the fault in place; gone after at most {slowest:.2f} s",
            met=not bad and bool(mine),
        )


def abort() -> Iterator[Line]:
    """Promise 5."""
    with light_drill_fleet() as fleet:
        plain, ruled = fleet.root / "abort.yaml", fleet.root / "rule.yaml"
        text = scenario(FAULT, name="abort", hold="30s", ttl="60s", lease="1s")
        plain.write_text(text)
        ruled.write_text(text.replace("phases:", RULE, 1).replace("name: abort", "name: rule", 1))
        ways = {"key": _by_key, "Ctrl-C": _by_interrupt, "panic": _by_panic, "rule": _by_rule}
        for name, way in ways.items():
            took, outcomes, left = [], set(), 0
            for _ in range(ABORTS):
                fleet.until_ready(2, "toy")
                seconds, outcome = way(fleet, ruled if name == "rule" else plain)
                took.append(seconds)
                outcomes.add(outcome)
                left += bool(look(fleet))
            yield Line(
                promise=5,
                what=f"abort by {name}: from the wish to every undo verified, {ABORTS} times",
                measured=f"slowest {max(took) * 1000:.0f} ms; {', '.join(sorted(outcomes))}; {left} left something",
                met=max(took) <= ABORT_S and outcomes == {"aborted-clean"} and not left,
            )


def _started(fleet: LightFleet, file: Path) -> tuple[Path, object]:
    before = set(fleet.paths.drills_dir.glob("*"))
    cli = fleet.start("drill", "run", str(file))
    run_dir = wait_for(lambda: sorted(set(fleet.paths.drills_dir.glob("*")) - before), 20.0, "a run")[0]
    return run_dir, cli


def _in_place(fleet: LightFleet, run_dir: Path) -> None:
    wait_for(lambda: look(fleet).stopped, 20.0, "the fault")
    wait_for(lambda: any(f.verified for f in store.read_record(run_dir).faults), 20.0, "its proof")


def _finish(run_dir: Path, asked_ts: float) -> tuple[float, str]:
    """Seconds from the wish to the last verified undo, by the undo log's own stamps."""
    wait_for((run_dir / store.REPORT).is_file, 60.0, "a report")
    results = [entry for entry in undo_log.read(run_dir) if isinstance(entry, undo_log.Result) and entry.verified]
    outcome = str(store.read_report(run_dir).outcome)
    return max((entry.ts for entry in results), default=float("inf")) - asked_ts, outcome


def _by_action(fleet: LightFleet, file: Path, **args: bool) -> tuple[float, str]:
    run_dir, cli = _started(fleet, file)
    _in_place(fleet, run_dir)
    asked = time.time()
    stop = ActionRequest(verb=Verb.DRILL_STOP, actor="console:certify", args=dict(args), reason="X")
    fleet.ask(lambda client: client.perform(stop))
    cli.wait(60)  # type: ignore[attr-defined]
    return _finish(run_dir, asked)


def _by_key(fleet: LightFleet, file: Path) -> tuple[float, str]:
    return _by_action(fleet, file)


def _by_panic(fleet: LightFleet, file: Path) -> tuple[float, str]:
    found = _by_action(fleet, file, panic=True)
    fleet.trinity("drill", "allow")
    return found


def _by_interrupt(fleet: LightFleet, file: Path) -> tuple[float, str]:
    run_dir, cli = _started(fleet, file)
    _in_place(fleet, run_dir)
    asked = time.time()
    cli.send_signal(signal.SIGINT)  # type: ignore[attr-defined]
    cli.wait(60)  # type: ignore[attr-defined]
    return _finish(run_dir, asked)


def _by_rule(fleet: LightFleet, file: Path) -> tuple[float, str]:
    """From the instant the rule's condition can first be seen: the observation in the record."""
    run_dir, cli = _started(fleet, file)
    cli.wait(60)  # type: ignore[attr-defined]
    record = store.read_record(run_dir)
    seen = next((o.at_s for o in record.observations if o.healthy.get("pool", 2) < 2), record.started_mono_s)
    return _finish(run_dir, record.started_ts + (seen - record.started_mono_s))
