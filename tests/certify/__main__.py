"""`make certify [SECTIONS=a,b] [ARGS=--fresh]`: run the sections in order, keep going after a failed one, report.

A section `a` takes those named `a/...` with it.
Exit code 1 when a line is not met or a section broke; 64 for a section there is not.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Mapping

from tests.certify import drill_sections, other_sections, undo_sections
from tests.certify.drill_runs import core_drills
from tests.certify.frame import Section, machine, read, run_section, write_report
from tests.mutants.table import MUTANTS

SECTIONS: Mapping[str, Section] = {
    "fuzz": other_sections.fuzz,
    "noop-faults": functools.partial(other_sections.suite, "noop-faults"),
    "streams": functools.partial(other_sections.suite, "streams"),
    "generator": other_sections.generator,
    "abort": undo_sections.abort,
    "failover": drill_sections.failover,
    "engine-hang": drill_sections.engine_hang,
    "engine-hang/overload": drill_sections.overload,
    "core-drills": drill_sections.shipped,
    **{f"core-drills/{name}": functools.partial(drill_sections.core_drill, name) for name in core_drills()},
    "mutants": drill_sections.covered,
    **{f"mutants/{name}": functools.partial(drill_sections.broken_build, MUTANTS[name]) for name in MUTANTS},
    "kill-points": undo_sections.kill_points,
    "verify": other_sections.verify,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="make certify")
    parser.add_argument("--sections", default="", help=f"of {', '.join(SECTIONS)}; all without it")
    parser.add_argument("--fresh", action="store_true", help="run sections again that this commit has finished")
    options = parser.parse_args()
    wanted = [name for name in options.sections.split(",") if name]
    if unknown := [name for name in wanted if name not in SECTIONS]:
        print(f"There is no section {unknown[0]}. There are: {', '.join(SECTIONS)}.", file=sys.stderr)
        return 64
    names = [name for name in SECTIONS if not wanted or name in wanted or name.partition("/")[0] in wanted]
    for line in machine():
        print(line)
    results = [run_section(name, SECTIONS[name], fresh=options.fresh) for name in names]
    others = [kept for name in SECTIONS if name not in names and (kept := read(name)) is not None]
    path = write_report([*results, *others])
    missed = [line for result in results for line in result.lines if not line.met]
    broken = [result.section for result in results if result.broke]
    print(f"{path}: {sum(len(r.lines) for r in results)} lines, {len(missed)} not met, {len(broken)} sections broke")
    return 1 if missed or broken else 0


if __name__ == "__main__":
    sys.exit(main())
