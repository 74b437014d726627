"""The fleets that a daemon looks after beside its own: the file that lists them, and their directories.

Reads and writes `fleets.json` of the state directory. Connects to nothing and starts nothing.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from backend.config.atomic_file import write_atomically
from backend.config.paths import StatePaths
from backend.contract.address import parse_address
from backend.contract.errors import FileError, UsageError

_SLUG_LENGTH: Final = 32


class KnownFleet(msgspec.Struct, frozen=True, kw_only=True):
    """A fleet that is opened at each start. Without `slug` it is the daemon's own, in the state directory itself."""

    name: str
    slug: str = ""
    address: str = "local"
    yaml: str = ""
    """Its trinity.yaml as it was given; empty: what the address says."""
    source: str = ""
    read_only: bool = False

    def paths(self, daemon: StatePaths) -> StatePaths:
        """Its own files, below those of its daemon."""
        return daemon.of_fleet(self.slug) if self.slug else daemon


def slug_of(name: str) -> str:
    """A directory's name for a fleet's: readable, short, and another one for each name."""
    words = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:_SLUG_LENGTH].rstrip("-")
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{words}-{digest}" if words else digest


def find_fleet(fleets: Sequence[KnownFleet], wanted: str) -> KnownFleet | None:
    """The one of that name, else of that address."""
    named = next((fleet for fleet in fleets if fleet.name == wanted), None)
    if named is not None:
        return named
    address = normal_address(wanted)
    return next((fleet for fleet in fleets if address and fleet.address == address), None)


def normal_address(text: str) -> str:
    """An address in its one spelling; empty for what is none, and for `local`, which several fleets may be."""
    try:
        address = parse_address(text)
    except UsageError:
        return ""
    return "" if address.driver == "local" else str(address)


def read_known(path: Path) -> list[KnownFleet]:
    """Those that the file lists; none where there is no file. Raises FileError."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise FileError(str(path), f"cannot be read: {(error.strerror or str(error)).lower()}.", "Mend it.") from None
    try:
        found = msgspec.json.decode(raw, type=list[KnownFleet])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise FileError(str(path), f"is not a list of fleets: {error}.", "Mend it or take it away.") from None
    return [fleet for fleet in found if fleet.slug and "/" not in fleet.slug and not fleet.slug.startswith(".")]


def write_known(path: Path, fleets: Sequence[KnownFleet]) -> None:
    """Return once the list is on disk. Raises OSError with the old file intact."""
    write_atomically(path, msgspec.json.format(msgspec.json.encode(list(fleets)), indent=2) + b"\n")
