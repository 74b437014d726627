"""The keymap file: which keys do what instead of the default, checked before the screen opens. Pure.

Owns the names of keys, the file's grammar and the search for conflicts. Knows no widget: the table of what can be
bound is handed in.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from backend.contract.errors import FileError
from console.state.commands import nearest

EVERYWHERE: Final = "everywhere"
NOTHING: Final = "no_key"
"""Bound in the place of every key that was taken away: no terminal sends it."""
MODIFIERS: Final = ("ctrl", "alt", "shift", "super", "meta", "hyper")
_WORDS: Final = "escape enter tab backspace delete insert home end pageup pagedown up down left right space"
NAMED: Final = frozenset((*_WORDS.split(), *(f"f{number}" for number in range(1, 25))))
_SHORTER: Final = {
    "solidus": "slash",
    "reverse_solidus": "backslash",
    "commercial_at": "at",
    "hyphen_minus": "minus",
    "plus_sign": "plus",
    "low_line": "underscore",
}
_SIGNS: Final = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"


def _sign_name(sign: str) -> str:
    name = unicodedata.name(sign).lower().replace("-", "_").replace(" ", "_")
    return _SHORTER.get(name, name)


SIGN_NAMES: Final = {sign: _sign_name(sign) for sign in _SIGNS}
_SIGN_OF: Final = {name: sign for sign, name in SIGN_NAMES.items()}
_READ: Final = {
    "up": "↑",
    "down": "↓",
    "left": "←",
    "right": "→",
    "escape": "esc",
    "pageup": "pgup",
    "pagedown": "pgdn",
}


class Bound(msgspec.Struct, frozen=True):
    """Something a key does: a stable id, the keys, words for it, and the scope in which the keys mean that."""

    id: str
    keys: tuple[str, ...]
    says: str
    scope: str = EVERYWHERE


class Keymap(msgspec.Struct, frozen=True):
    """Keys by id, as a file changes them; an empty tuple takes the key away."""

    keys: dict[str, tuple[str, ...]] = {}
    source: str = ""

    def of(self, bound: Bound) -> tuple[str, ...]:
        """The keys that do this now."""
        return self.keys.get(bound.id, bound.keys)

    def for_screen(self) -> dict[str, str]:
        """As the screen library takes it."""
        return {name: ",".join(keys) or NOTHING for name, keys in self.keys.items()}


def canonical(key: str) -> str | None:
    """One name for each key, `?` and `question_mark` alike; None for what is no key."""
    *before, last = [*key[:-2].split("+"), "+"] if key == "+" or key.endswith("++") else key.split("+")
    modifiers = [word for word in before if word]
    if any(word not in MODIFIERS for word in modifiers) or len(set(modifiers)) != len(modifiers):
        return None
    if last in SIGN_NAMES:
        last = SIGN_NAMES[last]
    elif not (last in NAMED or last in _SIGN_OF or (len(last) == 1 and last.isalnum())):
        return None
    ordered = [word for word in MODIFIERS if word in modifiers]
    return "+".join([*ordered, last])


def display(key: str) -> str:
    """As people read it: `?`, `ctrl+p`, `↑`."""
    *modifiers, last = key.split("+")
    return "+".join([*modifiers, _SIGN_OF.get(last) or _READ.get(last) or last])


def parse(text: str, source: str, table: Sequence[Bound]) -> tuple[Keymap, list[FileError]]:
    """The keymap of a file and everything that is wrong with it, in the file's order."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        said = re.search(r"at line (\d+), column (\d+)", str(error))
        line, column = (int(said[1]), int(said[2])) if said else (len(text.splitlines()), 1)
        words = re.sub(r" \(at .*\)$", "", str(error))
        return Keymap(source=source), [FileError(source, f"not TOML: {words}.", "", line, column)]
    problems: list[FileError] = []
    for name in data:
        if name != "keys":
            hint = "The keys belong under [keys]."
            problems.append(FileError(source, f"there is no section {name!r}.", hint, *_place(text, name)))
    section = data.get("keys", {})
    if not isinstance(section, dict):
        return Keymap(source=source), [FileError(source, "keys is not a section.", "Write [keys] on a line.", 1, 1)]
    known = {bound.id for bound in table}
    found: dict[str, tuple[str, ...]] = {}
    for name, value in _flat(section):
        place = _place(text, name)
        if name not in known:
            near = nearest(name, sorted(known))
            hint = f"Near: {', '.join(near)}." if near else "`trinity keys` lists the names."
            problems.append(FileError(source, f"nothing is called {name!r}.", hint, *place))
            continue
        keys, wrong = _keys(value)
        if wrong:
            problems.append(FileError(source, f"{name}: {wrong}", 'Write "k", "ctrl+k", "f5" or "".', *place))
        else:
            found[name] = keys
    keymap = Keymap(found, source)
    if not problems:
        problems = _conflicts(keymap, table, text)
    return keymap, sorted(problems, key=lambda problem: problem.line)


