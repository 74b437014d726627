"""`exec`: a program in a replica, with this terminal as its own."""

from __future__ import annotations

import asyncio
import sys
from contextlib import aclosing

import click

from backend.commands.local_terminal import ended_by_signals, raw_terminal, read_input, size, told_of_resizes
from backend.commands.place import Place, common
from backend.contract import exit_codes
from backend.contract.control import ExecOrder
from backend.control_client import ControlClient
from backend.control_client.exec_channel import ExecChannel


@click.command("exec", context_settings={"ignore_unknown_options": False})
@click.argument("replica")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("-i", "--stdin", is_flag=True, help="Send standard input to it.")
@click.option("-t", "--tty", is_flag=True, help="Give it a terminal.")
@click.option("-c", "--container", default="", help="In this container of the replica (default: the first).")
@common(json_option=False)
def exec_(place: Place, replica: str, command: tuple[str, ...], stdin: bool, tty: bool, container: str) -> None:
    """Run COMMAND in REPLICA: trinity exec llm-0 -it -- sh. The exit code is the program's."""
    columns, rows = size()
    order = ExecOrder(
        replica=replica,
        argv=command,
        tty=tty,
        columns=columns,
        rows=rows,
        container=container,
        actor=place.actor,
    )

    async def work(client: ControlClient) -> int:
        channel = await client.exec(order)
        carrying = asyncio.ensure_future(_carry(channel, stdin=stdin, tty=tty))
        with ended_by_signals(carrying):
            try:
                return await carrying
            except asyncio.CancelledError:
                if not carrying.cancelled():
                    raise
                return exit_codes.INTERRUPTED
            finally:
                await channel.close()

    raise SystemExit(place.run(work))


async def _carry(channel: ExecChannel, *, stdin: bool, tty: bool) -> int:
    """Until the program has ended; its exit code."""

    async def take(data: bytes) -> None:
        await (channel.write(data) if data else channel.end())

    with raw_terminal(stdin and tty), told_of_resizes(channel.resize):
        if stdin:
            read_input(take)
        elif not tty:  # a terminal whose input has ended is one that hangs up
            await channel.end()
        async with aclosing(channel.output()) as output:
            async for data in output:
                sys.stdout.buffer.write(data)
                sys.stdout.buffer.flush()
    return channel.exit_code if channel.exit_code is not None else exit_codes.FAILED
