"""What changes between two sets of workload specifications, in sentences (`trinity apply --dry-run`).

Pure. Never applies anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from backend.contract.fleet import WorkloadSpec

SECRET_WORDS: Final = ("KEY", "TOKEN", "SECRET", "PASSWORD")
"""Environment names that contain one of these have values no one is shown."""


def diff(old_specs: Iterable[WorkloadSpec], new_specs: Iterable[WorkloadSpec]) -> tuple[str, ...]:
    """One line per change, workloads in the order of their names; empty when nothing changes."""
    old = {spec.name: spec for spec in old_specs}
    new = {spec.name: spec for spec in new_specs}
    lines: list[str] = []
    for name in sorted(old.keys() | new.keys()):
        before, after = old.get(name), new.get(name)
        if before is None and after is not None:
            count = f"{after.replicas} replica{'' if after.replicas == 1 else 's'}"
            lines.append(
                f"+ {name}: new workload, {count} of {after.slots} slots each, routes {', '.join(after.routes)}"
            )
        elif after is None and before is not None:
            lines.append(f"- {name}: removed, its replicas are drained and ended")
        elif before is not None and after is not None:
            lines += _changes(before, after)
    return tuple(lines)


def _changes(before: WorkloadSpec, after: WorkloadSpec) -> list[str]:
    lines: list[str] = []
    for field in WorkloadSpec.__struct_fields__:
        if field in ("name", "revision"):
            continue
        was, now = getattr(before, field), getattr(after, field)
        if was == now:
            continue
        if field == "env":
            lines += _environment(before.name, was, now)
        else:
            lines.append(f"~ {before.name}: {field} {_shown(was)} → {_shown(now)}")
    if before.revision != after.revision:
        lines.append(f"~ {before.name}: new revision, replicas are replaced one at a time")
    return lines


def _environment(workload: str, was: dict[str, str], now: dict[str, str]) -> list[str]:
    lines: list[str] = []
    for key in sorted(was.keys() | now.keys()):
        if was.get(key) == now.get(key):
            continue
        if any(word in key.upper() for word in SECRET_WORDS):
            lines.append(f"~ {workload}: env {key} changes (value not shown)")
        else:
            lines.append(f"~ {workload}: env {key} {_shown(was.get(key))} → {_shown(now.get(key))}")
    return lines


def _shown(value: object) -> str:
    if value is None:
        return "unset"
    if isinstance(value, str):
        return repr(value)
    if isinstance(value, tuple):
        return "[" + " ".join(str(item) for item in value) + "]"
    if isinstance(value, msgspec.Struct):
        return msgspec.json.encode(value).decode()
    return str(value)
