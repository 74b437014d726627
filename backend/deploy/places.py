"""The files that ship with this package, and how rendered ones are written: never over others without being told.

Owns reading package data and writing a rendered tree. Knows no format.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

import msgspec

from backend.contract.errors import Refused, UsageError

SHIPPED: Final = Path(__file__).parent
HELM: Final = SHIPPED / "helm"
IMAGES: Final = SHIPPED / "images"

Tree = Mapping[str, str | bytes]
"""Path below the output folder (with `/`) -> what stands in it."""


class Written(msgspec.Struct, frozen=True):
    """One file and what became of it."""

    path: str
    outcome: Literal["written", "replaced", "unchanged"]


def shipped(folder: Path) -> dict[str, str]:
    """Every text file below `folder`, by its path relative to it."""
    return {
        path.relative_to(folder).as_posix(): path.read_text("utf-8")
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


def write(out: Path, tree: Tree, *, force: bool = False) -> list[Written]:
    """Write the tree below `out`, all of it or, where a file of another content is in the way, nothing.

    Raises Refused (nothing was written) without `force`, UsageError where `out` cannot be written.
    """
    try:
        outcomes = {name: _outcome(out / name, _bytes(content)) for name, content in sorted(tree.items())}
        other = [name for name, outcome in outcomes.items() if outcome == "replaced"]
        if other and not force:
            names = ", ".join(other[:3]) + (" and more" if len(other) > 3 else "")
            raise Refused(
                f"{out} already has {names} with another content.",
                "Pass --force to replace what is there, or another --out.",
            )
        for name, outcome in outcomes.items():
            if outcome != "unchanged":
                (out / name).parent.mkdir(parents=True, exist_ok=True)
                (out / name).write_bytes(_bytes(tree[name]))
    except OSError as error:
        raise UsageError(
            f"{error.filename or out} cannot be written: {(error.strerror or str(error)).lower()}.",
            "Choose another folder with --out.",
        ) from None
    return [Written(str(out / name), outcome) for name, outcome in outcomes.items()]


def _outcome(path: Path, content: bytes) -> Literal["written", "replaced", "unchanged"]:
    if not path.exists():
        return "written"
    return "unchanged" if path.read_bytes() == content else "replaced"


def _bytes(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content
