"""`python -m tests.mutants NAME -- PROGRAM…`: the program as a mutant; without a program, the real trinityd.

python -m tests.mutants retries-off -- --state DIR      # trinityd with retries broken
python -m tests.mutants --list
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.mutants import environment
from tests.mutants.table import MUTANTS


def main(argv: list[str]) -> int:
    if argv[:1] == ["--list"]:
        for mutant in MUTANTS.values():
            outcomes = ", ".join(sorted(mutant.outcomes))
            sys.stdout.write(f"{mutant.name:20} {mutant.drill:24} {outcomes:28} {mutant.about}\n")
        return 0
    if not argv or argv[0] not in MUTANTS or (len(argv) > 1 and argv[1] != "--"):
        sys.stderr.write(f"usage: python -m tests.mutants NAME -- TRINITYD-ARGUMENTS…\nnames: {', '.join(MUTANTS)}\n")
        return 64
    env = dict(os.environ) | environment(argv[0], Path(os.environ.get("MUTANT_LOG", os.devnull)))
    return os.spawnve(os.P_WAIT, sys.executable, [sys.executable, "-P", "-m", "backend.daemon", *argv[2:]], env)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
