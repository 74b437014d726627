"""Which other fleets a console shows in tabs of their own: from the command line and a file. Reads one file, no more.

The file is `trinity/fleets.toml` in the XDG configuration folder:

    [fleets]
    staging = "/srv/trinity/staging"    # a state directory whose daemon runs on this machine
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path

import msgspec

from backend.contract.errors import FileError, UsageError


class FleetPlace(msgspec.Struct, frozen=True):
    """A fleet's name on its tab and the state directory of its daemon."""

    name: str
    state: Path


class _FleetFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    fleets: dict[str, str] = {}


def parse_place(text: str) -> FleetPlace:
    """`NAME=DIR`, or `DIR` which is named as its last part. Raises UsageError."""
    name, equals, place = text.partition("=")
    if not equals:
        name, place = Path(text).expanduser().resolve().name, text
    if not name.strip() or not place.strip():
        raise UsageError(f"`{text}` names no fleet.", "Write a state directory, or NAME=DIRECTORY.")
    return FleetPlace(name.strip(), Path(place.strip()).expanduser().resolve())


def read_fleets(path: Path) -> list[FleetPlace]:
    """What the file lists, in its order; nothing where there is none. Raises FileError."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(str(path), f"cannot be read: {error}.", "Mend it or take it away.") from error
    try:
        found = msgspec.convert(tomllib.loads(text), _FleetFile)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise FileError(
            str(path), f"is not a list of fleets: {error}.", 'Write `[fleets]` and `name = "directory"`.'
        ) from error
    return [parse_place(f"{name}={state}") for name, state in found.fleets.items()]


def all_places(given: Sequence[str], listed: Sequence[FleetPlace], first: Path) -> list[FleetPlace]:
    """The fleets beside the `first` one: those given, then those listed; each state directory once.

    Raises UsageError where two have one name."""
    places: dict[Path, FleetPlace] = {}
    for place in (*(parse_place(text) for text in given), *listed):
        if place.state != first:
            places.setdefault(place.state, place)
    names = [place.name for place in places.values()]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"Two fleets are named {twice!r}.", "Give one of them another name: --attach NAME=DIRECTORY.")
    return list(places.values())
