"""A step that fails waits longer each time, and its problem is told once."""

from __future__ import annotations

from backend.reconcile.failed_steps import FIRST_RETRY_S, LAST_RETRY_S, FailedSteps
from backend.reconcile.plan import Fill

STEP, OTHER = Fill("llm", "llm-0"), Fill("llm", "llm-1")


def test_the_wait_doubles_up_to_its_bound_and_starts_over_after_a_success() -> None:
    steps, now, waits = FailedSteps(), 100.0, []
    for _ in range(7):
        steps.failed(STEP, "no", now)
        wait = next(w for w in (0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 20.0) if steps.is_due(STEP, now + w))
        waits.append(wait)
        assert not steps.is_due(STEP, now + wait - 0.001)
        assert steps.is_due(OTHER, now)
        now += wait
    assert waits == [FIRST_RETRY_S, 1.0, 2.0, 4.0, 8.0, LAST_RETRY_S, LAST_RETRY_S]
    steps.worked(STEP)
    assert steps.is_due(STEP, now - 1)
    steps.failed(STEP, "no", now)
    assert steps.is_due(STEP, now + FIRST_RETRY_S)


def test_a_problem_is_news_when_it_is_new() -> None:
    steps = FailedSteps()
    assert steps.failed(STEP, "port taken", 1.0)
    assert not steps.failed(STEP, "port taken", 2.0)
    assert steps.failed(STEP, "no memory", 3.0)
    assert steps.failed(OTHER, "no memory", 3.0)
    steps.worked(STEP)
    assert steps.failed(STEP, "no memory", 4.0)
