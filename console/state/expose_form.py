"""The question which port leads where, without a screen: three fields, what keys do to them, what is wrong. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

FIELDS: Final = ("port", "here", "interfaces")
LOOPBACK: Final = "127.0.0.1"
EVERYWHERE: Final = "0.0.0.0"  # noqa: S104 - what is asked for; nothing is bound here
_DIGITS: Final = 5


class Exposure(msgspec.Struct, frozen=True, kw_only=True):
    """The answer. A null `local_port` lets the daemon choose: the same number where that is free."""

    target: str
    port: int
    local_port: int | None = None
    bind: str = LOOPBACK


class ExposeForm:
    """`press` keys until `answer` has one."""

    def __init__(self, target: str, ports: Sequence[int]) -> None:
        self.target = target
        self.known = tuple(dict.fromkeys(ports))
        self.values = [str(self.known[0]) if self.known else "", ""]
        """What stands in the first two fields."""
        self.everywhere = False
        self.at = 0
        self.problem = ""
        self._fresh = True
        """The field was just come to: a digit begins anew."""

    def press(self, key: str) -> bool:
        """Whether that key means something here."""
        self.problem = ""
        if key in ("down", "tab", "up", "shift+tab"):
            self.at = (self.at + (1 if key in ("down", "tab") else -1)) % len(FIELDS)
            self._fresh = True
        elif self.at == 2:
            if key not in ("space", "left", "right"):
                return False
            self.everywhere = not self.everywhere
        elif key in ("left", "right") and self.at == 0 and self.known:
            self._cycle(1 if key == "right" else -1)
        elif key == "backspace":
            self.values[self.at] = "" if self._fresh else self.values[self.at][:-1]
            self._fresh = False
        elif len(key) == 1 and key.isdecimal() and key.isascii():
            self.values[self.at] = ("" if self._fresh else self.values[self.at])[: _DIGITS - 1] + key
            self._fresh = False
        else:
            return False
        return True

    def _cycle(self, step: int) -> None:
        """The next known port; from a number of one's own, the first."""
        here = self.values[0]
        names = [str(port) for port in self.known]
        self.values[0] = names[(names.index(here) + step) % len(names)] if here in names else names[0]
        self._fresh = True

    def answer(self) -> Exposure | None:
        """What is asked for; null, with `problem` saying why, where a number is none of a port."""
        port, local = (int(value) if value else None for value in self.values)
        for what, number in (("port", port), ("port here", local)):
            if (number is None and what == "port") or (number is not None and not 1 <= number <= 65_535):
                self.problem = f"The {what} is a number from 1 to 65535."
                return None
        assert port is not None
        bind = EVERYWHERE if self.everywhere else LOOPBACK
        return Exposure(target=self.target, port=port, local_port=local, bind=bind)