def _flat(section: Mapping[str, object], before: str = "") -> Iterable[tuple[str, object]]:
    """`act.kill = "k"` without quotes is a table in TOML; it means the same here."""
    for name, value in section.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield before + name, value


def _keys(value: object) -> tuple[tuple[str, ...], str]:
    """The keys' names, or what is wrong with the value."""
    given = value if isinstance(value, list) else [value]
    if value == "":
        return (), ""
    keys: list[str] = []
    for one in given:
        key = canonical(one) if isinstance(one, str) else None
        if key is None:
            return (), f"{one!r} is no key."
        keys.append(key)
    return tuple(dict.fromkeys(keys)), ""


def _place(text: str, name: str) -> tuple[int, int]:
    """Line and column of a name in the file, from 1; zeros where it cannot be found."""
    last = name.rsplit(".", 1)[-1]
    for pattern in (rf"""["']?{re.escape(name)}["']?\s*(=|\])""", rf"""["']?{re.escape(last)}["']?\s*="""):
        for number, line in enumerate(text.splitlines(), 1):
            found = re.search(pattern, line.split("#")[0])
            if found:
                return number, found.start() + 1
    return 0, 0


def conflicts(keymap: Keymap, table: Sequence[Bound]) -> list[tuple[str, str, Bound, Bound]]:
    """(key, scope, first, second) wherever one key means two things in one scope."""
    out: list[tuple[str, str, Bound, Bound]] = []
    taken: dict[tuple[str, str], Bound] = {}
    for bound in table:
        for key in keymap.of(bound):
            before = taken.setdefault((bound.scope, key), bound)
            if before.id != bound.id:
                out.append((key, bound.scope, before, bound))
    return out


def _conflicts(keymap: Keymap, table: Sequence[Bound], text: str) -> list[FileError]:
    problems: list[FileError] = []
    for key, scope, one, other in conflicts(keymap, table):
        mine, theirs = (other, one) if other.id in keymap.keys else (one, other)
        where = "" if scope == EVERYWHERE else f" ({scope})"
        said = f"{display(key)} is {mine.id} and {theirs.id} ({theirs.says.lower()}) at once{where}."
        hint = f'Take another key, or move {theirs.id}; "" takes a key away.'
        problems.append(FileError(keymap.source, said, hint, *_place(text, mine.id)))
    return problems


def covered(keymap: Keymap, table: Sequence[Bound]) -> list[str]:
    """Sentences on keys of the file that mean something else where a panel has them for itself. No error."""
    out: list[str] = []
    everywhere = {key: bound for bound in table if bound.scope == EVERYWHERE for key in keymap.of(bound)}
    for bound in table:
        if bound.scope == EVERYWHERE:
            continue
        for key in keymap.of(bound):
            under = everywhere.get(key)
            if under is not None and (bound.id in keymap.keys or under.id in keymap.keys):
                out.append(f"{display(key)} is {bound.id} {bound.scope}, and {under.id} elsewhere.")
    return out
