"""What is done to containers: ended, started again, signalled, paused; groups of them scaled and rolled.

Owns the order of each deed and when it stops. Sees containers through the roster; decides no counts.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

from backend.contract.clock import Clock
from backend.contract.errors import Refused, TrinityError, UsageError
from backend.contract.platform import Progress
from backend.contract.words import Phase
from backend.fleet.docker_engine.client import EngineClient
from backend.fleet.docker_engine.clone import clone_request
from backend.fleet.docker_engine.errors import Conflict, NotThere
from backend.fleet.docker_engine.reading import text
from backend.fleet.docker_engine.roster import Container, Roster, at_rest
from backend.fleet.docker_engine.watch import Watch

GRACE_S: Final = 10.0
"""The engine's own default from the stop signal to SIGKILL."""
READY_S: Final = 120.0
"""How long a rolling restart waits for a replica to be Ready again."""
STEADY_S: Final = 1.0
"""A replica without a health check has to run this long to count as Ready again."""
_LOOK_S: Final = 0.05
_STOP_SIGNAL: Final = 15
_KILL: Final = 9
_ENDING: Final = (_STOP_SIGNAL, _KILL, 2, 3, 6)


class Deeds:
    """Verbs on containers. Each returns when it is done and has been seen to be."""

    def __init__(
        self, client: EngineClient, roster: Roster, watch: Watch, clock: Clock, *, local: Callable[[], bool]
    ) -> None:
        self._client, self._roster, self._watch, self._clock, self._local = client, roster, watch, clock, local
        self.ready_s = READY_S

    async def restart(self, container: Container) -> None:
        """Stop it within its grace, start it again: the same container."""
        grace = _grace(container)
        self._roster.leaving(container.facts.name, "restarting")
        try:
            if container.facts.paused:
                await self._unpause(container)
            await self._client.post(f"/containers/{container.facts.id}/restart", t=grace, timeout_s=grace + 20.0)
        finally:
            await self._look(container)
            self._roster.leaving(container.facts.name, "")

    async def kill(self, container: Container, signal: int) -> int:
        """Signal its program; returns its pid. A container with a restart policy is started again."""
        pid = container.facts.pid
        if pid is None or not container.facts.running:
            raise Refused(f"{container.facts.name} does not run.", "Restart it, or choose another.")
        if not (self._local() and _signal_process(pid, container.facts.id, signal)):
            identifier = container.facts.id
            await self._client.call(lambda api: api.kill(identifier, signal=signal))
            if signal in _ENDING and container.facts.restart_policy:
                # For the engine a kill through it is a wish to stop, after which no policy starts it again.
                await self._start_again(container, pid)
        await self._look(container)
        return pid

    async def pause(self, container: Container) -> None:
        """Freeze it. Raises Conflict where it does not run or is paused already."""
        await self._client.call(lambda api: api.pause(container.facts.id))
        await self._look(container)

    async def unpause(self, container: Container) -> None:
        """Let it go on. Idempotent."""
        await self._look(container)
        if container.facts.paused:
            await self._unpause(container)
            await self._look(container)

    async def remove(self, container: Container) -> None:
        """Stop it within its grace, and remove it with its nameless volumes."""
        grace, identifier = _grace(container), container.facts.id
        self._roster.leaving(container.facts.name, "stopping")
        try:
            with contextlib.suppress(NotThere):
                if container.facts.paused:
                    await self._unpause(container)
                if container.facts.running or container.facts.restarting:
                    await self._client.post(f"/containers/{identifier}/stop", t=grace, timeout_s=grace + 20.0)
                await self._client.delete(f"/containers/{identifier}", force=1, v=1)
        except TrinityError:
            self._roster.leaving(container.facts.name, "")
            raise
        self._roster.drop(identifier)

    async def stop(self, container: Container) -> None:
        """Stop it within its grace; it stays, stopped."""
        grace = _grace(container)
        self._roster.leaving(container.facts.name, "stopping")
        try:
            if container.facts.paused:
                await self._unpause(container)
            await self._client.post(f"/containers/{container.facts.id}/stop", t=grace, timeout_s=grace + 20.0)
        finally:
            await self._look(container)
            self._roster.leaving(container.facts.name, "")

    async def start(self, container: Container) -> None:
        """Start it, where it does not run."""
        await self._client.post(f"/containers/{container.facts.id}/start")
        await self._look(container)

    async def scale(self, workload: str, replicas: int) -> int:
        """Have that many of a group; returns how many there were. The last one is stopped, not removed: it is the
        pattern for those to come."""
        group = self._roster.of(workload)
        if replicas < 0:
            raise UsageError(f"{workload} cannot have {replicas} replicas.", "Name a number from 0 on.")
        wanted = [container for container in group if not at_rest(container)]
        resting = [container for container in group if at_rest(container)]
        before = len(wanted)
        if replicas < before:
            spare = wanted[replicas:]
            kept = spare[:1] if replicas == 0 and not resting else []
            await _all(*(self.stop(c) if c in kept else self.remove(c) for c in reversed(spare)))
        elif replicas > before:
            missing = replicas - before
            again = resting[:missing]
            pattern = (wanted or resting)[-1]
            numbers = [max(c.member.number for c in group) + 1 + n for n in range(missing - len(again))]
            requests = [clone_request(pattern.inspect, workload, number) for number in numbers]
            await _all(*(self.start(container) for container in again))
            for request in requests:
                identifier = text(await self._client.post("/containers/create", request.body, name=request.name), "Id")
                try:
                    for network, endpoint in request.networks.items():
                        body = {"Container": identifier, "EndpointConfig": endpoint}
                        await self._client.post(f"/networks/{network}/connect", body)
                    await self._client.post(f"/containers/{identifier}/start")
                except TrinityError:
                    # One that could not be started is no replica: it would stand in the way of the next try.
                    with contextlib.suppress(TrinityError):
                        await self._client.delete(f"/containers/{identifier}", force=1, v=1)
                    raise
                await self._watch.look_at(identifier)
        return before

    async def roll(self, workload: str, progress: Progress) -> str:
        """Restart one after the other, each only once the one before is Ready again. Raises TrinityError at the first
        that is not in time: those after it are left as they are."""
        group = [container for container in self._roster.of(workload) if not at_rest(container)]
        if not group:
            raise Refused(f"{workload} has no running replica.", "Scale it up, or start it.")
        for done, container in enumerate(group):
            name = container.facts.name
            progress(f"{workload}: {done} of {len(group)} restarted; {name} is next")
            await self.restart(container)
            why = await self.until_ready(name)
            if why is not None:
                raise TrinityError(
                    f"The rolling restart of {workload} stopped at {name}: {why}. {done} of {len(group)} were "
                    "restarted and are Ready, the others were left alone.",
                    f"See `trinity describe {name}` and its logs, mend it, and roll again.",
                )
        return f"{workload}: all {len(group)} restarted, one after the other"

    async def until_ready(self, name: str) -> str | None:
        """Wait until a replica is Ready and stays so; null then, else why it is not."""
        end = self._clock.mono() + self.ready_s
        since: tuple[float, int | None] | None = None
        while True:
            now, container = self._clock.mono(), self._roster.get(name)
            if container is None:
                return "it is gone"
            status, checked = container.status, bool(container.facts.health)
            if status.phase == Phase.READY:
                if since is None or since[1] != status.pid:
                    since = (now, status.pid)
                if checked or now - since[0] >= STEADY_S:
                    return None
            else:
                since = None
                if status.phase in (Phase.FAILED, Phase.CRASH_LOOP) or at_rest(container):
                    return status.reason or str(status.phase)
            if now >= end:
                return f"it is not Ready after {self.ready_s:g} s ({status.reason or status.phase})"
            await asyncio.sleep(_LOOK_S)

    async def _start_again(self, container: Container, pid: int) -> None:
        for _ in range(200):
            await self._watch.look_at(container.facts.id)
            if not container.facts.running:
                break
            if container.facts.pid != pid:
                return
            await asyncio.sleep(_LOOK_S)
        with contextlib.suppress(NotThere):
            await self._client.post(f"/containers/{container.facts.id}/start")

    async def _unpause(self, container: Container) -> None:
        with contextlib.suppress(Conflict):
            await self._client.call(lambda api: api.unpause(container.facts.id))

    async def _look(self, container: Container) -> None:
        """What it came to is seen before the verb returns."""
        with contextlib.suppress(TrinityError):
            await self._watch.look_at(container.facts.id)


def _grace(container: Container) -> int:
    grace = container.facts.stop_grace_s
    return int(GRACE_S if grace is None else grace)


def _signal_process(pid: int, identifier: str, signal: int) -> bool:
    """Signal a container's process as the kernel would; False where it is not to be seen or touched from here.

    An end that does not come through the engine is a crash to it, so that its restart policy holds.
    """
    try:
        if identifier not in Path(f"/proc/{pid}/cgroup").read_text():
            return False
        os.kill(pid, signal)
    except (OSError, UnicodeDecodeError):
        return False
    return True


async def _all(*work: Coroutine[Any, Any, None]) -> None:
    """All of them at once, each to its end; then raises the first failure."""
    results = await asyncio.gather(*work, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
