"""Containers' logs, followed while somebody wants them, into our own log files; the last words of those that end.

Owns which containers are followed and for how long. The files are log_store's.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from backend.contract.clock import Clock
from backend.contract.errors import TrinityError
from backend.fleet.docker_engine.client import EngineClient
from backend.fleet.docker_engine.errors import EngineTrouble, NotThere
from backend.fleet.docker_engine.facts import ContainerFacts
from backend.fleet.docker_engine.frames import LogReader
from backend.fleet.docker_engine.log_store import LogStore
from backend.fleet.docker_engine.swarm import Seen

T = TypeVar("T")

MAX_FOLLOWED: Final = 64
WISH_S: Final = 300.0
"""A log is followed this long after the last wish."""
BACKLOG_LINES: Final = 5000
"""So many lines of before are fetched of a log that was never looked at."""
_ANSWER_S: Final = 2.0
_LAST_WORDS_S: Final = 3.0
_AGAIN_S: Final = 0.5


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A replica's log at the engine."""

    replica: str
    id: str
    """Of its container, or of its task."""
    path: str
    """`/containers/<id>/logs` or `/tasks/<id>/logs`."""
    tty: bool
    created_ts: float
    started_ts: float | None
    running: bool


def container_log(replica: str, facts: ContainerFacts) -> Target:
    """Of a container on this engine."""
    return Target(
        replica=replica,
        id=facts.id,
        path=f"/containers/{facts.id}/logs",
        tty=facts.tty,
        created_ts=facts.created_ts,
        started_ts=facts.started_ts,
        running=facts.running,
    )


def task_log(replica: str, seen: Seen) -> Target:
    """Of a Swarm task on another machine, fetched by way of its manager."""
    return Target(
        replica=replica,
        id=seen.task.id,
        path=f"/tasks/{seen.task.id}/logs",
        tty=False,
        created_ts=seen.task.created_ts,
        started_ts=seen.status.started_ts,
        running=seen.task.state == "running",
    )


Finder = Callable[[str], Target | None]
"""A replica's log as it is now; null where the replica is gone."""


class _Followed:
    def __init__(self, until: float) -> None:
        self.until = until
        self.caught_up = asyncio.Event()
        self.changed = asyncio.Event()
        self.task: asyncio.Task[None] | None = None


class LogKeeper:
    """Follows at most MAX_FOLLOWED logs; of more wishes the oldest is dropped."""

    def __init__(self, client: EngineClient, logs_dir: Callable[[str], Path], find: Finder, clock: Clock) -> None:
        self._client, self._dir, self._find, self._clock = client, logs_dir, find, clock
        self._followed: dict[str, _Followed] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="docker-logs")

    @property
    def followed(self) -> tuple[str, ...]:
        """Replicas whose logs are followed now."""
        return tuple(self._followed)

    async def want(self, replicas: Sequence[str]) -> None:
        """Follow those, newest wish first. Returns once what was there is stored, or after two seconds."""
        until = self._clock.mono() + WISH_S
        for name in list(replicas)[:MAX_FOLLOWED]:
            known = self._followed.pop(name, None) or _Followed(until)
            known.until = until
            self._followed[name] = known
            if known.task is None or known.task.done():
                known.caught_up.clear()
                known.task = asyncio.create_task(self._follow(name, known), name=f"docker logs of {name}")
        while len(self._followed) > MAX_FOLLOWED:
            self._drop(next(iter(self._followed)))
        wanted = [self._followed[name].caught_up.wait() for name in replicas if name in self._followed]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_ANSWER_S):
                await asyncio.gather(*wanted)

    def changed(self, replica: str) -> None:
        """Its container was started, or is another one now."""
        known = self._followed.get(replica)
        if known is not None:
            known.changed.set()

    async def last_words(self, target: Target) -> tuple[str, ...]:
        """Store what a container that has just ended wrote, wanted or not, and give its last lines.

        Afterwards it may be removed, and its log at the engine with it. Raises TrinityError.
        """
        lock = self._lock(target.replica)
        with contextlib.suppress(TimeoutError):  # a follower that is in the middle of it stores the same
            async with asyncio.timeout(_LAST_WORDS_S):
                async with lock:
                    await self._fetch(target, follow=False)
        return await self._in_thread(lambda: LogStore(self._dir(target.replica)).last_lines())

    async def close(self) -> None:
        """End all following."""
        tasks = [known.task for known in self._followed.values() if known.task is not None]
        for name in list(self._followed):
            self._drop(name)
        await asyncio.gather(*tasks, return_exceptions=True)
        self._pool.shutdown(wait=False)

    def _drop(self, name: str) -> None:
        known = self._followed.pop(name)
        known.caught_up.set()
        if known.task is not None:
            known.task.cancel()

    def _lock(self, replica: str) -> asyncio.Lock:
        return self._locks.setdefault(replica, asyncio.Lock())

    async def _follow(self, name: str, known: _Followed) -> None:
        """Until nobody wants it any more: what is there, then what comes, over restarts and new containers."""
        try:
            while self._clock.mono() < known.until:
                known.changed.clear()
                target = self._find(name)
                if target is not None:
                    try:
                        async with self._lock(name):
                            await self._fetch(target, follow=False)
                        known.caught_up.set()
                        if target.running:
                            async with self._lock(name):
                                await self._fetch(target, follow=True, until=known)
                            await asyncio.sleep(_AGAIN_S if self._still(name, target) else 0.0)
                            continue
                    except EngineTrouble:
                        await asyncio.sleep(_AGAIN_S)
                        continue
                    except NotThere:
                        pass
                    except TrinityError:
                        return  # its log driver can't be read: `docker logs` would say the same
                known.caught_up.set()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(max(0.0, known.until - self._clock.mono())):
                        await known.changed.wait()
        finally:
            known.caught_up.set()
            if self._followed.get(name) is known:
                del self._followed[name]

    def _still(self, name: str, target: Target) -> bool:
        """Whether the very container whose log has ended seems to run: then its end is not yet known here."""
        now = self._find(name)
        return now is not None and (now.id, now.started_ts) == (target.id, target.started_ts)

    async def _fetch(self, target: Target, *, follow: bool, until: _Followed | None = None) -> None:
        """Store what is not stored yet; with `follow`, until the container ends or nobody wants it any more."""
        store = LogStore(self._dir(target.replica))
        try:
            await self._in_thread(lambda: store.begin(target.id, int(target.created_ts * 1e9)))
            if target.started_ts is not None:
                started_ns = int(target.started_ts * 1e6) * 1000
                await self._in_thread(lambda: store.note_start(started_ns))
            place = await self._in_thread(store.place)
            params: dict[str, str | int] = {"stdout": 1, "stderr": 1, "timestamps": 1, "follow": int(follow)}
            skip = 0
            if place is None:
                params["tail"] = BACKLOG_LINES
            else:
                params["since"] = f"{place.since_ns // 1_000_000_000}.{place.since_ns % 1_000_000_000:09d}"
                skip = place.skip
            async with self._client.stream(target.path, params) as response:
                reader = LogReader(tty=target.tty)
                pieces = response.aiter_raw()
                while until is None or self._clock.mono() < until.until:
                    piece = await anext(pieces, None)
                    messages = reader.flush() if piece is None else reader.feed(piece)
                    skipped = min(skip, len(messages))
                    skip -= skipped
                    if fresh := messages[skipped:]:
                        await self._in_thread(partial(store.append, fresh))
                    if piece is None:
                        break
        except OSError:
            return  # our own disk: the next look tries again
        finally:
            store.close()

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)
