"""Saves what the log explorer shows to a file: asks for the name, never overwrites unasked, says how far it is."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from console.render import units
from console.state.log_saving import file_name, saved_pages, target, why_not

if TYPE_CHECKING:
    from console.tui.app import TrinityApp
    from console.tui.dialogs import AskDialog
    from console.tui.log_pane import LogPane


def where_to(app: TrinityApp, pane: LogPane) -> AskDialog:
    """Asks for the name."""
    from console.tui.dialogs import AskDialog

    who = "-".join((pane.explorer.replicas or ("all",))[:3])
    return AskDialog("Save these lines to which file?", file_name(who, app.clock.now()), why_not)


async def save_as(app: TrinityApp, pane: LogPane, answer: str) -> None:
    """Save in the background, over a file that is there only when told so."""
    from console.tui.dialogs import Choice, PickDialog

    path = target(answer)
    if path.exists():
        choices = [Choice("keep", "Keep it", "nothing is saved"), Choice("over", "Overwrite", "it is lost")]
        if await app.push_screen_wait(PickDialog(f"{path.name} exists", choices)) != "over":
            app.say("Nothing was saved.", "muted")
            return
    pane.stop_saving()
    pane.save_in(app.run_worker(_save(app, pane, path), exit_on_error=False, group="log save"))


async def _save(app: TrinityApp, pane: LogPane, path: Path) -> None:
    """Into a file beside it first: what stands there under the name is whole, before and after."""
    count, beside = 0, ""
    try:
        file_number, beside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(file_number, "wb") as file:
            for data, lines in saved_pages(pane.explorer.store, pane.explorer.query()):
                await asyncio.to_thread(file.write, data)
                count += lines
                pane.busy = f"saving {units.count(count)}"
                pane.soon()
        await asyncio.to_thread(os.replace, beside, path)
        beside = ""
        app.say(f"✓ {units.plural(count, 'line')} saved to {path}", "ok")
    except OSError as error:
        app.say(f"✗ Not saved to {path}: {error.strerror or error}.", "error")
    finally:
        if beside:
            Path(beside).unlink(missing_ok=True)
        pane.busy = ""
        pane.sync()
