"""Runs the console on a terminal and gives the terminal back whatever happens. The CLI's only door to the screen."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

from backend.contract import exit_codes
from backend.contract.control import SeriesPoint, Snapshot
from backend.contract.errors import TrinityError, UsageError
from console.render.theme_shelf import ThemeShelf, first_theme
from console.state.places import history_file, keymap_file, preferences_file
from console.state.source import FleetSource
from console.tui.first_light import first_frame
from console.tui.hygiene import Terminal

if TYPE_CHECKING:
    from console.state.daemon_fleets import DaemonFleets
    from console.state.keymap import Keymap

LOW_BANDWIDTH_INTERVAL_S: Final = 3.0
SWITCH_INTERVAL_S: Final = 0.001
"""Keys come and frames go through threads: none of them waits longer for the interpreter."""
FRAMES_PER_S: Final = "240"
"""How soon after a frame the screen library may compose another: a key right after an update waits no 16 ms. How many
are sent is the governor's."""
FAREWELL = "The fleet goes on running. Stop it with: trinity down"


def run_console(
    source_factory: Callable[[], FleetSource],
    *,
    others: Sequence[tuple[str, Callable[[], FleetSource]]] = (),
    read_only: bool = False,
    theme: str | None = None,
    interval_s: float = 1.0,
    first_snapshot: Snapshot | None = None,
    first_points: Sequence[SeriesPoint] = (),
    bell: bool = True,
    log_path: Path | None = None,
    replay: bool = False,
    low_bandwidth: bool = False,
    keymap_path: Path | None = None,
    fleets: DaemonFleets | None = None,
) -> int:
    """Show the console until it is left. Returns the exit code. `source_factory` is called after the first frame,
    in a thread, and again after each failure, until it returns a source; `others` are more fleets, in tabs, and
    so are the other `fleets` of the daemon, now and later. With `replay` it is a recording. `low_bandwidth` is for
    links that carry little: data every few seconds, 256 colours.

    Raises UsageError where there is no terminal or the keymap file is wrong.
    """
    if not (os.isatty(0) and (os.isatty(1) or os.isatty(2))):
        raise UsageError("The console needs a terminal.", "Use `trinity status`, or another command, in scripts.")
    for name in ("COLUMNS", "LINES"):
        os.environ.pop(name, None)  # a shell or `docker exec -e` may have left them: the terminal knows its size itself
    keymap = _keymap(keymap_path)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    os.environ.setdefault("TEXTUAL_FPS", FRAMES_PER_S)
    terminal = Terminal()
    with terminal:
        try:
            _paint_first(theme, first_snapshot)
            place = log_path or _own_log()
            handler = _log_to(place)
            from console.state.late_source import LateSource
            from console.tui.terminal_app import TerminalApp

            app = TerminalApp(
                LateSource(source_factory),
                others=[(name, LateSource(factory)) for name, factory in others],
                read_only=read_only,
                theme=theme,
                interval_s=max(interval_s, LOW_BANDWIDTH_INTERVAL_S) if low_bandwidth else interval_s,
                first_snapshot=first_snapshot,
                first_points=first_points,
                bell=bell,
                replay=replay,
                low_bandwidth=low_bandwidth,
                keymap=keymap,
                preferences=preferences_file(),
                fleets=fleets,
            )
            app.terminal = terminal
            app.history_path = history_file()
            result = app.run()
        except BaseException:
            terminal.restore()
            raise
    logging.getLogger("trinity.console").removeHandler(handler)
    if app.crash is not None:
        return _report_crash(app.crash, place, sys.stderr)
    code = app.return_code or (result if isinstance(result, int) else exit_codes.OK)
    if not replay and (code < 128 or code == exit_codes.INTERRUPTED):
        print(FAREWELL)  # noqa: T201 - the one line that quitting says
    return code


def _keymap(chosen: Path | None) -> Keymap | None:
    """The file that was named, else the user's own where there is one; only then is the table of keys loaded."""
    path = chosen or keymap_file()
    if chosen is None and not path.exists():
        return None
    from console.tui.keymap import load

    return load(path)


def _paint_first(theme: str | None, snapshot: Snapshot | None) -> None:
    """Before the screen library is loaded, which takes longer than anything else here."""
    spec = ThemeShelf().or_default(first_theme(theme))
    columns, rows = shutil.get_terminal_size()
    frame = first_frame((columns, rows), spec, os.environ, time.time(), snapshot)
    os.write(2 if os.isatty(2) else 1, frame.encode())


def _report_crash(crash: BaseException, place: Path, stream: TextIO) -> int:
    """One sentence after the screen is back; the traceback is in the file."""
    words = crash.message if isinstance(crash, TrinityError) else f"{type(crash).__name__}: {crash}"
    stream.write(f"The console stopped because of an error of its own: {words} Details: {place}\n{FAREWELL}\n")
    return exit_codes.INTERNAL


def _own_log() -> Path:
    import tempfile

    return Path(tempfile.gettempdir()) / f"trinity-console-{os.getuid()}.log"


def _log_to(place: Path) -> logging.Handler:
    """Our own words go to a file: the screen is taken."""
    handler = logging.FileHandler(place, delay=True, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("trinity.console")
    logger.addHandler(handler)
    logger.propagate = False
    return handler
