"""Panels of the overview where no edge of ours is: workloads, nodes, ports; and the line of trouble. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from backend.contract.control import WorkloadView
from backend.contract.platform import NodeStatus, PortView, Trouble
from console.render import units
from console.render.columns import is_done
from console.render.platform_columns import memory_share, node_state
from console.render.spans import Line, clean, crop_middle, fit_line, fit_text, line_width, text_width
from console.render.words import SHORT_KINDS

BARS: Final = "▁▂▃▄▅▆▇█"
_REMEDY: Final = 32
NAME_MOST: Final = 24


def workload_lines(views: Sequence[WorkloadView], width: int, height: int) -> list[Line]:
    """A workload a line: ready of wanted, its kind, how its rollout stands. Those that lack replicas first."""
    order = sorted(views, key=lambda view: (view.ready >= view.wanted, not view.rollout))
    counted = max((len(_counts(view)) for view in views), default=0)
    roomy = width >= 56
    stands = max((text_width(_stands(view, roomy=False)) for view in views), default=0)
    left = width - counted - 6 - (0 if roomy else stands)
    size = max(8, min(NAME_MOST, left, max((text_width(view.name) for view in views), default=0)))
    lines = [fit_line(_workload(view, size, counted, roomy=roomy), width) for view in order]
    return _cut(lines, width, height) or [fit_line((("no workloads yet", "faint"),), width)]


def _counts(view: WorkloadView) -> str:
    return "done" if is_done(view) else f"{view.ready}/{view.wanted}"


def _stands(view: WorkloadView, *, roomy: bool) -> str:
    """Its rollout, else its kind; where room is short in a word or two."""
    if roomy:
        return clean(view.rollout)
    if not view.rollout:
        return SHORT_KINDS.get(view.kind, clean(view.kind))
    return f"↻ {clean(view.rollout).partition(':')[0].removesuffix(' updated')}"


def _workload(view: WorkloadView, size: int, counted: int, *, roomy: bool) -> Line:
    well = view.ready >= view.wanted
    done = is_done(view)
    glyph, style = ("●", "ok") if well else ("◑", "warn") if view.ready else ("✗", "error b")
    if not view.wanted and not view.ready:
        glyph, style = "○", "muted"  # nothing is wanted of it
    rollout = "error" if view.rollout.startswith("stuck") else "accent"
    stands = _stands(view, roomy=roomy)
    return (
        ("✓ ", "muted") if done else (f"{glyph} ", style),
        (fit_text(crop_middle(clean(view.name), size), size), "text b"),
        (f"  {_counts(view).ljust(counted)}  ", "muted" if done else "text" if well else "warn"),
        (f"{fit_text(clean(view.kind), 12)} " if roomy else "", "muted"),
        (stands, rollout if view.rollout else "muted"),
        (f" {clean(view.lease)} is at work" if view.lease else "", "warn"),
        (" maintenance" if view.maintenance else "", "warn"),
    )


def node_lines(nodes: Sequence[NodeStatus], width: int, height: int) -> list[Line]:
    """A node a line, those that are not well first."""
    order = sorted(nodes, key=lambda node: (node.ready, not node.reason, node.schedulable))
    size = min(NAME_MOST, max((text_width(node.name) for node in nodes), default=0))
    lines = [fit_line(_node(node, size, width), width) for node in order]
    return _cut(lines, width, height) or [fit_line((("no nodes are known", "faint"),), width)]


def _node(node: NodeStatus, size: int, width: int) -> Line:
    """The fullest form that fits; what is wrong goes before how busy it is."""
    word, style = node_state(node)
    head: Line = ((f"{word[0]} ", style), (fit_text(clean(node.name), size), "text b"))
    share = memory_share(node)
    # A platform that measures neither shows neither.
    cpu: Line = () if node.cpu_percent is None else (("  cpu ", "muted"), *_gauge(node.cpu_percent))
    memory: Line = () if share is None else (("  mem ", "muted"), *_gauge(share))
    said: Line = () if style == "ok" else ((f"  {clean(node.reason) or word[2:]}", style),)
    count: Line = ((f"  {units.plural(node.replicas, 'replica')}", "muted"),)
    forms = (
        (*head, *cpu, *memory, *said, *count),
        (*head, *cpu, *memory, *said),
        (*head, *memory, *said),
    )
    return next((form for form in forms if line_width(form) <= width), (*head, *said))


def _gauge(share: float) -> Line:
    """An eighth of a cell for each eighth of the whole, and the number."""
    style = "warn" if share >= 90 else "text"
    return ((BARS[min(7, int(share / 12.5))], style), (f"{units.percent(share):>4}", style))


def port_lines(ports: Sequence[PortView], width: int, height: int) -> list[Line]:
    """How things can be reached: what a browser opens, else the port."""
    lines: list[Line] = []
    for port in ports:
        place = port.url or (f"port {port.node_port or port.service_port or port.container_port}")
        lines.append(
            fit_line(
                (
                    (fit_text(clean(port.workload) or units.NOTHING, 12), "text b"),
                    (f" {clean(place)}", "accent" if port.url else "text"),
                    (f"  {clean(port.source)}", "muted"),
                ),
                width,
            )
        )
    return _cut(lines, width, height) or [fit_line((("nothing listens for others", "faint"),), width)]


def _cut(lines: list[Line], width: int, height: int) -> list[Line]:
    """The last line says how many more there are."""
    if len(lines) <= height:
        return lines
    left = len(lines) - max(0, height - 1)
    return [*lines[: max(0, height - 1)], fit_line(((f"… {left} more", "muted"),), width)]


def trouble_line(trouble: Trouble, width: int) -> Line:
    """One calm line: what is wrong and what to do. The remedy goes before the sentence where room is short; how old
    the data is stands in the fleet's line."""
    sentence: Line = ((" ▲ ", "warn b"), (clean(trouble.message), "warn"))
    remedy: Line = ((f"  {clean(trouble.next_step)}", "muted"),) if trouble.next_step else ()
    whole = (*sentence, *remedy)
    begun = width - line_width(sentence) >= _REMEDY  # enough of the remedy to know which it is
    return fit_line(whole if begun or line_width(whole) <= width else sentence, width)


def trouble_lines(trouble: Trouble, width: int, height: int) -> list[Line]:
    """The same in two lines where one is too short for both and `height` allows it."""
    needed = text_width(clean(trouble.message)) + text_width(clean(trouble.next_step)) + 5
    if height < 2 or not trouble.next_step or needed <= width:
        return [trouble_line(trouble, width)]
    remedy: Line = (("   ", "text"), (clean(trouble.next_step), "muted"))
    return [trouble_line(msgspec.structs.replace(trouble, next_step=""), width), fit_line(remedy, width)]
