"""The running program of a container of ours: signals, the instant its death is seen, and how it ended.

The kernel tells of a death at once where the engine's processes are this machine's; the engine tells how it was. Owns
what of an incarnation is the engine's. Decides nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from backend.contract.errors import TrinityError, Unreachable
from backend.contract.fleet import ExitRecord
from backend.fleet.docker_engine.errors import Conflict, EngineTrouble, NotThere
from backend.fleet.docker_engine.facts import ContainerFacts, exit_record
from backend.fleet.docker_engine.own_engine import OwnEngine
from backend.fleet.docker_engine.own_logs import OwnLog
from backend.fleet.docker_engine.own_records import OwnRecord, write_record
from backend.fleet.supervision.seed import ReplicaSeed

_KILLED_S: Final = 10.0
"""For the engine to say that a container has ended after SIGKILL."""
_ASK_AGAIN_S: Final = 0.2
_SIGKILL: Final = 9


class ContainerIncarnation:
    """One start of a container. Make it in a running loop: it waits for the end from then on."""

    def __init__(self, engine: OwnEngine, facts: ContainerFacts, log: OwnLog) -> None:
        self.facts = facts
        self.pid = facts.pid if facts.running else None
        self.started_ts = facts.started_ts or engine.clock.now()
        self.paused = facts.paused
        self._engine, self._log = engine, log
        self.host = self._own_address()
        self._pid_was = self.pid
        self._ended: asyncio.Future[tuple[ExitRecord, float | None]] = asyncio.get_running_loop().create_future()
        self._end = asyncio.create_task(self._until_end(), name=f"end of {facts.name}")
        self._end.add_done_callback(self._tell_exit)
        self._on_death: Callable[[], None] | None = None
        self._on_exit: Callable[[ExitRecord], None] | None = None
        self._pidfd: int | None = None
        self._watch_pid()

    @property
    def keeper_pid(self) -> int | None:
        """Nobody of ours holds it."""
        return None

    def watch(self, on_death: Callable[[], None], on_exit: Callable[[ExitRecord], None]) -> None:
        """A death, or an end, that is known already is told at once."""
        self._on_death, self._on_exit = on_death, on_exit
        loop = asyncio.get_running_loop()
        if self.pid is None:
            loop.call_soon(self._tell_death)
        if self._ended.done():
            loop.call_soon(self._tell_exit)

    def unwatch(self) -> None:
        """Nothing is called from here on."""
        self._on_death = self._on_exit = None

    async def signal(self, number: int) -> None:
        """By the engine. Raises TrinityError when it is not running."""
        try:
            await self._engine.call(lambda api: api.kill(self.facts.id, signal=number))
        except (Conflict, NotThere) as error:
            raise TrinityError(f"{self.facts.name} is not running.", "Wait until it is started again.") from error

    async def stop(self, grace_s: float) -> ExitRecord:
        """Its image's stop signal, SIGKILL after `grace_s`. Raises Unreachable while the engine cannot be used."""
        if self._ended.done():
            return self._ended.result()[0]
        asked = asyncio.create_task(self._ask_to_stop(grace_s), name=f"stop {self.facts.name}")
        try:
            both: list[asyncio.Future[Any]] = [self._ended, asked]
            await asyncio.wait(both, timeout=grace_s, return_when=asyncio.FIRST_COMPLETED)
            if asked.done():
                asked.result()
            elif not self._ended.done():
                await self._kill()
            await asyncio.wait([self._ended], timeout=_KILLED_S)
        finally:
            asked.cancel()
        if self._ended.done():
            record = self._ended.result()[0]
            return record if record.reason == "OOMKilled" else msgspec.structs.replace(record, reason="Stopped")
        words = f"The Docker engine did not end container {self.facts.name} within {_KILLED_S:g} s of SIGKILL."
        raise Unreachable(words, "See the engine's log; it is tried again.")

    async def release(self) -> None:
        """The container stays, to be started again; what it wrote is stored."""
        await self._let_go()
        await self._log.drain()
        await self._log.close()

    async def detach(self) -> None:
        """It goes on."""
        await self._let_go()
        await self._log.close()

    def note_exit(self, seed: ReplicaSeed) -> None:
        """Beside the engine: a label cannot be changed. Raises OSError."""
        told_ts = self._ended.result()[1] if self._ended.done() else None
        write_record(self._engine.paths.container_record(seed.name), OwnRecord(seed=seed, told_ts=told_ts))

    # -- its end

    async def _ask_to_stop(self, grace_s: float) -> None:
        path, params = f"/containers/{self.facts.id}/stop", {"t": max(1, math.ceil(grace_s))}
        try:
            async with self._engine.client.stream(path, params, method="POST"):
                pass
        except (Conflict, NotThere):
            pass  # it has ended: its end is about to be told
        except EngineTrouble as trouble:
            self._engine.failed(trouble)
            raise

    async def _kill(self) -> None:
        with contextlib.suppress(Conflict, NotThere):
            await self._engine.call(lambda api: api.kill(self.facts.id, signal=_SIGKILL))

    async def _until_end(self) -> None:
        """Wait for the end as long as it takes, over losses of the engine."""
        facts: ContainerFacts | None = self.facts
        while facts is not None and facts.running:
            try:
                await self._wait_once()
                facts = await self._engine.inspect(self.facts.id)
            except NotThere:
                facts = None
            except EngineTrouble as trouble:
                self._engine.failed(trouble)
                await self._engine.usable()
            except TrinityError:
                await asyncio.sleep(_ASK_AGAIN_S)
        self._dead()
        await self._log.drain()
        self._ended.set_result((self._record(facts), None if facts is None else facts.finished_ts))

    async def _wait_once(self) -> None:
        path = f"/containers/{self.facts.id}/wait"
        async with self._engine.client.stream(path, {"condition": "not-running"}, method="POST") as answer:
            async for _ in answer.aiter_raw():
                pass

    def _record(self, facts: ContainerFacts | None) -> ExitRecord:
        clock, lines = self._engine.clock, self._log.last_lines()
        if facts is None:
            lines = (*lines, "Its container was removed by somebody else.")
            return ExitRecord(
                ts=clock.now(), mono_s=clock.mono(), reason="Unknown", pid=self._pid_was, last_lines=lines
            )
        return own_exit(facts, pid=self._pid_was, now_ts=clock.now(), mono_s=clock.mono(), lines=lines)

    def _own_address(self) -> str | None:
        """A container's own address, where its engine's network is this machine's: straight there, a dead program
        refuses connections, while the engine's proxy goes on taking them for a moment."""
        pid, addresses = self.facts.pid, self.facts.addresses
        if pid is None or not addresses or self._engine.client.info.rootless or not runs_here(pid, self.facts.id):
            return None
        return next(iter(addresses.values()))

    def _watch_pid(self) -> None:
        """The kernel's word comes some tenths of a second before the engine's."""
        if self.pid is None or not runs_here(self.pid, self.facts.id):
            return
        with contextlib.suppress(OSError):  # dead already, or a kernel without: then the engine tells
            self._pidfd = os.pidfd_open(self.pid)
            asyncio.get_running_loop().add_reader(self._pidfd, self._dead)

    def _dead(self) -> None:
        self._forget_pidfd()
        if self.pid is not None:
            self.pid = None
            self._tell_death()

    def _tell_death(self) -> None:
        if self._on_death is not None:
            self._on_death()

    def _tell_exit(self, _: object = None) -> None:
        if self._on_exit is not None and self._ended.done():
            self._on_exit(self._ended.result()[0])

    async def _let_go(self) -> None:
        self.unwatch()
        self._forget_pidfd()
        self._end.cancel()
        await asyncio.wait([self._end])

    def _forget_pidfd(self) -> None:
        if self._pidfd is not None:
            asyncio.get_running_loop().remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = None


def own_exit(
    facts: ContainerFacts, *, pid: int | None, now_ts: float, mono_s: float | None = None, lines: tuple[str, ...] = ()
) -> ExitRecord:
    """How a container that is not running ended."""
    said = (*lines, facts.error) if facts.error else lines
    ts = facts.finished_ts or now_ts
    record = exit_record(ts, facts.exit_code, oom=facts.oom_killed, pid=pid, lines=said)
    return msgspec.structs.replace(record, mono_s=mono_s)


def runs_here(pid: int, container: str, proc: Path = Path("/proc")) -> bool:
    """Whether that process of ours is the container's: an engine in a virtual machine counts its pids by itself."""
    for name in ("cgroup", "mountinfo"):
        with contextlib.suppress(OSError, UnicodeDecodeError):
            if container in (proc / str(pid) / name).read_text():
                return True
    return False
