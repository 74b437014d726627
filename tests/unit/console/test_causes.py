"""Why a replica is not well, in one line: no cause is told twice, and what is at rest is not missed."""

from __future__ import annotations

import pytest

from backend.contract.fleet import ExitRecord, ProbeStatus
from backend.contract.words import Phase
from console.render.cause import cause_lines, cause_words, exit_words, worth_a_look
from tests.unit.console.test_platform_render import KILLED, NOW, on_platform, text


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"phase": Phase.READY}, ""),
        ({"phase": Phase.READY, "last_exit": KILLED}, "last exit OOMKilled 137"),
        ({"phase": Phase.READY, "last_exit": KILLED, "reason": "warming up"}, "warming up"),
        ({"phase": Phase.READY, "last_exit": ExitRecord(ts=1.0, code=0, reason="Completed")}, ""),
        ({"phase": Phase.READY, "last_exit": ExitRecord(ts=1.0, reason="Unknown")}, ""),
        (
            {"phase": Phase.CRASH_LOOP, "reason": "CrashLoopBackOff", "last_exit": KILLED},
            'CrashLoopBackOff · last exit OOMKilled 137 · "Killed"',
        ),
        (
            {"phase": Phase.CRASH_LOOP, "reason": "exit code 137: Killed", "last_exit": KILLED},
            "exit code 137: Killed",
        ),
        (
            {"phase": Phase.CRASH_LOOP, "reason": "restarting: exit code 137", "last_exit": KILLED},
            'restarting: exit code 137 · "Killed"',
        ),
        (
            {"phase": Phase.NOT_READY, "probes": (ProbeStatus(name="readiness", ok=False, detail="HTTP 503"),)},
            "readiness probe fails: HTTP 503",
        ),
        (
            {
                "phase": Phase.NOT_READY,
                "reason": "readiness: HTTP 503",
                "probes": (
                    ProbeStatus(name="readiness", ok=False, detail="HTTP 503"),
                    ProbeStatus(name="liveness", ok=False),
                    ProbeStatus(name="startup", ok=True),
                ),
            },
            "readiness: HTTP 503 · liveness probe fails",
        ),
        (
            {"phase": Phase.FAILED, "last_exit": ExitRecord(ts=1.0, signal=9, reason="Killed")},
            "last exit Killed signal 9",
        ),
        (
            {
                "phase": Phase.CRASH_LOOP,
                "reason": "OOMKilled, 2 times in a row",
                "last_exit": ExitRecord(ts=1.0, signal=9, reason="OOMKilled"),
            },
            "OOMKilled, 2 times in a row",
        ),
        (
            {
                "phase": Phase.FAILED,
                "reason": "killed by signal 9",
                "last_exit": ExitRecord(ts=1.0, signal=9, reason="Killed"),
            },
            "killed by signal 9",
        ),
    ],
)
def test_the_cause_is_one_line(parts: dict[str, object], words: str) -> None:
    assert cause_words(on_platform(**parts).status) == words


def test_how_something_ended() -> None:
    assert exit_words(None) is None
    assert exit_words(ExitRecord(ts=1.0, reason="Unknown")) == "Unknown"
    assert exit_words(ExitRecord(ts=1.0, reason="OOMKilled", signal=9)) == "OOMKilled"


def test_what_is_worth_a_look_is_sorted_by_how_bad_it_is() -> None:
    views = [
        on_platform("well"),
        on_platform("often", restarts=5),
        on_platform("oftener", restarts=9),
        on_platform("waits", phase=Phase.PENDING),
        on_platform("drains", phase=Phase.DRAINING),
        on_platform("goes", phase=Phase.TERMINATING),
        on_platform("loops", phase=Phase.CRASH_LOOP),
    ]
    assert [v.status.name for v in worth_a_look(views)] == ["loops", "waits", "drains", "oftener", "often"]


def test_what_is_done_or_was_stopped_is_at_rest_and_not_missed() -> None:
    done = {"phase": Phase.NOT_READY, "pid": None, "last_exit": ExitRecord(ts=1.0, code=0, reason="Completed")}
    ended, restarting = on_platform("job", **done), on_platform("back", **{**done, "pid": 7})
    assert [v.status.name for v in worth_a_look([ended, restarting])] == ["back"]
    assert text(cause_lines([ended, on_platform("web")], 60, 3, NOW)) == "1 replica at rest, all others ready"
    assert text(cause_lines([on_platform("web")], 60, 3, NOW)) == "every replica is ready"


def test_causes_say_who_why_and_how_many_more() -> None:
    views = [on_platform(f"p{at}", phase=Phase.CRASH_LOOP, restarts=14, last_exit=KILLED) for at in range(5)]
    wide = text(cause_lines(views, 60, 6, NOW))
    assert wide.splitlines()[0] == "↻ p0 2/2  14 restarts   last exit 1m ago"
    assert wide.splitlines()[1] == '  last exit OOMKilled 137 · "Killed"'
    assert wide.splitlines()[-1] == "… 3 more"
    low = text(cause_lines(views, 60, 3, NOW)).splitlines()
    assert low[0] == '↻ p0  last exit OOMKilled 137 · "Killed"'
    assert low[-1] == "… 3 more"
    assert text(cause_lines(views[:1], 60, 2, NOW)).count("\n") == 1
    assert text(cause_lines([on_platform()], 60, 6, NOW)) == "every replica is ready"
    assert text(cause_lines([on_platform(phase=Phase.PENDING, containers=1)], 60, 6, NOW)).endswith("Pending")
