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
    from backend.config.known_fleets import KnownFleet
    from backend.config.paths import StatePaths
    from backend.control_client import ControlClient

T = TypeVar("T")

F = Callable[..., Any]


class Place:
    """The state directory and fleet a command was given. Without a fleet it is the daemon's first one."""

    def __init__(self, state: Path | None, fleet: str | None, as_json: bool = False) -> None:
        from backend.config.paths import StatePaths, default_state_dir

        self.daemon = StatePaths(state.expanduser().resolve() if state else default_state_dir())
        """Where the daemon is, whichever of its fleets is meant."""
        wanted = fleet or os.environ.get("TRINITY_FLEET") or "local"
        self.wanted = None if wanted == "local" else wanted
        """The fleet's name or address; None: the first one."""
        self.json = as_json

    @property
    def fleet(self) -> str:
        """What the fleet was called here."""
        return self.wanted or "local"

    @property
    def paths(self) -> StatePaths:
        """The fleet's own files."""
        known = self._known()
        return self.daemon if known is None else known.paths(self.daemon)

    def _known(self) -> KnownFleet | None:
        """The further fleet that is meant, where the daemon knows one of that name or address."""
        if self.wanted is None:
            return None
        from backend.config.known_fleets import find_fleet, read_known

        return find_fleet(read_known(self.daemon.fleets_file), self.wanted)

    @property
    def actor(self) -> str:
        """Who acts, for the journal."""
        import getpass

        try:
            return f"cli:{getpass.getuser()}"
        except (KeyError, OSError):
            return f"cli:uid-{os.getuid()}"

    def start(self, *, file: Path | None = None, auto_port: bool = False) -> bool:
        """See that a daemon runs: one that has none but the fleet that is meant, where that is at an address or a
        further one and no `file` is given. True where it was started. Raises UsageError for a fleet that is none."""
        from backend.daemon_start import ensure_daemon

        only = None if file is not None else self.wanted
        if only is not None and not self.is_address and self._known() is None:
            raise no_such_fleet(only, ["local"])
        return ensure_daemon(self.daemon, file=file, auto_port=auto_port, fleet=only)

    def starting_file(self, file: Path | None) -> Path | None:
        """The trinity.yaml to start from: the one given, else that of the working directory, where the fleet that is
        meant is the one that it describes. Raises FileError for one that cannot be used."""
        if file is not None or self.wanted is None:
            return file_to_start_from(file)
        here = Path.cwd() / "trinity.yaml"
        if self.is_address or not here.is_file():
            return None
        from backend.config.fleet_file import read_fleet_file

        return here if read_fleet_file(here).fleet == self.wanted else None

    @property
    def is_address(self) -> bool:
        """Whether the fleet was given as an address that a daemon may be told to look after."""
        from backend.config.known_fleets import normal_address

        return self.wanted is not None and normal_address(self.wanted) != ""

    async def settle(self) -> str | None:
        """The fleet's name at the running daemon, which is told to look after it where it is an address that is new.
        Raises UsageError where there is no such fleet, Unreachable without a daemon."""
        from backend.contract.control import FleetOrder
        from backend.control_client import ControlClient

        if self.wanted is None:
            return None
        from backend.config.known_fleets import normal_address

        client = ControlClient(self.daemon.control_socket)
        infos = await client.fleets()
        address = normal_address(self.wanted)
        named = [info.name for info in infos if info.name == self.wanted]
        there = [info.name for info in infos if address and info.address == address]
        if named or there:
            return (named or there)[0]
        if not address:
            raise no_such_fleet(self.wanted, [info.name for info in infos])
        return (await client.add_fleet(FleetOrder(address=address))).name

    def run(
        self,
        work: Callable[[ControlClient], Coroutine[Any, Any, T]],
        *,
        any_version: bool = False,
        whole_daemon: bool = False,
    ) -> T:
        """Run `work` with a client of the running daemon, about the fleet that is meant or about the `whole_daemon`.
        Raises Unreachable when none runs, UsageError where it has no such fleet."""
        import asyncio

        from backend.control_client import ControlClient

        socket = self.daemon.control_socket

        async def body() -> T:
            if not any_version:
                async with ControlClient(socket) as client:
                    await check_version(client)
            name = None if whole_daemon else await self.settle()
            async with ControlClient(socket, fleet=name) as client:
                return await work(client)

        if not socket.exists():
            if self.wanted is not None and not self.is_address and self._known() is None:
                raise no_such_fleet(self.wanted, ["local"])
            of = f" --fleet {self.wanted}" if self.wanted is not None else ""
            raise Unreachable("No daemon runs for this state directory.", f"Start it with `trinity up{of}`.")
        return asyncio.run(body())


def no_such_fleet(name: str, names: list[str]) -> UsageError:
    """The error for a fleet that is neither known nor an address."""
    import difflib

    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"Did you mean {near[0]}?" if near else f"This daemon has: {', '.join(names)}."
    return UsageError(
        f"There is no fleet `{name}` here.",
        f"{hint} Others are added by their address: docker:CONTEXT, k8s:CONTEXT/NAMESPACE.",
    )


def common(*, json_option: bool = True) -> Callable[[F], F]:
    """Adds --state, --fleet (and --json) and hands the command a Place as its first argument."""

    def wrap(function: F) -> F:
        @functools.wraps(function)
        def command(*args: Any, state: Path | None, fleet: str | None, as_json: bool = False, **kwargs: Any) -> Any:
            return function(Place(state, fleet, as_json), *args, **kwargs)

        options = [
            click.option("--state", type=Directory(), help="State directory [env: TRINITY_STATE]."),
            click.option(
                "--fleet", help="Fleet to act on: a name of `trinity fleets`, or an address [env: TRINITY_FLEET]."
            ),
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
