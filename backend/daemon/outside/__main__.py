"""`python -m backend.daemon.outside`: the observer. One drill run, in a process that outlives the daemon.

Reads an ObserverOrder from standard input, answers one `Started` line, then keeps `view.json` of the run up to date
until it is over. SIGTERM (see `backend.drills.outside.ask_stop`) rolls back and ends; a hangup changes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

import msgspec

from backend.config.paths import StatePaths
from backend.contract.clock import SystemClock
from backend.contract.control import DrillView
from backend.contract.errors import TrinityError
from backend.control_client import ControlClient
from backend.daemon.outside.order import ObserverOrder, Started
from backend.daemon.outside.remote_host import RemoteHost
from backend.drills import outside
from backend.drills.check import load_scenario
from backend.drills.loads import GeneratorLoads
from backend.drills.overrides import adjust
from backend.drills.runner import DrillRunner

VIEW_PERIOD_S = 0.1


def main() -> int:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    order = msgspec.json.decode(sys.stdin.buffer.readline(), type=ObserverOrder)
    try:
        return asyncio.run(observe(order))
    except TrinityError as error:
        _answer(Started(kind=error.kind, message=error.message, next_step=error.next_step))
        return error.exit_code


async def observe(order: ObserverOrder) -> int:
    """Start the run, follow it to its end. Raises TrinityError when it does not start, or broke."""
    clock = SystemClock()
    drills_dir = StatePaths(Path(order.state_dir)).drills_dir
    compiled = adjust(
        load_scenario(order.yaml, order.source),
        seed=order.seed,
        confidence=order.confidence,
        max_generator_lag_s=order.max_generator_lag_s,
    )
    async with ControlClient(StatePaths(Path(order.state_dir)).control_socket) as client:
        host = RemoteHost(client, order, clock)
        await host.open()
        try:
            runner = DrillRunner(host, GeneratorLoads(clock), clock, drills_dir)
            run_id = await runner.start(compiled, actor=order.actor)
            run_dir = drills_dir / run_id
            outside.announce(run_dir)
            host.keep_in(run_dir)
            _keep_view(run_dir, runner.view())
            _answer(Started(run_id=run_id))
            await _follow(runner, run_id, run_dir)
        finally:
            await host.close()
    return 0


async def _follow(runner: DrillRunner, run_id: str, run_dir: Path) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    ending = asyncio.create_task(_stop_when(stop, runner, run_dir))
    showing = asyncio.create_task(_show(runner, run_dir))
    try:
        await runner.wait(run_id)
    finally:
        for task in (ending, showing):
            task.cancel()
        await asyncio.gather(ending, showing, return_exceptions=True)
        _keep_view(run_dir, runner.view())


async def _stop_when(stop: asyncio.Event, runner: DrillRunner, run_dir: Path) -> None:
    await stop.wait()
    await runner.stop(outside.stop_reason(run_dir))


async def _show(runner: DrillRunner, run_dir: Path) -> None:
    shown = runner.view()
    while True:
        view = runner.view()
        if view != shown:
            shown = view
            _keep_view(run_dir, view)
        await asyncio.sleep(VIEW_PERIOD_S)


def _keep_view(run_dir: Path, view: DrillView | None) -> None:
    if view is not None:
        outside.write_view(run_dir, view)


def _answer(started: Started) -> None:
    """To the daemon that started us; it may be gone already."""
    with contextlib.suppress(OSError):
        os.write(1, msgspec.json.encode(started) + b"\n")


if __name__ == "__main__":
    sys.exit(main())
