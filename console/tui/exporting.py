"""`E`: the present view to a file, as SVG, as text, or its table's rows. Owns names, formats and the question."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from console.render.plain_text import as_tsv
from console.tui import picture
from console.tui.polling import later

if TYPE_CHECKING:
    from console.tui.app import TrinityApp
    from console.tui.vtable import VTable

PICTURES: Final = (".svg", ".txt")
ROWS: Final = ".tsv"


class Exporting:
    """The part behind `E` and `:export`."""

    def __init__(self, app: TrinityApp) -> None:
        self.app = app

    def ask(self, name: str = "") -> None:
        """Ask for a file's name, then write it."""
        self.app.run_worker(later(self._ask, name), exit_on_error=False, group="export", exclusive=True)

    def to(self, name: str | None) -> None:
        """`:export FILE`: at once, unless something is wrong with the name or the file is there."""
        path = Path(name or "").expanduser()
        if name is None or self.problem(path) or path.exists():
            self.ask(name or "")
        else:
            self.app.call_after_refresh(self._write, path)

    async def _ask(self, name: str) -> None:
        from console.tui.dialogs import AskDialog

        kinds = ", ".join((*PICTURES, ROWS) if self._table() is not None else PICTURES)
        question = f"Export {self.app.view.label.lower() or self.app.view_name} to which file? ({kinds})"
        answer = await self.app.push_screen_wait(AskDialog(question, name or self.default_name(), self._check()))
        if answer is not None:
            self.app.call_after_refresh(self._write, Path(answer).expanduser())

    def default_name(self) -> str:
        stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(self.app.clock.now()))
        return f"trinity-{self.app.view_name}-{stamp}.svg"

    def _check(self) -> Callable[[str], str]:
        """What is wrong with an answer. A file that is there is written over when the same answer comes again."""
        warned: list[str] = []

        def check(answer: str) -> str:
            path = Path(answer).expanduser()
            problem = self.problem(path)
            if problem or not path.exists() or answer in warned:
                return problem
            warned.append(answer)
            return f"{path.name} is there already. Enter again writes over it."

        return check

    def problem(self, path: Path) -> str:
        """Why nothing can be written there, or nothing."""
        unfit = self.unfit(path.suffix)
        if unfit:
            return unfit
        if path.is_dir():
            return f"{path} is a folder."
        if not path.parent.is_dir():
            return f"There is no folder {path.parent}."
        if not os.access(path.parent, os.W_OK):
            return f"Nothing may be written to {path.parent}."
        return ""

    def unfit(self, suffix: str) -> str:
        """Why the present view cannot be written in that format, or nothing."""
        kinds = (*PICTURES, ROWS)
        if suffix.lower() not in kinds:
            return f"The name's end says what to write: {', '.join(kinds)}."
        if suffix.lower() == ROWS and self._table() is None:
            return f"There is no table in this view: {' or '.join(PICTURES)}."
        return ""

    def _table(self) -> VTable[Any] | None:
        return self.app.view.table()

    def content(self, suffix: str) -> str:
        """The present view in a format."""
        match suffix.lower():
            case ".svg":
                return self.app.export_screenshot(title=f"trinity {self.app.view.label.lower()}".strip())
            case ".txt":
                return picture.text(self.app)
        table = self._table()
        if table is None:
            return ""
        return as_tsv(table.model.columns, table.model.order, self.app.clock.now())

    async def _write(self, path: Path) -> None:
        try:
            await asyncio.to_thread(path.write_text, self.content(path.suffix), encoding="utf-8")
        except OSError as error:
            self.app.say(f"✗ {path} was not written: {error.strerror or error}", "error")
        else:
            self.app.say(f"✓ wrote {path}", "ok")
