"""kill -9 of daemon, CLI, terminal and warden-with-daemon at random moments of a drill: nothing stays in place.

Ten points here, which ask whether faults go; two hundred in `make certify`, which ask how fast. See
`tests.certify.kill_points`.
"""

from __future__ import annotations

import pytest

from tests.certify.kill_points import PATIENT, plan_points, run_points

POINTS, SEED = 10, 3


@pytest.mark.timeout(300)
def test_random_kill_points_leave_no_fault_and_no_false_pass() -> None:
    done = list(run_points(plan_points(POINTS, SEED), PATIENT))
    for point in done:
        print(point)
    assert len(done) == POINTS
    assert sum(bool(point.in_place) for point in done) >= 2, "points that prove something: the fault was there"
    assert [str(point) for point in done if point.problem] == []


def test_one_seed_plans_the_same_points() -> None:
    assert plan_points(20, 7) == plan_points(20, 7)
    assert plan_points(20, 7) != plan_points(20, 8)
