"""HAProxy's termination flags in words. Pure; the table is HAProxy 2.8's manual, section 8.5, and our own word."""

from __future__ import annotations

from typing import Final

from backend.edge.join import EDGE_LOST

_CAUSE: Final = {
    "C": "the client closed the connection",
    "S": "the replica closed or refused the connection",
    "P": "the edge refused it by a rule or limit",
    "L": "the edge answered it itself",
    "R": "the edge ran out of a resource (memory, sockets, ports)",
    "I": "the edge failed internally",
    "D": "the edge cut it because the replica was marked down",
    "U": "the edge cut it because a preferred replica came up",
    "K": "an administrator cut it",
    "c": "the client took too long",
    "s": "the replica took too long",
}
_PHASE: Final = {
    "R": "while the request was still arriving",
    "Q": "while it waited in the queue",
    "C": "while connecting to the replica",
    "H": "while waiting for the answer to begin",
    "D": "while the answer was being sent",
    "L": "while the last bytes were sent to the client",
    "T": "while it was held back (tarpit)",
}


def explain_flags(flags: str) -> str:
    """One sentence for a termination like `SD`, `sQ--` or `edge_lost`; unknown letters are named as such."""
    if flags == EDGE_LOST:
        return "The edge itself died while the answer was being sent."
    if not flags or flags.startswith("--"):
        return "Ended cleanly."
    cause, phase = flags[0], flags[1:2] or "-"
    if cause == "-":
        return f"Ended without a fault {_PHASE.get(phase, '')}".strip() + "."
    said = _CAUSE.get(cause, f"ended for a reason HAProxy calls `{cause}`")
    when = _PHASE.get(phase, "")
    return f"{said[0].upper()}{said[1:]}{f', {when}' if when else ''}."
