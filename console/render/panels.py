"""The panels of the overview as lines: fleet line, titles, scaling, feed. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from backend.contract.control import ScalingView, Snapshot
from backend.contract.rows import ActionRow, EventRow
from backend.contract.words import ActionOutcome, Severity
from console.render import units
from console.render.spans import EMPTY, Line, Span, clean, fit_line, join, line_width, text_width
from console.render.theme import Shape
from console.render.words import ACTIONS, HEALTH, SEVERITIES, UNKNOWN, driver_word
from console.state.store import FleetState

SEPARATOR: Final[Span] = ("   ", "text")


def title(text: str, info: Line, width: int, shape: Shape, *, focused: bool = False) -> Line:
    """A panel's first line: its name, a rule, what there is to know at a glance."""
    word = {"upper": text.upper(), "bracket": f"[{text.lower()}]"}.get(shape.title, text)
    head: Line = ((word, "accent b" if focused else "title b"), (" ", "text"))
    room = width - line_width(head)
    tail = fit_line(info, min(line_width(info), max(0, room - 1))) if info else EMPTY
    rule = room - line_width(tail) - (1 if tail else 0)
    return fit_line((*head, (shape.rule * max(0, rule), "rule"), (" " if tail else "", "text"), *tail), width)


GONE_S: Final = 15.0
"""A daemon that is taken up again by its successor is back by then."""
_AGAIN, _GONE = " reconnecting", " reconnecting; `{up}` starts the daemon"


def fleet_line(state: FleetState, width: int, now: float) -> Line:
    """Health first; what does not fit goes from the right."""
    snapshot = state.snapshot
    if snapshot is None:
        reason = clean(state.reason) or "the first frame shows as soon as the daemon answers"
        return fit_line(((" ◔ connecting", "accent b"), SEPARATOR, (reason, "muted")), width)
    parts = [part for part in _fleet_parts(state, snapshot, now) if part]
    while len(parts) > 1 and 1 + line_width(join(parts, SEPARATOR)) > width:
        parts.pop()
    return fit_line(((" ", "text"), *join(parts, SEPARATOR)), width)


def _up(snapshot: Snapshot) -> str:
    """The command that starts this fleet's daemon; without a name it would be the local fleet's."""
    return "trinity up" if snapshot.driver == "local" else f"trinity up --fleet {clean(snapshot.fleet)}"


def _fleet_parts(state: FleetState, snapshot: Snapshot, now: float) -> list[Line]:
    """In order of importance."""
    glyph, style = HEALTH.get(snapshot.health, UNKNOWN)
    point = snapshot.point
    ready_style = "text" if point.ready >= point.wanted else "warn b"
    head: Line = ((f"{glyph} {snapshot.fleet} ", style), (snapshot.health, style))
    stale = state.stale_s(now)
    badge: Line = EMPTY
    if state.past:
        badge = ((f" ◷ {state.past} ", "accent r b"),)
    elif stale is not None:
        words = _AGAIN if stale < GONE_S else _GONE.format(up=_up(snapshot))
        badge = ((f" STALE {units.age(stale)} ", "error r b"), (words, "muted"))
    elif snapshot.trouble is not None:
        badge = ((f" STALE {units.age(now - snapshot.trouble.since_ts)} ", "warn r b"),)
    elif state.link == "connecting":
        badge = ((f" STALE {units.age(now - snapshot.ts)} ", "warn r b"), (" connecting", "muted"))
    unseen = len(state.unacknowledged())
    alarms: Line = (
        ((f"✗ {units.plural(unseen, 'alarm')}", "error b"), (" (A acknowledges)", "muted")) if unseen else EMPTY
    )
    dropped = snapshot.dropped_rows + state.missed_events
    errors = point.errors_per_s
    if not snapshot.has_edge:
        counts, more = _platform_parts(snapshot)
        why: Line = ((snapshot.health_reason, "warn"),) if snapshot.health_reason else EMPTY
        return [badge, head, *counts, alarms, _lost(dropped), *more, *_machine_parts(snapshot), why]
    return [
        badge,
        head,
        ((f"{point.ready}/{point.wanted}", ready_style), (" ready", "muted")),
        ((units.rate(point.requests_per_s), "text"), (" req/s", "muted")),
        ((units.rate(errors), "error b" if errors else "text"), (" err/s", "muted")),
        alarms,
        ((units.rate(point.tokens_per_s), "text"), (" tok/s", "muted")),
        (("queue ", "muted"), (units.count(point.queued), "warn b" if point.queued else "text")),
        _load_words(snapshot),
        _lost(dropped),
        ((snapshot.health_reason, "warn"),) if snapshot.health_reason else EMPTY,
        (("edge down", "error b"),) if not snapshot.edge_up else EMPTY,
        *_machine_parts(snapshot),
        ((snapshot.public_url, "muted"),) if snapshot.public_url else EMPTY,
    ]


def _lost(rows: int) -> Line:
    return ((f"{units.count(rows)} rows lost", "error b"),) if rows else EMPTY


def _machine_parts(snapshot: Snapshot) -> list[Line]:
    point = snapshot.point
    if snapshot.driver == "kubernetes" and all(node.cpu_percent is None for node in snapshot.nodes):
        return []  # it would be that of the daemon's machine
    return [
        (("cpu ", "muted"), (units.percent(point.cpu_percent), "text")),
        (("mem ", "muted"), (units.percent(point.memory_percent), "text")),
    ]


