"""Data as YAML for people to read on: keys in their order, no aliases, long lines kept, a comment on top."""

from __future__ import annotations

from typing import Any

import yaml


class _Dumper(yaml.SafeDumper):
    """Writes a value that occurs twice twice: our own reader refuses aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def to_yaml(value: object, comment: str = "") -> str:
    """`value` (dicts, lists, scalars) as YAML, with `comment` as the lines above it."""
    head = "".join(f"# {line}".rstrip() + "\n" for line in comment.splitlines())
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=1000, allow_unicode=True)
    return head + text
