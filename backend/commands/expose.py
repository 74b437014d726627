"""`expose`: forwards from this machine to replicas, for as long as one looks on or until they are ended."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from typing import Final

import click
import msgspec

from backend.commands.output import narrate, print_json, print_table
from backend.commands.place import Place, common
from backend.contract.control import ActionRequest, Snapshot
from backend.contract.errors import Refused, TrinityError, Unreachable, UsageError
from backend.contract.platform import ForwardView
from backend.contract.rows import Scalar
from backend.contract.words import ActionOutcome, Verb
from backend.control_client import ControlClient

_HEADER = ("ID", "TARGET", "LOCAL", "REPLICA", "STATE", "CONNECTIONS", "RESTARTS", "IN", "OUT", "DETAIL")
_ALL: Final = "0.0.0.0"  # noqa: S104 - asked for by --all-interfaces
_RETRY_S: Final = 0.5
_PATIENCE_S: Final = 60.0
"""How long a daemon may be away while one looks on."""


class Wish(msgspec.Struct, frozen=True):
    """`TARGET[:PORT[:LOCAL]]`; 0 is the main port, and any free one."""

    target: str
    port: int = 0
    local_port: int = 0


def parse_wish(text: str) -> Wish:
    """Raises UsageError."""
    target, *ports = text.split(":")
    numbers = [int(port) for port in ports if port.isascii() and port.isdigit() and len(port) <= 5]
    if not target or len(numbers) != len(ports) or len(ports) > 2 or any(not 0 < port < 65536 for port in numbers):
        raise UsageError(f"`{text}` names no port.", "Write TARGET, TARGET:PORT or TARGET:PORT:LOCAL (1 to 65535).")
    return Wish(target, *numbers)


@click.command()
@click.argument("targets", nargs=-1, metavar="[TARGET[:PORT[:LOCAL]]]...")
@click.option("--all-interfaces", is_flag=True, help="Listen on all addresses of this machine, not on 127.0.0.1 only.")
@click.option("--bind", metavar="ADDRESS", help="Listen on this address.")
@click.option("--detach", is_flag=True, help="Leave them to the daemon and return.")
@click.option("--list", "listed", is_flag=True, help="Show the forwards there are.")
@click.option("--stop", "stopped", multiple=True, metavar="ID", help="End this forward (repeatable; `all`: every one).")
@common()
def expose(
    place: Place,
    targets: tuple[str, ...],
    all_interfaces: bool,
    bind: str | None,
    detach: bool,
    listed: bool,
    stopped: tuple[str, ...],
) -> None:
    """Make ports of replicas, workloads or services reachable here: trinity expose llm web:8080 db:5432:15432.

    Without a target: everything whose port is known. Ctrl-C ends them, unless they are left with --detach.
    """
    if listed or stopped:
        if targets or (listed and stopped):
            raise UsageError("--list and --stop stand alone.", "Leave the targets away.")
        _stop(place, stopped) if stopped else _list(place)
        return
    if all_interfaces and bind:
        raise UsageError("--all-interfaces and --bind exclude each other.", "Leave one away.")
    wishes = [parse_wish(text) for text in targets]
    address = _ALL if all_interfaces else bind or "127.0.0.1"

    async def work(client: ControlClient) -> None:
        snapshot = await client.snapshot()
        asked = wishes or everything(snapshot)
        if snapshot.has_edge and snapshot.public_url and not targets:
            narrate(f"The edge is at {snapshot.public_url}.")
        ids = [secrets.token_hex(3) for _ in asked]
        enough = asyncio.Event()
        with contextlib.nullcontext() if detach else _told_by_signals(enough):
            try:
                for identifier, wish in zip(ids, asked, strict=True):
                    if not enough.is_set():
                        await _forward(client, place.actor, identifier, wish, address)
                views = [view for view in (await client.snapshot()).forwards if view.id in ids]
                _show(place, views)
                if not detach:
                    await _look_on(client, place, ids, views, enough)
            except BaseException:
                await _end(client, place.actor, ids)
                raise
            if not detach:
                await _end(client, place.actor, ids)

    place.run(work)


def everything(snapshot: Snapshot) -> list[Wish]:
    """The services of a platform by their ports; where it has none, each workload with a port. Raises UsageError."""
    services = {
        (f"service/{row.source.partition(' ')[2]}", row.service_port): None
        for row in snapshot.ports
        if row.source.startswith("service ") and row.service_port and row.workload and row.protocol == "tcp"
    }
    if services:
        return [Wish(target, port or 0) for target, port in services]
    published = [(row.workload, row.container_port) for row in snapshot.ports if row.container_port and row.workload]
    own = [(view.status.workload, 0) for view in snapshot.replicas if view.status.port]
    found = dict.fromkeys(published or own)
    if not found:
        raise UsageError("No port is known here.", "Name one: trinity expose TARGET:PORT.")
    return [Wish(workload, port or 0) for workload, port in found]


async def _forward(client: ControlClient, actor: str, identifier: str, wish: Wish, bind: str) -> None:
    """Raises Refused and TrinityError."""
    args: dict[str, Scalar] = {"port": wish.port, "local_port": wish.local_port, "bind": bind, "id": identifier}
    request = ActionRequest(verb=Verb.FORWARD, target=wish.target, args=args, actor=actor)
    preview = await client.preview(request)
    if not preview.allowed:
        raise Refused(preview.refusal)
    for effect in preview.effects:
        narrate(f"Warning: {effect}.")
    row = await client.perform(request)
    if row.outcome == ActionOutcome.REFUSED:
        raise Refused(row.result)
    if row.outcome != ActionOutcome.OK:
        raise TrinityError(row.result or f"{wish.target} was not forwarded. See `trinity events`.")


async def _end(client: ControlClient, actor: str, ids: Sequence[str]) -> None:
    """Those that still are; best effort."""
    for identifier in ids:
        with contextlib.suppress(TrinityError):
            await client.perform(ActionRequest(verb=Verb.UNFORWARD, target=identifier, actor=actor))


def _show(place: Place, views: Sequence[ForwardView]) -> None:
    if place.json:
        print_json(views)
        return
    print_table(_HEADER, [_row(view) for view in views])
    for view in views:
        for url in view.urls:
            click.echo(f"{view.target}  {url}")


def _row(view: ForwardView) -> tuple[object, ...]:
    return (
        view.id,
        f"{view.target}:{view.port}" if view.port else view.target,
        f"{view.bind}:{view.local_port}",
        view.replica or "-",
        view.state,
        view.connections,
        view.restarts,
        view.bytes_in,
        view.bytes_out,
        view.detail,
    )


async def _look_on(
    client: ControlClient, place: Place, ids: Sequence[str], views: Sequence[ForwardView], enough: asyncio.Event
) -> None:
    """Tell what changes until one has seen enough, or until somebody else has ended them all."""
    narrate("Ctrl-C ends them.")
    following = asyncio.ensure_future(_follow(client, place, ids, {view.id: view for view in views}))
    told = asyncio.ensure_future(enough.wait())
    try:
        await asyncio.wait({following, told}, return_when=asyncio.FIRST_COMPLETED)
        if following.done():
            following.result()
    finally:
        following.cancel()
        told.cancel()
        await asyncio.gather(following, told, return_exceptions=True)


@contextlib.contextmanager
def _told_by_signals(enough: asyncio.Event) -> Iterator[None]:
    """Ctrl-C, SIGTERM or SIGHUP say so from the first forward on: one that is being made then is ended too. The next
    signal does what it always does."""
    loop, numbers = asyncio.get_running_loop(), (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def free() -> None:
        for number in numbers:
            loop.remove_signal_handler(number)

    def told() -> None:
        free()
        enough.set()

    for number in numbers:
        loop.add_signal_handler(number, told)
    try:
        yield
    finally:
        free()


async def _follow(client: ControlClient, place: Place, ids: Sequence[str], seen: dict[str, ForwardView]) -> None:
    loop = asyncio.get_running_loop()
    answered = loop.time()
    while True:
        try:
            async with aclosing(client.stream(1.0)) as frames:
                async for frame in frames:
                    answered = loop.time()
                    now = {} if frame.snapshot is None else {v.id: v for v in frame.snapshot.forwards if v.id in ids}
                    if frame.snapshot is None:
                        continue
                    if not now:
                        narrate("They were ended elsewhere.")
                        return
                    for view in now.values():
                        _tell(place, seen.get(view.id), view)
                    seen = now
        except Unreachable:
            if loop.time() - answered > _PATIENCE_S:
                raise
        await asyncio.sleep(_RETRY_S)


def _tell(place: Place, before: ForwardView | None, view: ForwardView) -> None:
    """A line where it leads elsewhere, broke or works again."""
    if before is not None and (before.replica, before.state, before.detail) == (view.replica, view.state, view.detail):
        return
    if view.state == "connecting" or (before is not None and before.state == "connecting" and not view.detail):
        return
    if place.json:
        print_json(view)
    else:
        how = view.detail if view.state == "broken" else f"leads to {view.replica}"
        narrate(f"{view.target}: {how}" + (f" ({view.restarts} restarts)" if view.restarts else ""))


def _list(place: Place) -> None:
    _show(place, place.run(lambda client: client.snapshot()).forwards)


def _stop(place: Place, stopped: Sequence[str]) -> None:
    async def work(client: ControlClient) -> list[str]:
        there = [view.id for view in (await client.snapshot()).forwards]
        results = []
        for identifier in there if "all" in stopped else stopped:
            request = ActionRequest(verb=Verb.UNFORWARD, target=identifier, actor=place.actor)
            row = await client.perform(request)
            if row.outcome != ActionOutcome.OK:
                raise TrinityError(row.result or f"{identifier} was not ended.", "See `trinity expose --list`.")
            results.append(row.result)
        return results

    results = place.run(work)
    if place.json:
        print_json(results)
        return
    for result in results:
        click.echo(result)
