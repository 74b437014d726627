"""The engine as containers of ours need it: its calls, and whether it can be used at all.

Owns the memory of a failure, and waiting until the engine answers again. One for all containers of a fleet.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeVar

from backend.config.paths import StatePaths
from backend.contract.clock import Clock
from backend.fleet.docker_engine.client import EngineClient
from backend.fleet.docker_engine.errors import Conflict, EngineTrouble, NotThere
from backend.fleet.docker_engine.facts import ContainerFacts, container_facts

if TYPE_CHECKING:
    import docker

T = TypeVar("T")

_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 2.0


class OwnEngine:
    """One engine, and where what is ours there is written down (`paths`)."""

    def __init__(self, client: EngineClient, paths: StatePaths, clock: Clock, on_back: Callable[[], None]) -> None:
        self.client, self.paths, self.clock = client, paths, clock
        self.trouble: EngineTrouble | None = None
        self._on_back = on_back
        self._usable = asyncio.Event()
        self._usable.set()
        self._waiting: asyncio.Task[None] | None = None

    async def call(self, work: Callable[[docker.APIClient], T]) -> T:
        """See EngineClient.call. A failure of the engine itself is remembered until it answers again."""
        try:
            return await self.client.call(work)
        except EngineTrouble as trouble:
            self.failed(trouble)
            raise

    async def inspect(self, container: str) -> ContainerFacts | None:
        """What is known of a container, by id or name. Raises NotThere, EngineTrouble."""
        return container_facts(await self.call(lambda api: api.inspect_container(container)))

    async def remove(self, container: str) -> None:
        """With its anonymous volumes, running or not; gone on return. Gone already is fine. Raises TrinityError."""
        try:
            await self.call(lambda api: api.remove_container(container, v=True, force=True))
        except NotThere:
            return
        except Conflict:  # somebody's removal is under way
            await self._until_removed(container)

    async def _until_removed(self, container: str) -> None:
        path = f"/containers/{container}/wait"
        with contextlib.suppress(NotThere):
            async with self.client.stream(path, {"condition": "removed"}, method="POST") as answer:
                async for _ in answer.aiter_raw():
                    pass

    def failed(self, trouble: EngineTrouble) -> None:
        """Nothing is asked of it until it answers again."""
        if self.trouble is None:
            self._usable.clear()
            self._waiting = asyncio.create_task(self._until_back(), name="docker engine is away")
        self.trouble = trouble

    async def usable(self) -> None:
        """Returns when the engine is not known to be away."""
        await self._usable.wait()

    async def close(self) -> None:
        """Wait for it no longer."""
        if self._waiting is not None:
            self._waiting.cancel()
            await asyncio.wait([self._waiting])

    async def _until_back(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while True:
            await asyncio.sleep(pause_s)
            pause_s = min(_LONGEST_PAUSE_S, pause_s * 2)
            try:
                await self.client.call(lambda api: api.ping())
            except EngineTrouble as trouble:
                self.trouble = trouble
            else:
                break
        self.trouble = None
        self._usable.set()
        self._on_back()
