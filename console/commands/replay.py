"""`trinity replay`: the console on a recording instead of a fleet. Loads the screen only when it shows one."""

from __future__ import annotations

import os
from pathlib import Path

import click

from backend.commands.place import Place, common
from backend.contract.errors import UsageError
from console.render.ability import is_dumb


@click.command()
@click.argument("recording")
@click.option("--check", is_flag=True, help="Read all of it and print what it holds; no screen.")
@click.option("--theme", help="Theme to begin with.")
@common()
def replay(place: Place, recording: str, check: bool, theme: str | None) -> None:
    """Look at RECORDING, a file or an imported recording's name, as the fleet was at any instant of it."""
    from backend.commands.record import check_recording

    if check or place.json:
        check_recording(place, recording)
        return
    if is_dumb(os.environ):
        raise UsageError("This terminal has no screen to show a recording on.", "See what it holds with --check.")
    from backend.recording.shelf import Shelf
    from console.state.replay_source import ReplaySource
    from console.tui.run import run_console

    path: Path = Shelf(place.paths.recordings_dir).find(recording)
    source = ReplaySource(path)
    raise SystemExit(run_console(lambda: source, read_only=True, theme=theme, replay=True))
