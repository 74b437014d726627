"""Exit codes of every `trinity` command: they are an API, scripts branch on them."""

from __future__ import annotations

from typing import Final

OK: Final = 0
FAILED: Final = 1
INCONCLUSIVE: Final = 2
ABORTED_CLEAN: Final = 3
BASELINE_FAILED: Final = 4
DIRTY: Final = 5
REGRESSION: Final = 6
REFUSED: Final = 7
USAGE: Final = 64
UNREACHABLE: Final = 69
INTERNAL: Final = 70
INTERRUPTED: Final = 130

DRILL_EXIT_CODES: Final[dict[str, int]] = {
    "pass": OK,
    "fail": FAILED,
    "inconclusive": INCONCLUSIVE,
    "aborted-clean": ABORTED_CLEAN,
    "baseline-failed": BASELINE_FAILED,
    "dirty": DIRTY,
    "regression": REGRESSION,
    "refused": REFUSED,
}
