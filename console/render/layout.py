"""Where panels go at each size of terminal: overview, running drill, charts. Pure: cells in, rectangles out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

PANES: Final = ("table", "ttft", "queue", "rate", "scaling", "feed", "logs")
"""Every panel, in the order in which `tab` walks through them."""
NOTHING_INSTEAD: Final[Mapping[str, str]] = {}
MARGIN: Final = 1
GAP: Final = 3


class Rect(msgspec.Struct, frozen=True):
    """A panel's place: cells from the top left of the body."""

    x: int
    y: int
    width: int
    height: int


def one_pane(width: int, height: int) -> bool:
    """Too small to divide: the overview shows one panel at a time."""
    return width < 72 or height < 18


def without_edge(width: int, *, nodes: bool) -> dict[str, str]:
    """What takes the place of which panel of the overview in a fleet that no edge of ours serves: there is no TTFT, no
    queue and no autoscaler to show. What is wrong goes before the charts where there is no room for both."""
    third = "nodes" if nodes else "ports"
    if width - 2 * MARGIN < 100:
        return {"ttft": "workloads", "queue": "causes", "rate": "usage", "scaling": third}
    return {"ttft": "workloads", "queue": "usage", "rate": third, "scaling": "causes"}


def overview(
    width: int, height: int, rows: int, pane: str, instead: Mapping[str, str] = NOTHING_INSTEAD
) -> dict[str, Rect]:
    """The panels shown in a body of that size, for `rows` replicas; `pane` is the one shown where only one fits.
    `instead` says which panel stands in the place of another."""
    places = _overview(width, height, rows, pane, share=0.6 if instead else 0.0)
    return {instead.get(name, name): place for name, place in places.items()}


