"""`fleets`: which fleets the daemon looks after, and how another one is added or forgotten."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import click

from backend.commands.output import narrate, print_json, print_table
from backend.commands.place import Place, common
from backend.config.known_fleets import find_fleet, read_known, write_known
from backend.contract.control import FleetInfo, FleetOrder
from backend.contract.errors import TrinityError, UsageError
from backend.daemon_start import daemon_answers

_WHY: Final = 100
"""Characters of a fleet's reason in the table; `--json` and `status` tell all of it."""
_HEADER = ("NAME", "DRIVER", "ADDRESS", "HEALTH", "REPLICAS", "REASON")


@click.group(invoke_without_command=True)
@common()
@click.pass_context
def fleets(ctx: click.Context, place: Place) -> None:
    """The fleets that the daemon looks after; add others, forget them."""
    if ctx.invoked_subcommand is not None:
        os.environ["TRINITY_STATE"] = str(place.daemon.state_dir)
        return
    _list(place)


@fleets.command("list")
@common()
def fleets_list(place: Place) -> None:
    """The fleets that the daemon looks after, a line each."""
    _list(place)


def _list(place: Place) -> None:
    infos = place.run(lambda client: client.fleets(), whole_daemon=True)
    if place.json:
        print_json(infos)
    else:
        print_table(_HEADER, [_row(info) for info in infos], short=True)


def _row(info: FleetInfo) -> tuple[object, ...]:
    why = info.health_reason
    why = why if len(why) <= _WHY else f"{why[: _WHY - 1].rstrip()}…"
    return (info.name, info.driver, info.address, info.health, info.replicas, why)


@fleets.command("add")
@click.argument("address", required=False, default="")
@click.option("--name", default="", help="What it is called (default: its address, or as its file says).")
@click.option("--file", type=click.Path(path_type=Path), help="Its trinity.yaml, which says the address too.")
@click.option("--read-only", is_flag=True, help="Nobody may change anything there.")
@common()
def fleets_add(place: Place, address: str, name: str, file: Path | None, read_only: bool) -> None:
    """Look after the fleet at ADDRESS too: docker, docker:CONTEXT[/PROJECT], k8s, k8s:CONTEXT[/NAMESPACE]."""
    if bool(address) == (file is not None):
        raise UsageError("A fleet is added by its address or by its file.", "Give ADDRESS, or --file trinity.yaml.")
    text, source = "", ""
    if file is not None:
        from backend.config.fleet_file import parse_fleet_file, read_text

        text, source = read_text(file), str(file.absolute())
        parse_fleet_file(text, str(file))
    order = FleetOrder(address=address, name=name, yaml=text, source=source, read_only=read_only)
    info = place.run(lambda client: client.add_fleet(order), whole_daemon=True)
    if place.json:
        print_json(info)
        return
    click.echo(f"{info.name} ({info.address}) is looked after: {info.health}, {info.replicas} replicas.")
    if info.health == "down" and info.health_reason:
        narrate(info.health_reason)


@fleets.command("forget")
@click.argument("name")
@click.option("--down", is_flag=True, help="End what it runs there too.")
@common()
def fleets_forget(place: Place, name: str, down: bool) -> None:
    """Look after the fleet NAME no more; what runs there goes on."""
    if daemon_answers(place.daemon):
        place.run(lambda client: client.forget_fleet(name, down=down), whole_daemon=True)
    else:
        if down:
            raise UsageError("No daemon runs that could take it down.", "Start it with `trinity up`.")
        _forget_without_daemon(place, name)
    if place.json:
        print_json({"forgotten": name})
    else:
        click.echo(f"{name} is looked after no more.")


def _forget_without_daemon(place: Place, name: str) -> None:
    path = place.daemon.fleets_file
    listed = read_known(path)
    found = find_fleet(listed, name)
    if found is None:
        names = ", ".join(fleet.name for fleet in listed) or "none"
        raise UsageError(f"There is no fleet `{name}` here.", f"There are: {names}.")
    try:
        write_known(path, [fleet for fleet in listed if fleet is not found])
    except OSError as error:
        raise TrinityError(f"{path} could not be written: {error.strerror}.", "Mend its permissions.") from error
