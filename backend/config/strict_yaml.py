"""Strict YAML into typed structs: every mistake is named with file, line and column.

Refuses unknown and duplicate keys, anchors, aliases, merge keys, explicit tags, several documents and values of
the wrong type. Scalars are read by the type wanted of them, never guessed (`on` is text, not a boolean).
Knows nothing of what the documents mean.
"""

from __future__ import annotations

import difflib
import enum
import math
import re
import types
import typing
from typing import Annotated, Any, TypeVar

import msgspec
import yaml

from backend.contract.errors import FileError

T = TypeVar("T")

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MAX_BYTES = 1024 * 1024
_MAX_DEPTH = 64
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s|m|h|d)")
_DURATION_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(B|KiB|MiB|GiB|TiB|KB|MB|GB|TB|Ki|Mi|Gi|Ti|K|M|G|T)?")
_SIZE_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "K": 10**3, "M": 10**6, "G": 10**9} | {
    "T": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
}
_INT = re.compile(r"[-+]?\d+")
_UNREADABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What no YAML text may hold."""
_FLOAT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


Duration = Annotated[
    float,
    msgspec.Meta(
        extra_json_schema={
            "type": "string",
            "pattern": r"^(\d+(\.\d+)?(us|ms|s|m|h|d))+$",
            "description": "a duration with its unit, e.g. 250ms, 15s, 1m30s",
        }
    ),
]
"""Seconds, as a float; written `250ms`, `15s`, `1m`, `1h30m`. A bare number is refused, it has no unit."""

ByteSize = Annotated[
    int,
    msgspec.Meta(
        extra_json_schema={
            "type": ["string", "integer"],
            "pattern": r"^\d+(\.\d+)?\s*([KMGT]i?B?|B)?$",
            "description": "a size, e.g. 512MiB, 2GiB, or bytes",
        }
    ),
]
"""Bytes, as an int; written `512MiB`, `2GiB`, `1GB` or a plain number of bytes."""


def parse_duration(text: str) -> float:
    """Seconds of `1m30s`, `250ms`, ... Raises ValueError."""
    parts = list(_DURATION.finditer(text))
    if not parts or "".join(p.group(0) for p in parts) != text:
        raise ValueError("a duration is written with its unit, e.g. 250ms, 15s, 1m30s")
    return sum(float(p.group(1)) * _DURATION_UNITS[p.group(2)] for p in parts)


def parse_size(text: str) -> int:
    """Bytes of `2GiB`, `512MiB`, `1048576`, ... Raises ValueError."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError("a size is written like 512MiB, 2GiB or as a number of bytes")
    return int(float(match.group(1)) * _SIZE_UNITS[match.group(2) or "B"])


def decode(text: str, source: str, kind: type[T]) -> T:
    """The document in `text` as `kind` (a msgspec Struct, or any type hint of structs, lists, dicts and scalars).

    Raises FileError with line and column (from 1) for everything that does not fit.
    """
    node = _compose(text, source)
    if node is None:
        raise FileError(source, "the file is empty.", "Write at least the version line.", 1, 1)
    return typing.cast(T, _Converter(source).convert(node, kind, "", 0))


def position(text: str, *path: str) -> tuple[int, int]:
    """Line and column (from 1) of the key at `path` of mappings, in text that `decode` accepted; of the longest part
    of the path that is there, (0, 0) for none. For what is found wrong only after decoding."""
    node = _compose(text, "") if text else None
    found = (0, 0)
    for name in path:
        pairs: list[tuple[yaml.Node, yaml.Node]] = node.value if isinstance(node, yaml.MappingNode) else []
        here = next(((key, value) for key, value in pairs if key.value == name), None)
        if here is None:
            break
        mark: Any = here[0].start_mark
        found, node = (mark.line + 1, mark.column + 1), here[1]
    return found


