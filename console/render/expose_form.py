"""The expose dialog as lines: its three fields, a warning where everybody could come in, the keys. Pure."""

from __future__ import annotations

from typing import Final

from console.render.panels import wrapped
from console.render.spans import EMPTY, Line, fit_line, on
from console.state.expose_form import ExposeForm

LABEL: Final = 13
WARNING: Final = (
    "▲ Everybody who reaches this machine will reach it, and nothing on the way asks who they are. "
    "Use it where you trust the network, and stop it afterwards."
)


def expose_lines(form: ExposeForm, width: int) -> list[Line]:
    """As many lines whatever is typed, so that the box stands still; the warning alone adds some."""
    port, local = form.values
    others = [str(known) for known in form.known if str(known) != port]
    interfaces = "the whole network" if form.everywhere else "this machine only"
    rows: list[tuple[str, str, str, str]] = [
        ("its port", port, f"← → {' '.join(others)}" if others else "", "text b"),
        ("port here", local or "the same", "" if local else "where it is free; or type one", "text b"),
        ("reached from", interfaces, "space changes it", "warn b" if form.everywhere else "text b"),
    ]
    lines: list[Line] = [fit_line(((f"Expose {form.target}", "accent b"),), width), fit_line(EMPTY, width)]
    for at, (label, value, hint, style) in enumerate(rows):
        here = at == form.at
        cursor = "▏" if here and at < 2 else " "
        words: Line = (
            ("▸ " if here else "  ", "accent b"),
            (label.ljust(LABEL), "text" if here else "muted"),
            (value, style if value else "faint"),
            (cursor, "accent"),
            (f"  {hint}" if hint else "", "faint"),
        )
        line = fit_line(words, width)
        lines.append(on(line, "on-cursor") if here else line)
    lines.append(fit_line(EMPTY, width))
    if form.everywhere:
        lines += [*wrapped(WARNING, width, "warn"), fit_line(EMPTY, width)]
    hints = (("enter", "accent"), (" goes on   ", "muted"), ("tab", "accent"), (" next   ", "muted"))
    foot: Line = (*hints, ("esc", "accent"), (" cancels", "muted"))
    lines.append(fit_line(((form.problem, "error"),) if form.problem else foot, width))
    return lines
