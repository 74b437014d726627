"""How a replica's program is started in a container of ours, and what is left of it when it is removed.

Owns the choice between starting the container that is there and making another. Decides nothing.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from typing import Final

from backend.contract.errors import TrinityError, UsageError
from backend.fleet.docker_engine.errors import EngineTrouble, NotThere
from backend.fleet.docker_engine.facts import ContainerFacts
from backend.fleet.docker_engine.images import pull
from backend.fleet.docker_engine.own_engine import OwnEngine
from backend.fleet.docker_engine.own_faults import OwnFaults
from backend.fleet.docker_engine.own_logs import OwnLog
from backend.fleet.docker_engine.own_process import ContainerIncarnation
from backend.fleet.docker_engine.own_records import OwnRecord, write_record
from backend.fleet.docker_engine.own_shape import container_name, create_request, is_ours, same_shape
from backend.fleet.supervision.marks import DrillMarks
from backend.fleet.supervision.seed import ReplicaSeed

_NO_IMAGE: Final = "no such image"


class ContainerStarter:
    """One replica's."""

    def __init__(self, name: str, engine: OwnEngine, faults: OwnFaults) -> None:
        self._name, self._engine, self._faults = name, engine, faults
        self._digest = engine.paths.digest
        self.marks = DrillMarks(engine.clock)
        self._busy = ""
        self.present: ContainerIncarnation | None = None
        """The last start that there was."""

    def busy(self) -> str:
        """What a start waits for."""
        return self._busy

    def hindrance(self) -> str:
        """Why the engine cannot be used, while it cannot."""
        trouble = self._engine.trouble
        return "" if trouble is None else trouble.message

    async def start(self, seed: ReplicaSeed) -> ContainerIncarnation:
        """Start its container, made anew where there is none or another is wanted. Raises TrinityError, OSError."""
        request = create_request(seed, self._digest)
        container = await self._fitting(request)
        log, at_ns = OwnLog(self._engine, self._name), time.time_ns()
        await self._engine.call(lambda api: api.start(container))
        facts = await self._engine.inspect(container)
        if facts is None:
            raise TrinityError(f"The Docker engine says nothing of container {container}.", "It is tried again.")
        write_record(self._engine.paths.container_record(self._name), OwnRecord(seed=seed))
        log.begin(facts.id, facts.created_ts, started_ns=at_ns)
        return self._now(facts, log)

    def adopt(self, facts: ContainerFacts) -> ContainerIncarnation:
        """The incarnation of a container that runs."""
        log = OwnLog(self._engine, self._name)
        log.begin(facts.id, facts.created_ts, started_ns=None)
        return self._now(facts, log)

    async def before_end(self) -> None:
        """A program that is stopped or paused could not say that it is idle."""
        with contextlib.suppress(TrinityError):
            await self._faults.end(self._name)
        present = self.present
        if present is not None and present.paused:
            present.paused = False
            with contextlib.suppress(TrinityError):  # the engine's own stop unpauses as well
                await self._engine.call(lambda api: api.unpause(present.facts.id))

    async def forget(self, seed: ReplicaSeed) -> None:
        """Container, record and holder are gone on return. Raises TrinityError."""
        await self._faults.end(seed.name)
        await self._engine.remove(container_name(self._digest, seed.name))
        self._engine.paths.container_record(seed.name).unlink(missing_ok=True)

    def _now(self, facts: ContainerFacts, log: OwnLog) -> ContainerIncarnation:
        self.present = ContainerIncarnation(self._engine, facts, log)
        return self.present

    async def _fitting(self, request: Mapping[str, object]) -> str:
        """The id of a container as `request` wants it; one of ours that is otherwise is removed first."""
        name = container_name(self._digest, self._name)
        try:
            facts = await self._engine.inspect(name)
        except NotThere:
            facts = None
        if facts is not None:
            if same_shape(facts.labels, request):
                return facts.id
            if not is_ours(facts.labels, self._digest):
                raise UsageError(f"A container that is not ours has the name {name}.", "Remove or rename that one.")
            await self._engine.remove(facts.id)
        try:
            made = await self._create(request, name)
        except NotThere as error:
            if _NO_IMAGE not in error.message.lower():
                raise
            await self._pull(str(request["Image"]))
            made = await self._create(request, name)
        return made

    async def _create(self, request: Mapping[str, object], name: str) -> str:
        made = await self._engine.call(
            lambda api: api.create_container_from_config(dict(request), name)  # type: ignore[no-untyped-call]
        )
        return str(made["Id"])

    async def _pull(self, image: str) -> None:
        """Fetch an image that the engine lacks. Raises UsageError with the registry's words where that fails."""
        self._busy = f"pulling {image}"
        try:
            async for step in pull(self._engine.client, image):
                self._busy = f"pulling {image}: {step.text}"
        except EngineTrouble as trouble:
            self._engine.failed(trouble)
            raise
        except TrinityError as error:
            how = f"Fetch it (`docker pull {image}`) or build it there, or correct `image`."
            why = error.message.removeprefix("The Docker engine could not do it: ")
            raise UsageError(f"The Docker engine has no image {image} and cannot pull it: {why}", how) from error
        finally:
            self._busy = ""
