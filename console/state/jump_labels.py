"""Labels of the jump mode: a letter or two each, none the beginning of another, the easiest to reach first. Pure."""

from __future__ import annotations

from typing import Final

LETTERS: Final = "asdfjklgheiruowmnvcptyqxzb"
MOST: Final = len(LETTERS) ** 2


def labels(count: int) -> list[str]:
    """`count` labels, at most `MOST`: as many single letters as leave room for the rest."""
    wanted = min(count, MOST)
    size = len(LETTERS)
    first = next(k for k in range(size + 1) if size - k + k * size >= wanted)
    singles = list(LETTERS[: size - first])
    doubles = [one + two for one in LETTERS[size - first :] for two in LETTERS]
    return (singles + doubles)[:wanted]
