"""Where a command acts: the state directory, the fleet, and the daemon there.

Owns the options `--state`, `--fleet`, `--json` that every command takes. What a command needs only once it runs is
imported then: `--help` shows at once.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from backend.commands.parameters import Directory
from backend.contract.errors import TrinityError, Unreachable, UsageError
from backend.version import VERSION

if TYPE_CHECKING:
    from backend.control_client import ControlClient

T = TypeVar("T")

F = Callable[..., Any]


class Place:
    """The state directory and fleet a command was given."""

    def __init__(self, state: Path | None, fleet: str | None, as_json: bool = False) -> None:
        from backend.config.paths import StatePaths, default_state_dir

        self.paths = StatePaths(state.expanduser().resolve() if state else default_state_dir())
        self.fleet = fleet or os.environ.get("TRINITY_FLEET") or "local"
        self.json = as_json
        if self.fleet != "local":
            raise UsageError(f"There is no fleet `{self.fleet}` here.", "This daemon has: local.")

    @property
    def actor(self) -> str:
        """Who acts, for the journal."""
        import getpass

        try:
            return f"cli:{getpass.getuser()}"
        except (KeyError, OSError):
            return f"cli:uid-{os.getuid()}"

    def run(self, work: Callable[[ControlClient], Coroutine[Any, Any, T]], *, any_version: bool = False) -> T:
        """Run `work` with a client of the running daemon. Raises Unreachable when none runs."""
        import asyncio

        from backend.control_client import ControlClient

        async def body() -> T:
            async with ControlClient(self.paths.control_socket) as client:
                if not any_version:
                    await check_version(client)
                return await work(client)

        if not self.paths.control_socket.exists():
            raise Unreachable("No daemon runs for this state directory.", "Start it with `trinity up`.")
        return asyncio.run(body())


def common(*, json_option: bool = True) -> Callable[[F], F]:
    """Adds --state, --fleet (and --json) and hands the command a Place as its first argument."""

    def wrap(function: F) -> F:
        @functools.wraps(function)
        def command(*args: Any, state: Path | None, fleet: str | None, as_json: bool = False, **kwargs: Any) -> Any:
            return function(Place(state, fleet, as_json), *args, **kwargs)

        options = [
            click.option("--state", type=Directory(), help="State directory [env: TRINITY_STATE]."),
            click.option("--fleet", help="Fleet to act on (default: local) [env: TRINITY_FLEET]."),
        ]
        if json_option:
            options.append(click.option("--json", "as_json", is_flag=True, help="Print JSON."))
        for option in reversed(options):
            command = option(command)
        return command

    return wrap


async def check_version(client: ControlClient) -> None:
    """Raises when the daemon is of another version than this program."""
    running = await client.version()
    if running.version != VERSION:
        raise TrinityError(
            f"The running daemon is version {running.version}, this program is {VERSION}.",
            "Replicas survive a daemon: end it with `trinity down --daemon-only`, then start again.",
        )


def file_to_start_from(file: Path | None) -> Path | None:
    """The file given, else `trinity.yaml` of the working directory where there is one.

    Raises FileError for one that cannot be used."""
    here = Path.cwd() / "trinity.yaml"
    if file is None and here.is_file():
        file = here
    if file is not None:
        from backend.config.fleet_file import read_fleet_file

        read_fleet_file(file)
    return file