def _platform_parts(snapshot: Snapshot) -> tuple[list[Line], list[Line]]:
    """What there is to count where no requests are seen: what matters, and the rest."""
    point, nodes = snapshot.point, snapshot.nodes
    style = "text" if point.ready >= point.wanted else "warn b"
    up = sum(node.ready for node in nodes)
    forwards = len(snapshot.forwards)
    word = driver_word(snapshot.driver)
    counts: list[Line] = [
        ((f"{point.ready}/{point.wanted}", style), (" ready", "muted")),
        ((f"{up}/{len(nodes)}", "text" if up == len(nodes) else "warn b"), (" nodes", "muted")) if nodes else EMPTY,
    ]
    more: list[Line] = [
        ((units.plural(forwards, "forward"), "accent"),) if forwards else EMPTY,
        ((units.plural(len(snapshot.workloads), "workload"), "muted"),),
        ((word, "muted"),) if not snapshot.fleet.startswith(word) else EMPTY,
    ]
    return counts, more


def _load_words(snapshot: Snapshot) -> Line:
    load = snapshot.load
    if not load.running:
        return EMPTY
    words: Line = (("load ", "muted"), (f"{units.rate(load.rate)}/s", "accent"))
    return (*words, (f" {load.failed} failed", "error b")) if load.failed else words


def scaling_lines(views: Iterable[ScalingView], width: int, now: float) -> list[Line]:
    """What the autoscaler sees, wants and may do; one block a workload."""
    out: list[Line] = []
    for view in views:
        state: Span = ("on", "ok b") if view.enabled else ("off", "muted")
        head: Line = (
            (f"{view.workload} ", "text b"),
            state,
            (f"  {view.current}", "text"),
            (f" of {view.minimum}-{view.maximum}", "muted"),
            (f"  {view.policy}", "muted"),
            (f"  {view.maximum_note}" if view.maximum_note else "", "faint"),
        )
        out.append(fit_line(head, width))
        inputs = _inputs(view)
        together = join(inputs, ("  ", "text"))
        out += [fit_line(line, width) for line in ([together] if line_width(together) <= width else inputs)]
        when = f"{units.age(now - view.last_decision_ts)} ago  " if view.last_decision_ts else ""
        if view.cooldown_left_s > 0:
            when = f"cooling down {max(10, round(view.cooldown_left_s / 10) * 10)} s  "
        decision = clean(view.last_decision) or "no decision yet"
        out.append(fit_line(((when, "muted"), (decision, "text" if view.enabled else "muted")), width))
    return out or [fit_line((("no workload can be scaled", "muted"),), width)]


_INPUTS: Final = (
    ("cpu", "cpu_percent", ("cpu_percent_target", "cpu_target", "target_cpu_percent"), "%"),
    ("queue", "queue_depth", ("queue_depth_target", "queue_target", "target_queue_depth"), ""),
    ("ttft p99", "ttft_p99_ms", ("ttft_p99_ms_target", "ttft_target_ms", "target_ttft_ms", "ttft_ms_target"), " ms"),
)


def _inputs(view: ScalingView) -> list[Line]:
    """Each input beside its target; a breach is marked with a word's worth of glyph, not by colour alone."""
    out: list[Line] = []
    for label, key, targets, unit in _INPUTS:
        if key not in view.inputs:
            continue
        value = view.inputs[key]
        target = next((view.inputs[name] for name in targets if name in view.inputs), None)
        if value is None:
            goal = f"/{target:.0f}{unit}" if isinstance(target, int | float) else ""
            out.append(((f"{label} ", "muted"), ("idle", "faint"), (goal, "faint")))
            continue
        over = isinstance(value, int | float) and isinstance(target, int | float) and value > target
        shown = f"{value:.0f}" if isinstance(value, int | float) else str(value)
        goal = f"/{target:.0f}{unit}" if isinstance(target, int | float) else unit
        out.append(
            ((f"{label} ", "muted"), (f"{'▲' if over else ''}{shown}", "warn b" if over else "text"), (goal, "faint"))
        )
    return out


def feed_lines(events: Sequence[EventRow], actions: Sequence[ActionRow], width: int, height: int) -> list[Line]:
    """Events and actions together, newest first; debug events and events about actions are in the journal only."""
    told = [row for row in events if row.severity != Severity.DEBUG and not row.kind.startswith("action.")]
    both: list[tuple[float, Line]] = [(row.ts, event_line(row)) for row in told[-height:]]
    both += [(row.ts, action_line(row)) for row in list(actions)[-height:]]
    both.sort(key=lambda item: item[0], reverse=True)
    if not both:
        return [fit_line((("nothing has happened yet", "faint"),), width)]
    return [fit_line(line, width) for _, line in both[:height]]


def event_line(row: EventRow) -> Line:
    glyph, style = SEVERITIES[row.severity]
    tone = style if row.severity not in ("info", "debug") else "text"
    named = row.message.startswith(row.subject)
    return (
        (units.time_of_day(row.ts), "faint"),
        (f" {glyph} ", style),
        ("" if named else f"{clean(row.subject)} ", "muted"),
        (clean(row.message), tone),
    )


def action_line(row: ActionRow) -> Line:
    glyph, style = ACTIONS[row.outcome]
    tail = row.result or row.preview
    return (
        (units.time_of_day(row.ts), "faint"),
        (f" {glyph} ", style),
        (f"{clean(row.actor)} ", "muted"),
        (f"{row.verb} {clean(row.target)}".rstrip(), "accent" if row.outcome == ActionOutcome.RUNNING else "text b"),
        (f": {clean(tail)}" if tail else "", "muted"),
    )


def wrapped(text: str, width: int, style: str = "text", indent: str = "") -> list[Line]:
    """Words on as many lines as they need."""
    lines: list[Line] = []
    current = ""
    for word in clean(text).split(" "):
        candidate = f"{current} {word}" if current else word
        if text_width(indent + candidate) > width and current:
            lines.append(fit_line(((indent + current, style),), width))
            current = word
        else:
            current = candidate
    lines.append(fit_line(((indent + current, style),), width))
    return lines
