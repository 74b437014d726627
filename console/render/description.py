"""What a platform says of a thing, as lines: the fields of a replica there, the sections of a description. Pure."""

from __future__ import annotations

from backend.contract.fleet import ReplicaStatus
from backend.contract.platform import Description
from console.render import units
from console.render.cause import cause_words
from console.render.panels import wrapped
from console.render.spans import EMPTY, Line, clean, fit_line

LABEL = 13


def field(label: str, *value: tuple[str, str]) -> Line:
    """A label and what it says."""
    return ((label.ljust(LABEL), "muted"), *value)


def section(text: str) -> list[Line]:
    return [EMPTY, ((text, "accent b"),)]


def platform_fields(status: ReplicaStatus, width: int) -> list[Line]:
    """Why it is not well, then where it runs and what; nothing for a process of this machine."""
    if not status.image:
        return []
    lines: list[Line] = []
    why = cause_words(status)
    if why:
        told = wrapped(why, max(10, width - LABEL), "warn")
        lines += [field("why" if at == 0 else "", *line) for at, line in enumerate(told)]
    ready = status.containers_ready
    if ready is not None:
        style = "text" if ready >= status.containers else "warn"
        lines.append(field("containers", (f"{ready} of {status.containers} ready", style)))
    lines.append(field("image", (clean(status.image), "text")))
    place = [("on ", "muted"), (clean(status.node), "text")] if status.node else []
    owner = [(f"{'   ' if place else ''}kept by ", "muted"), (clean(status.owner), "text")] if status.owner else []
    lines += [field("runs", *place, *owner)] if place or owner else []
    if status.net_rx_bytes_per_s is not None or status.net_tx_bytes_per_s is not None:
        rx, tx = units.size(status.net_rx_bytes_per_s), units.size(status.net_tx_bytes_per_s)
        lines.append(field("network", (f"in {rx}/s   out {tx}/s", "text")))
    return lines


def description_lines(description: Description, width: int) -> list[Line]:
    """Its sections."""
    lines: list[Line] = []
    for title, words in description.sections:
        lines += section(title)
        for text in words:
            indent = " " * (len(text) - len(text.lstrip()))
            lines += wrapped(text.strip(), width, "text", indent=indent)
    return lines[1:]


def source_lines(description: Description, width: int) -> list[Line]:
    """The object itself, as it is written."""
    out: list[Line] = []
    for text in description.source.splitlines():
        key, colon, rest = text.partition(":")
        if colon and not rest.strip(" '\"").startswith("//"):
            out.append(fit_line(((clean(key) + colon, "accent"), (clean(rest), "text")), width))
        else:
            out.append(fit_line(((clean(text), "text"),), width))
    return out
