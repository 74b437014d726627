"""The nearest of the 256 fixed colours, for links where a colour must be short. Knows no theme."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from rich.color import Color
from rich.color_triplet import ColorTriplet

_STEPS: Final = (0, 95, 135, 175, 215, 255)


@lru_cache(4096)
def nearest(wanted: ColorTriplet) -> Color:
    """Of the cube and the greys; the sixteen below them look different in every terminal."""
    cube = [min(range(6), key=lambda at: abs(_STEPS[at] - channel)) for channel in wanted]
    grey = max(0, min(23, round((sum(wanted) / 3 - 8) / 10)))
    choices = (
        (16 + 36 * cube[0] + 6 * cube[1] + cube[2], tuple(_STEPS[at] for at in cube)),
        (232 + grey, (8 + 10 * grey,) * 3),
    )
    number, _ = min(choices, key=lambda choice: sum((a - b) ** 2 for a, b in zip(choice[1], wanted, strict=True)))
    return Color.from_ansi(number)
