"""Opens the console as the command line asks: on which fleets, with which screen or none. Owns no screen and no fleet.

The screen comes first; what it shows is found, and a daemon started, behind it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from backend.contract.errors import UsageError

if TYPE_CHECKING:
    from backend.contract.control import SeriesPoint, Snapshot
    from console.state.daemon_fleets import DaemonFleets
    from console.state.simulated import Simulated
    from console.state.source import FleetSource

Factory = Callable[[], "FleetSource"]
HISTORY_S: Final = 900


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """The options of `trinity` without a command, by their names."""

    state: Path | None = None
    fleet: str | None = None
    file: Path | None = None
    auto_port: bool = False
    read_only: bool = False
    theme: str | None = None
    low_bandwidth: bool = False
    attach: Sequence[str] = ()
    simulate: Sequence[Simulated] = ()
    keymap: Path | None = None
    plain: bool = False


def open_console(wanted: Opening) -> int:
    """Show it until it is left. Returns the exit code; raises TrinityError before there is anything to show."""
    if wanted.simulate:
        from console.state.simulator import SimulatorSource

        made = [
            partial(SimulatorSource, replicas=one.replicas, driver=one.driver, edge=one.edge, seed=7 + at)
            for at, one in enumerate(wanted.simulate)
        ]
        names = [f"simulated-{at}" if one.driver == "local" else "" for at, one in enumerate(wanted.simulate, 1)]
        return _show(wanted, made[0], [(name, factory) for name, factory in zip(names, made, strict=True)][1:])
    import asyncio

    from backend.commands.place import Place
    from backend.config.paths import StatePaths
    from backend.control_client import ControlClient
    from console.state.daemon_fleets import DaemonFleets
    from console.state.fleet_list import all_places, read_fleets
    from console.state.places import fleets_file

    place = Place(wanted.state, wanted.fleet)
    chosen = place.starting_file(wanted.file)
    fleets = DaemonFleets(lambda name: ControlClient(place.daemon.control_socket, fleet=name))

    def source() -> ControlClient:
        place.start(file=chosen, auto_port=wanted.auto_port)
        name = asyncio.run(place.settle())
        fleets.begin(name)
        return ControlClient(place.daemon.control_socket, fleet=name)

    places = all_places(wanted.attach, read_fleets(fleets_file()), place.daemon.state_dir)
    others = [(one.name, partial(ControlClient, StatePaths(one.state).control_socket)) for one in places]
    return _show(wanted, source, others, recording=place.paths.recording_dir, fleets=fleets)


def _show(
    wanted: Opening,
    factory: Factory,
    others: Sequence[tuple[str, Factory]] = (),
    *,
    recording: Path | None = None,
    fleets: DaemonFleets | None = None,
) -> int:
    """On a screen, or as lines where there is none or none is wanted."""
    from console.render.ability import is_dumb

    if wanted.plain or (is_dumb(os.environ) and sys.stdout.isatty()):
        if wanted.attach or len(wanted.simulate) > 1:
            raise UsageError("Lines tell of one fleet.", "Leave out --attach, or start one `trinity --plain` for each.")
        from console.plain import run_plain

        return run_plain(factory)
    from console.tui.run import run_console

    snapshot, points = _last_seen(recording)
    return run_console(
        factory,
        others=others,
        read_only=wanted.read_only,
        theme=wanted.theme,
        low_bandwidth=wanted.low_bandwidth,
        first_snapshot=snapshot,
        first_points=points,
        keymap_path=wanted.keymap,
        fleets=fleets,
    )


def _last_seen(recording: Path | None) -> tuple[Snapshot | None, list[SeriesPoint]]:
    """What the flight recorder saw last, and the minutes before it: the first frames show it, marked stale, while the
    daemon is asked."""
    from backend.recording.reader import Recording

    if recording is None:
        return None, []
    try:
        held = Recording(recording)
        snapshot = held.newest()
        return snapshot, held.points(snapshot.ts - HISTORY_S, snapshot.ts) if snapshot else []
    except OSError:
        return None, []
