"""Actions as they stood: nothing that came later shows, and each action once."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from backend.contract.recording import actions_as_of
from backend.contract.rows import ActionRow
from backend.contract.words import ActionOutcome
from tests.unit.console.sample import action

SECONDS = st.integers(0, 100).map(float)
BEGAN = action("a", ts=100.0, outcome=ActionOutcome.RUNNING)
ENDED = action("a", ts=105.0, outcome=ActionOutcome.OK, result="done", duration_s=5.0, undoable=True)


def test_an_action_is_not_there_then_running_then_ended() -> None:
    for rows in ([ENDED], [BEGAN, ENDED]):
        assert actions_as_of(rows, 99.9) == ()
        assert actions_as_of(rows, 102.0) == (BEGAN,)
        assert actions_as_of(rows, 105.0) == (ENDED,)


def test_an_end_without_its_beginning_shows_once_it_was_known() -> None:
    """A daemon that found it interrupted does not know when it began."""
    lost = action("a", ts=105.0, outcome=ActionOutcome.FAILED)
    assert actions_as_of([lost], 104.0) == ()
    assert actions_as_of([BEGAN, lost], 104.0) == (BEGAN,)
    assert actions_as_of([lost], 106.0) == (lost,)


@given(st.lists(st.tuples(SECONDS, SECONDS), max_size=6), SECONDS, st.booleans())
def test_each_action_begun_until_then_is_there_once_in_order(
    spans: list[tuple[float, float]], ts: float, ends_first: bool
) -> None:
    rows: list[ActionRow] = []
    for number, (began, took) in enumerate(spans):
        begun = action(str(number), ts=began, outcome=ActionOutcome.RUNNING)
        end = msgspec.structs.replace(begun, ts=began + took, outcome=ActionOutcome.OK, duration_s=took)
        rows += [end, begun] if ends_first else [begun, end]
    found = actions_as_of(rows, ts)
    assert sorted(row.id for row in found) == [str(n) for n, (began, _) in enumerate(spans) if began <= ts]
    assert [row.ts for row in found] == sorted(row.ts for row in found)
    assert all(row.ts <= ts for row in found)
    for row in found:
        began, took = spans[int(row.id)]
        assert (row.outcome == ActionOutcome.OK) == (began + took <= ts)
