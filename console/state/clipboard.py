"""The clipboard of the terminal, by the escape sequence OSC 52. Makes sequences; writes none. Pure."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Final

import msgspec

LIMIT: Final = 74_000
"""Bytes of text at most: encoded they stay under the 100,000 characters that terminals take."""
VARIABLE: Final = "TRINITY_CLIPBOARD"


class Copy(msgspec.Struct, frozen=True):
    """What to write to the terminal, and how many characters of the text that leaves out."""

    sequence: str
    left_out: int = 0


def allowed(environ: Mapping[str, str]) -> str:
    """Empty where the terminal's clipboard may be used, else a sentence that says why not."""
    wanted = environ.get(VARIABLE, "osc52")
    if wanted == "off":
        return f"Copying is switched off ({VARIABLE}=off)."
    return "" if wanted in ("osc52", "") else f"{VARIABLE} is {wanted!r}; it knows off and osc52."


def copy(text: str, *, tmux: bool = False) -> Copy:
    """The sequence for a text. Under tmux also past it: which of the two it lets through is a setting of its own."""
    data = text.encode("utf-8", "replace")
    kept = data[:LIMIT].decode("utf-8", "ignore")
    encoded = base64.b64encode(kept.encode("utf-8")).decode("ascii")
    plain = f"\x1b]52;c;{encoded}\x07"
    past = "\x1bPtmux;" + plain.replace("\x1b", "\x1b\x1b") + "\x1b\\" if tmux else ""
    return Copy(plain + past, len(text) - len(kept) if len(data) > LIMIT else 0)
