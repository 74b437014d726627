"""Rolling restart and scaling under load cost nobody anything."""

from __future__ import annotations

import pytest

from tests.e2e.background_load import BackgroundLoad, carried, chat_load
from tests.e2e.harness import RealFleet, wait_for

pytestmark = pytest.mark.alone


def unharmed(load: BackgroundLoad, at_least: int) -> None:
    summary = load.finish()
    print(f"\n{summary.total} requests, {summary.terminations}")
    assert summary.total >= at_least
    assert (summary.failed, summary.wrong, summary.shed) == (0, 0, 0), summary.terminations


@pytest.mark.timeout(600)
def test_rolling_restart_under_load_fails_and_truncates_nothing(fleet: RealFleet) -> None:
    before = set(fleet.pids().values())
    load = BackgroundLoad(chat_load(fleet, rate=carried(fleet, 6.0)))
    wait_for(lambda: len(load.rows) >= 10, 120.0, "answers")
    fleet.trinity("restart", "llm", "--rolling")
    after = set(fleet.until_ready(2) and fleet.pids().values())
    wait_for(lambda: len(load.rows) >= 40, 180.0, "answers")
    unharmed(load, 40)
    assert not before & after, "every replica is a new process"


@pytest.mark.timeout(600)
def test_scale_one_three_one_under_load_fails_and_truncates_nothing(fleet: RealFleet) -> None:
    fleet.trinity("scale", "llm", "1")
    fleet.until_ready(1)
    load = BackgroundLoad(chat_load(fleet, rate=carried(fleet, 4.0)))
    wait_for(lambda: len(load.rows) >= 5, 120.0, "answers")
    fleet.trinity("scale", "llm", "3")
    fleet.until_ready(3)
    served = len(load.rows)
    wait_for(lambda: len(load.rows) >= served + 20, 180.0, "answers")
    assert len({row.replica for row in fleet.requests(vantage="edge")[-20:]}) > 1
    fleet.trinity("scale", "llm", "1")
    fleet.until_ready(1)
    unharmed(load, 25)


def test_undo_takes_a_scaling_back(fleet: RealFleet) -> None:
    fleet.trinity("scale", "llm", "2")
    fleet.until_ready(2)
    fleet.trinity("undo")
    fleet.until_ready(1)
    last = fleet.actions()[-1]
    assert (last.verb, last.outcome, bool(last.undo_of)) == ("scale", "ok", True)
