"""Reports and comparisons of pretended runs, in the shape of the daemon's `report.json`. Pure."""

from __future__ import annotations

from typing import Any

from backend.contract.control import DrillBucket, DrillView
from backend.contract.exit_codes import DRILL_EXIT_CODES
from console.state.sim_scripts import Script


def report_of(one: Script, view: DrillView, seed: int) -> dict[str, Any]:
    """What the run proved, from its own buckets."""
    outcome = str(view.outcome)
    failing = outcome == "fail"
    phases: list[dict[str, Any]] = []
    for span in view.timeline:
        end = span.end_s if span.end_s is not None else view.elapsed_s
        inside = [bucket for bucket in view.buckets if span.start_s <= bucket.at_s < end]
        wrong = 3 if failing and len(phases) == 1 else 0
        phases.append({"name": span.name, "seconds": end - span.start_s, "loads": [_load(one, inside, wrong)]})
    return {
        "version": 2,
        "run_id": view.run_id,
        "name": view.name,
        "title": view.title,
        "outcome": outcome,
        "exit_code": DRILL_EXIT_CODES[outcome],
        "reasons": view.detail.split("; "),
        "seed": seed,
        "scenario_digest": "5f2c9a71d0e4b8a6",
        "actor": "console:ada",
        "fleet": "local",
        "environment": "dev",
        "durability": "process-crash",
        "started_ts": view.started_ts,
        "ended_ts": view.ended_ts,
        "rates": {one.load: one.rate},
        "verdict": {"checks": _checks(one, view, failing=failing)},
        "phases": phases,
        "faults": [_fault(fault) for fault in view.faults],
        "record": {"undo": _undo(view), "loads": [_generator(one, view)]},
        "failed": [],
    }


def _load(one: Script, inside: list[DrillBucket], failed: int) -> dict[str, Any]:
    ok = sum(bucket.ok for bucket in inside)
    p50 = sorted(bucket.p50_s for bucket in inside if bucket.p50_s is not None)
    p95 = sorted(bucket.p95_s for bucket in inside if bucket.p95_s is not None)
    times = {
        "count": ok,
        "p50_s": p50[len(p50) // 2] if p50 else None,
        "p95_s": p95[len(p95) * 3 // 4] if p95 else None,
        "p99_s": p95[-1] * 1.15 if p95 else None,
        "max_s": p95[-1] * 1.4 if p95 else None,
    }
    total = max(1, ok)
    return {
        "load": one.load,
        "arrivals": ok,
        "ok": ok - failed,
        "failed": failed,
        "success_at_least": 0.05 ** (1 / total) if not failed else 1 - (failed + 4) / total,
        "success_at_most": 1.0,
        "latency": times,
        "ttft": {**times, "p95_s": times["p95_s"] and times["p95_s"] * 0.45} if one.load == "chat" else {},
    }


def _fault(fault: Any) -> dict[str, Any]:
    def after(stamp: float | None) -> float | None:
        return None if stamp is None or fault.effective_s is None else max(0.0, stamp - fault.effective_s)

    detection = after(fault.detected_s)
    return {
        "stamps": {
            "id": fault.id,
            "fault": fault.fault,
            "target": "victim",
            "replica": ", ".join(fault.victims),
            "t_command": fault.command_s,
            "t_effective": fault.effective_s,
            "verified": fault.verified,
            "evidence": ["the process is gone: pidfd says so", "its port refuses connections"],
        },
        "detection_s": detection,
        "exposure_s": None if detection is None else detection * 0.6,
        "failover_s": None if detection is None else detection * 1.8 + 0.02,
        "recovery_s": after(fault.ready_s),
    }


def _checks(one: Script, view: DrillView, *, failing: bool) -> list[dict[str, Any]]:
    checks: list[dict[str, Any]] = []
    for index, span in enumerate(view.timeline):
        bad = failing and index == 1
        checks.append(
            {
                "kind": "expect",
                "phase": span.name,
                "text": f"failed({one.load}) == 0",
                "result": "fail" if bad else "pass",
                "measured": {f"failed({one.load})": 3.0 if bad else 0.0},
            }
        )
    checks += [
        {"kind": "fault", "text": f"fault {fault.id} took effect", "result": "pass", "note": "the process is gone"}
        for fault in view.faults
    ]
    return checks


def _undo(view: DrillView) -> list[dict[str, Any]]:
    return [
        {
            "id": fault.id,
            "what": f"{fault.fault} on {', '.join(fault.victims)} is over",
            "done": True,
            "verified": True,
            "by": "daemon",
            "detail": "read back: Ready, answers at the edge",
        }
        for fault in view.faults
    ]


def _generator(one: Script, view: DrillView) -> dict[str, Any]:
    total = sum(view.counts.values())
    return {"name": one.load, "rate": one.rate, "arrivals": total, "rows": total, "lag_p99_s": 0.0021}


def compare_of(base: dict[str, Any], run: dict[str, Any]) -> dict[str, Any]:
    """Two runs of one scenario side by side; runs of different scenarios are not comparable."""
    differences: list[dict[str, Any]] = []
    for before, after in zip(base["phases"], run["phases"], strict=False):
        old, new = before["loads"][0], after["loads"][0]
        common = {
            "phase": after["name"],
            "load": new["load"],
            "reference_count": old["arrivals"],
            "current_count": new["arrivals"],
        }
        differences.append(
            {**common, "measure": "failures", "reference": old["failed"], "current": new["failed"], "p_value": 1.0}
        )
        for name in ("p50", "p95"):
            was, now = old["latency"][f"{name}_s"], new["latency"][f"{name}_s"]
            if was is None or now is None:
                continue
            low, high = sorted(((now - was) * 0.7 - 0.002, (now - was) * 1.3 + 0.002))
            bad = now - was > max(0.2 * was, 0.05) and low > 0
            differences.append(
                {**common, "measure": f"{name} latency", "reference": was, "current": now, "low": low, "high": high}
                | {"regression": bad, "improvement": was - now > max(0.2 * now, 0.05) and high < 0}
            )
    same = base["name"] == run["name"]
    return {
        "reference": base["run_id"],
        "not_comparable": "" if same else "the scenarios differ",
        "differences": differences if same else [],
    }


def html_of(report: dict[str, Any]) -> bytes:
    """A page that says the verdict; the real daemon's has charts."""
    words = f"<!doctype html><title>{report['name']}</title><h1>{report['name']}: {report['outcome']}</h1>"
    return words.encode()
