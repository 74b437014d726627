"""The output of a container of ours, followed from its start to its end, whether anybody reads it or not.

Owns one follower: going on after a loss of the engine or a daemon's absence, and the last lines for an exit's record.
The files are log_store's.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final

from backend.contract.errors import TrinityError
from backend.fleet.docker_engine.errors import EngineTrouble, NotThere
from backend.fleet.docker_engine.frames import LogReader, Message
from backend.fleet.docker_engine.log_store import LogStore
from backend.fleet.docker_engine.own_engine import OwnEngine
from backend.shim.output import OutputTail

_LAST_WORDS_S: Final = 0.5
"""How long an end waits for what the program wrote last."""
_AGAIN_S: Final = 0.2


class OwnLog:
    """One start's output. `begin` once, in a running loop; ended by `close`."""

    def __init__(self, engine: OwnEngine, replica: str) -> None:
        self._engine, self._replica = engine, replica
        self._store = LogStore(engine.paths.replica_log_dir(replica))
        self._tail = OutputTail()
        self._follow: asyncio.Task[None] | None = None

    def begin(self, container: str, created_ts: float, *, started_ns: int | None) -> None:
        """Follow it from where the store stands; `started_ns`: lines from then on are of a new start."""
        self._follow = asyncio.create_task(
            self._until_end(container, int(created_ts * 1e9), started_ns), name=f"log of {self._replica}"
        )

    def last_lines(self) -> tuple[str, ...]:
        """The last ones it wrote since it is followed."""
        return self._tail.lines()

    async def drain(self) -> None:
        """The container has ended: wait a moment for its last words."""
        if self._follow is not None:
            await asyncio.wait([self._follow], timeout=_LAST_WORDS_S)

    async def close(self) -> None:
        """Follow no longer."""
        if self._follow is not None:
            self._follow.cancel()
            await asyncio.wait([self._follow])
        self._store.close()

    async def _until_end(self, container: str, created_ns: int, started_ns: int | None) -> None:
        with contextlib.suppress(OSError):  # a full disk: lines are lost, the program is not
            await asyncio.to_thread(self._store.begin, container, created_ns)
            if started_ns is not None:
                await asyncio.to_thread(self._store.note_start, started_ns)
        while True:
            try:
                await self._follow_once(container)
            except NotThere:
                return
            except EngineTrouble as trouble:
                self._engine.failed(trouble)
                await self._engine.usable()
            except (TrinityError, OSError):
                await asyncio.sleep(_AGAIN_S)
            else:
                return

    async def _follow_once(self, container: str) -> None:
        """From where the store stands to the end of the output."""
        params: dict[str, str | int] = {"follow": 1, "stdout": 1, "stderr": 1, "timestamps": 1}
        skip = 0
        place = await asyncio.to_thread(self._store.place)
        if place is not None:
            params["since"] = f"{place.since_ns // 10**9}.{place.since_ns % 10**9:09d}"
            skip = place.skip
        reader = LogReader(tty=False)
        async with self._engine.client.stream(f"/containers/{container}/logs", params) as answer:
            async for data in answer.aiter_raw():
                messages = reader.feed(data)
                skipped, skip = min(skip, len(messages)), max(0, skip - len(messages))
                await self._take(messages[skipped:])

    async def _take(self, messages: Sequence[Message]) -> None:
        for message in messages:
            self._tail.add(message.data)
        if messages:
            await asyncio.to_thread(self._store.append, messages)
