"""Data as YAML for people to read on: keys in their order, no aliases, long lines kept, a comment on top."""

from __future__ import annotations

from typing import Any

import yaml

_RARE_ENDS = frozenset("\x85\u2028\u2029\ufeff")


class _Dumper(yaml.SafeDumper):
    """Writes a value that occurs twice twice: our own reader refuses aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    """Line ends that are not the usual one only survive as escapes."""
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if _RARE_ENDS & set(text) else None)


_Dumper.add_representer(str, _text)


def to_yaml(value: object, comment: str = "") -> str:
    """`value` (dicts, lists, scalars) as YAML, with `comment` as the lines above it."""
    head = "".join(f"# {line}".rstrip() + "\n" for line in comment.splitlines())
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=1000, allow_unicode=True)
    return head + text