def _compose(text: str, source: str) -> yaml.Node | None:
    if len(text.encode("utf-8", "surrogatepass")) > _MAX_BYTES:
        raise FileError(source, f"the file is larger than {_MAX_BYTES} bytes.", "Split it.", 1, 1)
    try:
        depth = 0
        event: Any
        for event in yaml.parse(text, Loader=_LOADER):
            mark = event.start_mark
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            _refuse_cleverness(event, source, mark.line + 1, mark.column + 1, depth)
        node: yaml.Node | None = yaml.compose(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        where = error.problem_mark or error.context_mark
        line, column = (where.line + 1, where.column + 1) if where else (0, 0)
        raise FileError(source, f"not valid YAML: {error.problem}.", _mend(text, line), line, column) from None
    except (yaml.YAMLError, ValueError, UnicodeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        place = place_of(text, match.start() if (match := _UNREADABLE.search(text)) else 0)
        raise FileError(
            source, f"not valid YAML: {reason}.", "Save it as UTF-8 text without control characters.", *place
        ) from None
    return node


def place_of(text: str, offset: int) -> tuple[int, int]:
    """Line and column (from 1) of a character."""
    before = text[:offset]
    return before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1


def _mend(text: str, line: int) -> str:
    """What to do about a syntax error on that line."""
    lines = text.splitlines()
    before = lines[line - 1] if 0 < line <= len(lines) else ""
    if "\t" in before[: len(before) - len(before.lstrip())]:
        return "Indent with spaces, not with tabs."
    return "Mend the syntax there."


def _refuse_cleverness(event: Any, source: str, line: int, column: int, depth: int) -> None:
    if isinstance(event, yaml.AliasEvent):
        raise FileError(source, f"aliases (*{event.anchor}) are not allowed.", "Write the value out.", line, column)
    if getattr(event, "anchor", None):
        raise FileError(source, f"anchors (&{event.anchor}) are not allowed.", "Write the value out.", line, column)
    if isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent) and event.tag not in (None, "!"):
        raise FileError(source, f"tags ({event.tag}) are not allowed.", "Remove the tag.", line, column)
    if depth > _MAX_DEPTH:
        raise FileError(source, f"nested deeper than {_MAX_DEPTH} levels.", "Flatten it.", line, column)


class _Converter:
    """Walks nodes and type hints side by side."""

    def __init__(self, source: str) -> None:
        self.source = source

    def fail(self, node: yaml.Node, message: str, next_step: str = "") -> FileError:
        mark: Any = node.start_mark
        return FileError(self.source, message, next_step, mark.line + 1, mark.column + 1)

    def convert(self, node: yaml.Node, kind: Any, path: str, depth: int) -> Any:
        origin = typing.get_origin(kind)
        if kind is Any:
            return self._as_written(node, path, depth)
        if origin is typing.Annotated and kind not in (Duration, ByteSize):
            return self.convert(node, typing.get_args(kind)[0], path, depth)
        if origin in (typing.Union, types.UnionType):
            return self._union(node, typing.get_args(kind), path, depth)
        if origin in (list, tuple):
            return self._sequence(node, origin, typing.get_args(kind), path, depth)
        if origin is dict:
            key_type, value_type = typing.get_args(kind)
            pairs = self._pairs(node, path)
            return {
                self._scalar_text(k, key_type): self.convert(v, value_type, f"{path}.{k.value}".lstrip("."), depth + 1)
                for k, v in pairs
            }
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            return self._struct(node, kind, path, depth)
        return self._scalar(node, kind, path)

    def _as_written(self, node: yaml.Node, path: str, depth: int) -> Any:
        """For values that others define: YAML's own reading of them."""
        if isinstance(node, yaml.MappingNode):
            return {
                str(key.value): self._as_written(value, f"{path}.{key.value}".lstrip("."), depth + 1)
                for key, value in self._pairs(node, path)
            }
        if isinstance(node, yaml.SequenceNode):
            return [self._as_written(item, f"{path}[{i}]", depth + 1) for i, item in enumerate(node.value)]
        return yaml.SafeLoader("").construct_object(node)

    def _scalar_text(self, node: yaml.Node, kind: Any) -> Any:
        return self._scalar(node, kind, "key")

    def _pairs(self, node: yaml.Node, path: str) -> list[tuple[yaml.ScalarNode, yaml.Node]]:
        if not isinstance(node, yaml.MappingNode):
            raise self.fail(
                node, f"{path or 'the document'} must be a mapping (key: value).", "Write it as lines of `key: value`."
            )
        seen: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise self.fail(key, "a key must be plain text.", "Write one word before the colon.")
            if key.value == "<<" and not key.style:
                raise self.fail(key, "merge keys (<<) are not allowed.", "Write the keys out.")
            if key.value in seen:
                raise self.fail(
                    key, f"duplicate key `{key.value}` (first on line {seen[key.value]}).", "Remove one of them."
                )
            seen[key.value] = key.start_mark.line + 1
        return node.value  # type: ignore[no-any-return]  # PyYAML has it as Any

    def _struct(self, node: yaml.Node, kind: type[msgspec.Struct], path: str, depth: int) -> Any:
        pairs = self._pairs(node, path)
        hints = typing.get_type_hints(kind, include_extras=True)
        fields = {f.encode_name: f for f in msgspec.structs.fields(kind)}
        values: dict[str, Any] = {}
        for key, value in pairs:
            field = fields.get(key.value)
            if field is None:
                close = difflib.get_close_matches(key.value, fields, n=1)
                hint = f"Did you mean `{close[0]}`? " if close else ""
                raise self.fail(
                    key,
                    f"unknown key `{key.value}`{f' in {path}' if path else ''}.",
                    f"{hint}Allowed here: {', '.join(sorted(fields))}.",
                )
            values[field.name] = self.convert(value, hints[field.name], f"{path}.{key.value}".lstrip("."), depth + 1)
        missing = [f.encode_name for f in fields.values() if f.required and f.name not in values]
        if missing:
            raise self.fail(node, f"{path or 'the document'} lacks {', '.join(f'`{m}`' for m in missing)}.", "Add it.")
        try:
            return kind(**values)
        except (ValueError, TypeError) as error:
            raise self.fail(node, f"{path or 'the document'}: {error}.") from None

    def _sequence(self, node: yaml.Node, origin: Any, args: tuple[Any, ...], path: str, depth: int) -> Any:
        if not isinstance(node, yaml.SequenceNode):
            raise self.fail(node, f"{path} must be a list.", "Write it as [a, b] or as lines that begin with `- `.")
        items = [self.convert(item, args[0], f"{path}[{i}]", depth + 1) for i, item in enumerate(node.value)]
        return tuple(items) if origin is tuple else items

    def _union(self, node: yaml.Node, options: tuple[Any, ...], path: str, depth: int) -> Any:
        if type(None) in options:
            if isinstance(node, yaml.ScalarNode) and not node.style and node.value in ("", "~", "null"):
                return None
            options = tuple(o for o in options if o is not type(None))
        if len(options) == 1:
            return self.convert(node, options[0], path, depth)
        first: FileError | None = None
        for option in sorted(options, key=_narrowness):
            try:
                return self.convert(node, option, path, depth)
            except FileError as error:
                first = _later(first, error)
        assert first is not None
        raise first

    def _scalar(self, node: yaml.Node, kind: Any, path: str) -> Any:
        if not isinstance(node, yaml.ScalarNode):
            raise self.fail(node, f"{path} must be a single value, not a list or mapping.", "Write one value.")
        text, plain = str(node.value), not node.style
        try:
            return _read_scalar(text, plain, kind)
        except ValueError as error:
            raise self.fail(node, f"{path}: `{text[:80]}` does not fit: {error}.", _remedy(text, kind)) from None


def _later(first: FileError | None, second: FileError) -> FileError:
    """Of two failed readings, the one that got further into the text explains more."""
    if first is None or (second.line, second.column) > (first.line, first.column):
        return second
    return first


def _narrowness(kind: Any) -> int:
    order: list[Any] = [bool, int, float, Duration, ByteSize, str]
    return order.index(kind) if kind in order else -1


def _remedy(text: str, kind: Any) -> str:
    """What to write instead of a scalar that does not fit."""
    if typing.get_origin(kind) is typing.Literal:
        close = difflib.get_close_matches(text, [str(value) for value in typing.get_args(kind)], n=1)
        return f"Perhaps `{close[0]}` was meant." if close else "Write what is allowed there."
    words = {bool: "Write true or false, without quotes.", str: "Write some text, in quotes where YAML reads it anew."}
    if kind in (int, float):
        return "Write a number, without unit and quotes."
    return words.get(kind, "Write it as said.")


def _read_scalar(text: str, plain: bool, kind: Any) -> Any:
    if typing.get_origin(kind) is typing.Literal:
        allowed = typing.get_args(kind)
        for value in allowed:
            if text == str(value):
                return value
        raise ValueError(f"allowed: {', '.join(str(a) for a in allowed)}")
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        try:
            return kind(text)
        except ValueError:
            raise ValueError(f"allowed: {', '.join(str(m.value) for m in kind)}") from None
    if kind == Duration:
        return parse_duration(text)
    if kind == ByteSize:
        return parse_size(text)
    if kind is bool:
        if plain and text in ("true", "false"):
            return text == "true"
        raise ValueError("write true or false")
    if kind is int:
        if plain and _INT.fullmatch(text) and len(text) < 20:
            return int(text)
        raise ValueError("a whole number is wanted")
    if kind is float:
        if plain and _FLOAT.fullmatch(text) and math.isfinite(float(text)):
            return float(text)
        raise ValueError("a number is wanted")
    if kind is str:
        if plain and text in ("", "~", "null"):
            raise ValueError("text is wanted")
        return text
    raise ValueError(f"{kind!r} cannot be read from a file")