def _overview(width: int, height: int, rows: int, pane: str, *, share: float) -> dict[str, Rect]:
    """`share` of the feed's column is its upper panel's; without one that has what the autoscaler needs."""
    if width <= 0 or height <= 0:
        return {}
    if one_pane(width, height):
        return {pane: Rect(0, 0, width, height)}
    inner = width - 2 * MARGIN
    air = 1 if height >= 34 else 0
    wide = inner >= 160
    table_height = min(max(rows + 2, 8 if wide else 4), max(4, height // 3))
    rest = height - table_height - air
    chart_height = max(7, rest // 2 - air) if inner >= 100 else max(6, rest // 2)
    top = table_height + air
    bottom = top + chart_height + air
    places = _across(top, chart_height, inner, ("ttft", "queue", "rate") if inner >= 100 else ("ttft", "queue"))
    if wide:
        side = max(48, inner // 4)
        places["table"] = Rect(MARGIN, 0, inner - side - GAP, table_height)
        places["scaling"] = Rect(MARGIN + inner - side, 0, side, table_height)
        places |= _across(bottom, height - bottom, inner, ("feed", "logs"))
        return places
    places["table"] = Rect(MARGIN, 0, inner, table_height)
    if inner >= 100:
        halves = _across(bottom, height - bottom, inner, ("feed", "logs"))
        left = halves["feed"]
        scaling = int(left.height * share) or min(6, left.height // 2)
        places["scaling"] = Rect(left.x, left.y, left.width, scaling)
        places["feed"] = Rect(left.x, left.y + scaling + air, left.width, left.height - scaling - air)
        places["logs"] = halves["logs"]
        return places
    below = height - bottom
    places["feed"] = Rect(MARGIN, bottom, inner, (below + 1) // 2)
    places["logs"] = Rect(MARGIN, bottom + (below + 1) // 2, inner, below // 2)
    return places


RUN_PANES: Final = ("timeline", "hypotheses", "faults")
"""Of a running drill, in the order in which `tab` walks through them where only one fits."""


def drill_run(width: int, height: int, pane: str, *, rows: Callable[[str, int, int], int]) -> dict[str, Rect]:
    """The panels of a running drill. `rows(name, width, height)` says how many lines a panel would fill, its title
    left out, given that many."""
    if width <= 0 or height <= 0:
        return {}
    if one_pane(width, height):
        head = min(2, max(1, height - 4))
        inner = width - 2 * MARGIN
        return {"head": Rect(MARGIN, 0, inner, head), pane: Rect(MARGIN, head, inner, height - head)}
    inner = width - 2 * MARGIN
    air = 1 if height >= 28 else 0
    places = {"head": Rect(MARGIN, 0, inner, 3)}
    top = 3 + air
    if inner >= 150:
        side = max(52, inner * 3 // 10)
        room = height - top
        faults = min(room // 2, 1 + rows("faults", side, room // 2))
        left = Rect(MARGIN, top, inner - side - GAP, room)
        right = MARGIN + inner - side
        places["timeline"] = left
        places["faults"] = Rect(right, top, side, faults)
        places["hypotheses"] = Rect(right, top + faults + 1, side, room - faults - 1)
        return places
    if inner >= 100:
        each = (inner - GAP) // 2
        most = max(4, (height - top) // 3)
        need = max(rows("faults", each, most - 1), rows("hypotheses", each, most - 1))
        below = min(most, 1 + need)
        places |= _across(height - below, below, inner, ("faults", "hypotheses"))
        places["timeline"] = Rect(MARGIN, top, inner, height - below - air - top)
        return places
    most = max(2, (height - top) // 5)
    faults, hypotheses = (1 + min(most, rows(name, inner, 1)) for name in ("faults", "hypotheses"))
    places["timeline"] = Rect(MARGIN, top, inner, height - top - faults - hypotheses)
    places["faults"] = Rect(MARGIN, height - faults - hypotheses, inner, faults)
    places["hypotheses"] = Rect(MARGIN, height - hypotheses, inner, hypotheses)
    return places


def charts_view(
    width: int, height: int, names: Sequence[str], pane: str, replicas: int = 50, *, heated: bool = True
) -> dict[str, Rect]:
    """The charts side by side in columns of one width, a time axis (`axis0`, `axis1`, ...) under each column, one line
    of words above; the heat map below on a tall terminal. One chart alone where only one fits."""
    if width <= 0 or height <= 0:
        return {}
    if one_pane(width, height):
        head, axis = (1, 2) if height >= 8 else (0, 1) if height >= 5 else (0, 0)
        places = {"words": Rect(0, 0, width, head)} if head else {}
        if pane == "heat":
            return places | {"heat": Rect(0, head, width, height - head)}
        places |= {"axis0": Rect(0, height - axis, width, axis)} if axis else {}
        return places | {pane: Rect(0, head, width, height - head - axis)}
    inner = width - 2 * MARGIN
    if pane == "heat":
        return {"words": Rect(MARGIN, 0, inner, 1), "heat": Rect(MARGIN, 1, inner, height - 1)}
    heat = min(height * 3 // 10, replicas + 4) if height >= 48 and heated else 0
    across = 2
    each = (inner - GAP * (across - 1)) // across
    lanes = -(-len(names) // across)
    top = 1
    room = height - top - 2 - heat
    places = {"words": Rect(MARGIN, 0, inner, 1)}
    for column in range(across):
        x = MARGIN + column * (each + GAP)
        y = top
        for lane in range(lanes):
            tall = room // lanes + (lane < room % lanes)
            index = lane * across + column
            if index < len(names):
                places[names[index]] = Rect(x, y, each, tall)
            y += tall
        places[f"axis{column}"] = Rect(x, y, each, 2)
    if heat:
        places["heat"] = Rect(MARGIN, height - heat, inner, heat)
    return places


def _across(y: int, height: int, inner: int, names: tuple[str, ...]) -> dict[str, Rect]:
    """Panels side by side over the whole width."""
    each = (inner - GAP * (len(names) - 1)) // len(names)
    places: dict[str, Rect] = {}
    x = MARGIN
    for index, name in enumerate(names):
        width = MARGIN + inner - x if index == len(names) - 1 else each
        places[name] = Rect(x, y, width, height)
        x += width + GAP
    return places
