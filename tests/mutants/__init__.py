"""Known-bad builds: the product with one behaviour broken from outside, so that a drill can prove that it would see it.

`environment(name, log)` gives the variables under which every Python process of a fleet (daemon, shims, warden,
observer, CLI) is the mutant; nothing of the product knows of it. A mutant that does not find what it breaks ends the
process with code 97, and `applied(log)` says which processes it broke.
"""

from __future__ import annotations

import os
from pathlib import Path

NAME = "MUTANT"
LOG = "MUTANT_LOG"
SITE = Path(__file__).parent / "site"
LOST = 97
"""Exit code of a process whose mutant has no target any more."""


def environment(name: str, log: Path) -> dict[str, str]:
    """Variables for RealFleet(**…). Raises KeyError for an unknown mutant."""
    from tests.mutants.table import MUTANTS

    path = os.pathsep.join(filter(None, [str(SITE), os.environ.get("PYTHONPATH", "")]))
    return {NAME: MUTANTS[name].name, LOG: str(log), "PYTHONPATH": path}


def applied(log: Path) -> list[tuple[str, int]]:
    """(what was broken, pid of the process), in order."""
    if not log.exists():
        return []
    lines = log.read_text().splitlines()
    return [(what, int(pid)) for what, _, pid in (line.rpartition(" ") for line in lines)]
