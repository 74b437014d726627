"""The console without a screen: a line for each change, for screen readers, logs and terminals that only print lines.

Owns the loop that reads frames and prints; what is worth saying is the announcer's. Never acts on a fleet.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable
from typing import Final, TextIO

from backend.contract import exit_codes
from backend.contract.clock import Clock, SystemClock
from backend.contract.errors import TrinityError, Unreachable
from console.state.announcer import Announcer, said
from console.state.late_source import LateSource
from console.state.source import FleetSource

FIRST_RETRY_S: Final = 0.5
LAST_RETRY_S: Final = 5.0
HOW: Final = "Changes are told as they come. Enter tells how things stand; ctrl-c ends, the fleet goes on running."


def run_plain(
    source_factory: Callable[[], FleetSource],
    *,
    interval_s: float = 1.0,
    stream: TextIO | None = None,
    typed: TextIO | None = None,
) -> int:
    """Tell until interrupted, or until nobody reads any more. Returns the exit code."""
    told = stream or sys.stdout
    try:
        return asyncio.run(_tell(LateSource(source_factory), interval_s, told, typed or sys.stdin, SystemClock()))
    except BrokenPipeError:
        return exit_codes.OK


async def _tell(source: FleetSource, interval_s: float, stream: TextIO, typed: TextIO, clock: Clock) -> int:
    announcer = Announcer()

    def say(sentences: list[str]) -> None:
        for line in said(sentences, clock.now()):
            stream.write(line + "\n")
        stream.flush()

    loop = asyncio.get_running_loop()
    following = asyncio.ensure_future(_follow(source, interval_s, announcer, say))
    ended: list[int] = []

    def end(number: int) -> None:
        ended.append(128 + number)
        following.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, end, number)
    if typed.isatty():
        say([HOW])
        loop.add_reader(typed, lambda: _asked(typed, announcer, say))
    try:
        await following
    except asyncio.CancelledError:
        return ended[0] if ended else exit_codes.INTERRUPTED
    finally:
        with contextlib.suppress(TrinityError, OSError):
            await source.aclose()
    return exit_codes.OK


def _asked(typed: TextIO, announcer: Announcer, say: Callable[[list[str]], None]) -> None:
    """A line was typed: tell how things stand."""
    if typed.readline():
        say(announcer.summary())
    else:
        asyncio.get_running_loop().remove_reader(typed)


async def _follow(
    source: FleetSource, interval_s: float, announcer: Announcer, say: Callable[[list[str]], None]
) -> None:
    """Frames to sentences, for ever."""
    retry = FIRST_RETRY_S
    while True:
        try:
            async for frame in source.stream(interval_s):
                retry = FIRST_RETRY_S
                sentences = announcer.take(frame)
                if sentences:
                    say(sentences)
            raise Unreachable("The daemon closed the stream.")
        except BrokenPipeError:
            raise
        except (TrinityError, OSError) as error:
            sentences = announcer.lost(str(error))
            if sentences:
                say(sentences)
        await asyncio.sleep(retry)
        retry = min(LAST_RETRY_S, retry * 1.7)
