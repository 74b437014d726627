"""The command line without a screen: what tab, up and down make of a line, and the history that outlives a run.

Owns the cycling and the history; the grammar is console.state.commands. Never carries a command out.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from console.state.commands import Completion, Names, complete

KEPT: Final = 500


class History:
    """Lines, oldest first; a line that comes again moves to the end."""

    def __init__(self, lines: Iterable[str] = (), path: Path | None = None) -> None:
        self.lines = list(dict.fromkeys(reversed([line for line in lines if line.strip()])))[::-1][-KEPT:]
        self.path = path

    @classmethod
    def read(cls, path: Path) -> History:
        """From a file; one that is not there yet is empty, and so is one that cannot be read."""
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            text = ""
        return cls(text.splitlines(), path)

    def add(self, line: str) -> None:
        """Keep a line, in the file too. Raises OSError where the file cannot be written."""
        words = " ".join(line.split())
        if not words:
            return
        self.lines = [*(known for known in self.lines if known != words), words][-KEPT:]
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            fresh = self.path.with_name(f".{self.path.name}.{os.getpid()}")
            fresh.write_text("".join(f"{known}\n" for known in self.lines), encoding="utf-8")
            fresh.replace(self.path)

    def newest(self, begins: str) -> str | None:
        """The newest line that begins so."""
        return next((line for line in reversed(self.lines) if line.startswith(begins)), None)


class CommandLine:
    """What the keys of the line do to its text. `look` says what may follow."""

    def __init__(self, names: Names, history: History) -> None:
        self.names, self.history = names, history
        self._cycle: Completion | None = None
        self._lead = ""
        self._at = -1
        self._given = ""
        self._typed = ""
        self._back = 0

    @property
    def chosen(self) -> int:
        """Which option tab has put into the line; -1 for none."""
        return self._at if self._cycle is not None else -1

    def look(self, text: str) -> Completion:
        """What may follow; while tab cycles, what it cycles through."""
        if self._cycle is not None and text == self._given:
            return self._cycle
        self._cycle = None
        return complete(text, self.names)

    def ghost(self, text: str) -> str | None:
        """The whole line that is probably meant, which begins with `text`."""
        if not text.strip():
            return None
        known = self.history.newest(text)
        if known is not None and known != text:
            return known
        found = complete(text, self.names)
        typed = text[found.start :]
        option = found.options[0] if found.options and typed else ""
        return text + option[len(typed) :] if option.startswith(typed) and option != typed else None

    def tab(self, text: str, step: int = 1) -> str:
        """The line with the next option in it."""
        if self._cycle is None or text != self._given:
            found = complete(text, self.names)
            if not found.options:
                return text
            self._cycle, self._lead, self._at = found, text[: found.start], -1 if step > 0 else 0
            if len(found.options) == 1:
                self._cycle = None
                return self._lead + found.options[0] + self._space(found, found.options[0])
        self._at = (self._at + step) % len(self._cycle.options)
        self._given = self._lead + self._cycle.options[self._at]
        return self._given

    def _space(self, found: Completion, option: str) -> str:
        """A blank where something may follow the only option there was."""
        if found.argument is not None and found.argument.kind == "path":
            return ""
        following = complete(f"{self._lead}{option} ", self.names)
        return " " if following.argument is not None else ""

    def older(self, text: str) -> str:
        """The line before, of those that begin with what was typed."""
        if not self._back:
            self._typed = text
        found = self._begun()
        if self._back < len(found):
            self._back += 1
        return found[-self._back] if found and self._back else text

    def newer(self, text: str) -> str:
        """Towards what was typed."""
        if not self._back:
            return text
        self._back -= 1
        return self._begun()[-self._back] if self._back else self._typed

    def typed(self) -> None:
        """A key changed the line: the walk through the history is over."""
        self._back = 0

    def _begun(self) -> list[str]:
        return [line for line in self.history.lines if line.startswith(self._typed)]
