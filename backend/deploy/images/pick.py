"""`python pick.py PACKAGES LOCK`: of a lock with hashes, the entries that PACKAGES names, one name a line.

Runs in an image's build, before anything is installed: standard library only. Fails for a name the lock lacks.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path


def pick(names: list[str], lock: str) -> str:
    """The lock's entries of those names, each with its hashes. Raises KeyError with the names it lacks."""
    wanted = {_canonical(name) for name in names}
    kept: list[str] = []
    found: set[str] = set()
    taking = False
    for line in lock.splitlines():
        if line[:1].isalnum():
            name = _canonical(re.split(r"[=<>!~; \[]", line, maxsplit=1)[0])
            taking = name in wanted
            if taking:
                found.add(name)
        if taking and not line.lstrip().startswith("#"):
            kept.append(line)
    if wanted - found:
        raise KeyError(", ".join(sorted(wanted - found)))
    return "".join(f"{line}\n" for line in kept)


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def main() -> None:
    names = [line.strip() for line in Path(sys.argv[1]).read_text().splitlines()]
    try:
        sys.stdout.write(pick([name for name in names if name and name[0] != "#"], Path(sys.argv[2]).read_text()))
    except KeyError as error:
        sys.exit(f"{sys.argv[2]} lacks {error.args[0]}.")


if __name__ == "__main__":
    main()
