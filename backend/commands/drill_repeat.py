"""One drill, several times: how often, what it adds up to, and which exit code the whole has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from backend.commands.output import narrate, print_json
from backend.commands.place import Place
from backend.contract import exit_codes
from backend.contract.errors import UsageError
from backend.contract.words import DrillOutcome

if TYPE_CHECKING:
    from backend.contract.control import DrillView
    from backend.drills.check import Compiled

WORST_FIRST: Final = (
    exit_codes.DIRTY,
    exit_codes.FAILED,
    exit_codes.REGRESSION,
    exit_codes.BASELINE_FAILED,
    exit_codes.INCONCLUSIVE,
    exit_codes.ABORTED_CLEAN,
    exit_codes.REFUSED,
    exit_codes.OK,
)
ENDS_ALL: Final = frozenset({DrillOutcome.DIRTY, DrillOutcome.ABORTED_CLEAN, DrillOutcome.REFUSED})
"""After these no further run is started: something needs a person, or a person wanted it to end."""


def repetitions(compiled: Compiled, wanted: str | None) -> int | None:
    """How often `--repeat` says; null without it. A word is looked up in the scenario. Raises UsageError."""
    if wanted is None:
        return None
    times = int(wanted) if wanted.isascii() and wanted.isdigit() else compiled.scenario.repeat.get(wanted)
    if times is None:
        known = ", ".join(f"{word} ({count})" for word, count in compiled.scenario.repeat.items()) or "no word"
        raise UsageError(f"--repeat takes a number or a word of the drill, not `{wanted}`.", f"It has: {known}.")
    if times < 1:
        raise UsageError("--repeat takes at least 1.", "Leave it out for one run.")
    return times


def worst(codes: Sequence[int]) -> int:
    """The exit code of several runs."""
    return next((code for code in WORST_FIRST if code in codes), exit_codes.OK)


def run_repeatedly(once: Callable[[], DrillView], times: int, place: Place) -> int:
    """Run it `times` times, print what it adds up to, and give the exit code."""
    from backend.commands.drill_reports import detection_line
    from backend.drills import store

    views: list[DrillView] = []
    for number in range(1, times + 1):
        narrate(f"Run {number} of {times}")
        views.append(once())
        if views[-1].outcome in ENDS_ALL:
            break
    code = worst([exit_codes.DRILL_EXIT_CODES[view.outcome] for view in views])
    if place.json:
        print_json({"exit_code": code, "runs": views})
        return code
    counts: dict[str, int] = {}
    for view in views:
        counts[view.outcome] = counts.get(view.outcome, 0) + 1
    heads = [store.read_head(Path(view.report_path).parent) for view in views if view.report_path is not None]
    told = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
    missing = f" ({times - len(views)} not started)" if len(views) < times else ""
    line = detection_line(heads)
    click.echo(f"{len(views)} of {times} runs: {told}{missing}{'; ' + line if line else ''}")
    return code
