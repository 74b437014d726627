"""The list of drills and the one under the cursor in full: what it proves, what it would do now, how it went. Pure."""

from __future__ import annotations

import re
from typing import Final

from backend.contract.control import DrillInfo, DrillView
from backend.contract.words import DrillOutcome
from console.render import units
from console.render.description import field, section
from console.render.panels import wrapped
from console.render.spans import EMPTY, Line, Span, clean, fit_line
from console.render.words import DRILLS
from console.state.drill_live import detection_s
from console.state.table import Column

_HEAD: Final = re.compile(r"(?:[^:(]|\([^)]*\))+(?=:)")
"""What a sentence is about: up to its first colon that is not in brackets."""
NEVER: Final[Span] = (f"{units.NOTHING} never run", "faint")


def outcome_cell(view: DrillView | None) -> Span:
    """Glyph and word of a run."""
    if view is None:
        return NEVER
    glyph, style = DRILLS[view.outcome]
    return (f"{glyph} {view.outcome}", style)


def took_s(view: DrillView | None) -> float | None:
    return None if view is None or view.ended_ts is None else view.ended_ts - view.started_ts


def _detected(info: DrillInfo) -> float | None:
    return detection_s(info.last) if info.last is not None else None


def _quiet(text: str, value: object, style: str = "text") -> Span:
    return (text if value is not None else "", style)


DRILL_COLUMNS: tuple[Column[DrillInfo], ...] = (
    Column(key="name", title="DRILL", width=18, flex=1, cell=lambda d, _: (d.name, "text b"), sort=lambda d: d.name),
    Column(
        key="outcome",
        title="LAST RUN",
        width=15,
        cell=lambda d, _: outcome_cell(d.last),
        sort=lambda d: outcome_cell(d.last)[0],
    ),
    Column(
        key="when",
        kind="seconds",
        timely=True,
        value=lambda d, now: now - d.last.started_ts if d.last else None,
        title="AGO",
        width=4,
        align="right",
        priority=1,
        cell=lambda d, now: (units.age(now - d.last.started_ts) if d.last else "", "muted"),
        sort=lambda d: d.last.started_ts if d.last else None,
    ),
    Column(
        key="detected",
        kind="seconds",
        title="DETECTED",
        width=8,
        align="right",
        priority=2,
        cell=lambda d, _: _quiet(units.latency(_detected(d)), _detected(d)),
        sort=_detected,
    ),
    Column(
        key="took",
        kind="seconds",
        title="TOOK",
        width=6,
        align="right",
        priority=3,
        cell=lambda d, _: _quiet(units.duration(took_s(d.last)), took_s(d.last), "muted"),
        sort=lambda d: took_s(d.last),
    ),
    Column(
        key="tags",
        title="TAGS",
        width=24,
        priority=5,
        cell=lambda d, _: (" ".join(d.tags), "muted"),
        sort=lambda d: " ".join(d.tags),
    ),
    Column(
        key="title",
        title="WHAT IT PROVES",
        width=44,
        flex=2,
        priority=4,
        cell=lambda d, _: (clean(d.title), "text"),
        sort=lambda d: d.title,
    ),
)


def drill_haystack(info: DrillInfo) -> str:
    return f"{info.name} {info.title} {' '.join(info.tags)} {info.last.outcome if info.last else 'never'}"


def drill_lines(info: DrillInfo, now: float, width: int, *, planning: bool = False) -> list[Line]:
    """What a drill proves, whether it may run, its plan, its last run."""
    lines = wrapped(info.title or info.name, width, "text b")
    if info.description and info.description != info.title:
        lines += [EMPTY, *wrapped(" ".join(info.description.split()), width, "text")]
    lines += [EMPTY, _last_words(info.last, now)]
    if info.last is not None and info.last.detail:
        lines += wrapped(info.last.detail, width, "muted" if info.last.outcome == DrillOutcome.PASS else "warn")
    lines += section("What would happen now")
    if not info.plan:
        lines.append((("planning …" if planning else "the daemon did not say", "faint"),))
    for sentence in info.plan:
        lines += plan_sentence(sentence, width)
    lines.append(EMPTY)
    if info.last is not None:
        lines.append(field("last run", (clean(info.last.run_id), "muted")))
    if info.tags:
        lines.append(field("tags", (clean(" ".join(info.tags)), "muted")))
    if info.path:
        lines.append(field("file", (clean(info.path), "muted")))
    return lines


def _last_words(last: DrillView | None, now: float) -> Line:
    if last is None:
        return (("Last run  ", "muted"), NEVER, ("  enter", "accent"), (" runs it", "muted"))
    words: list[Span] = [("Last run  ", "muted"), outcome_cell(last)]
    words.append((f"  {units.age(now - last.started_ts)} ago", "muted"))
    if (took := took_s(last)) is not None:
        words.append((f"  took {units.duration(took)}", "muted"))
    if (found := detection_s(last)) is not None:
        words.append((f"  detected in {units.latency(found)}", "muted"))
    return tuple(words)


def plan_sentence(sentence: str, width: int) -> list[Line]:
    """A sentence of the plan: phases stand out, what belongs to one is set in, refusals cannot be missed."""
    text = sentence.strip()
    depth = min(3, (len(sentence) - len(sentence.lstrip())) // 2)
    if text.casefold().startswith("refused"):
        return _hung(("⊘ ", "warn b"), text, width, "warn b")
    pad: Span = ("  " * depth, "text")
    if depth == 0:
        found = _HEAD.match(text)
        out = _hung(("• ", "muted"), text, width, "text")
        head, first = (found.group() if found else ""), out[0]
        if head and first[1][0].startswith(f"{head}:"):
            return [
                fit_line((first[0], (f"{head}:", "text b"), (first[1][0][len(head) + 1 :], "text")), width),
                *out[1:],
            ]
        return out
    return [fit_line((pad, *line), width) for line in _hung(("  ", "text"), text, width - 2 * depth, "muted")]


def _hung(mark: Span, text: str, width: int, style: str) -> list[Line]:
    words = wrapped(text, max(8, width - 2), style)
    return [fit_line((mark if at == 0 else ("  ", "text"), *line), width) for at, line in enumerate(words)]
