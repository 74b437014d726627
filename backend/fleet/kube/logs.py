"""Logs of pods, fetched while somebody wants them and stored as the shims store theirs.

Owns the streams: at most so many pods at a time, those wished for last; each ends some minutes after the last wish for
it. A stream that breaks goes on after the last stored line. What a container wrote before it was started again
(`previous`) is stored into its former life. Never parses a message.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from backend.config.own_logs import get_logger
from backend.contract.clock import Clock
from backend.contract.errors import TrinityError
from backend.fleet.kube.access import Access
from backend.fleet.kube.answers import ApiError
from backend.fleet.kube.log_store import CatchUp, Line, Mark, PodLog, read_line
from backend.fleet.kube.objects import Ref, path_of
from backend.fleet.kube.refusals import worded
from backend.fleet.kube.shapes import ContainerStatus, Pod

_log = get_logger(__name__)
MAX_PODS: Final = 24
LINGER_S: Final = 300.0
_ANSWER_S: Final = 2.0
_TAIL_LINES: Final = 2000
"""Of a pod that is seen for the first time."""
_BACKLOG_BYTES: Final = 32 * 1024 * 1024
_PAUSE_S: Final = 0.25
_LONGEST_PAUSE_S: Final = 10.0
_MAX_LINE: Final = 4 * 1024 * 1024
_DECODER: Final = msgspec.json.Decoder(Pod)


class PodLogs:
    """Loggable's deeds. `pod_of` gives a pod as it was last seen; call `changed` when one changed."""

    def __init__(
        self,
        access: Access,
        clock: Clock,
        logs_dir: Path,
        pod_of: Callable[[str], Pod | None],
        newest: Callable[[int], Sequence[str]],
        *,
        max_pods: int = MAX_PODS,
        linger_s: float = LINGER_S,
    ) -> None:
        self._access, self._clock, self._logs_dir = access, clock, logs_dir
        self._pod_of, self._newest = pod_of, newest
        self._max_pods, self._linger_s = max_pods, linger_s
        self._wishes: dict[str, float] = {}
        """Replica -> when it is no longer wanted, the newest wish last."""
        self._followers: dict[str, _Follower] = {}
        self._reaper: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def followed(self) -> tuple[str, ...]:
        """Whose logs are fetched now."""
        return tuple(self._followers)

    async def want(self, replicas: Sequence[str] | None) -> None:
        """See Loggable.want_logs. Raises Refused where logs may not be read, naming the rule."""
        names = list(self._newest(self._max_pods) if replicas is None else replicas)[: self._max_pods]
        until = self._clock.mono() + self._linger_s
        asked: list[_Follower] = []
        for name in names:
            if self._pod_of(name) is None:
                continue
            self._wishes.pop(name, None)
            self._wishes[name] = until
            follower = self._followers.get(name)
            if follower is None or follower.ended:
                follower = _Follower(self._access, self._logs_dir / name, name, self._pod_of)
                self._followers[name] = follower
                follower.begin()
            asked.append(follower)
        for name in list(self._wishes)[: max(0, len(self._wishes) - self._max_pods)]:
            self._drop(name)
        if self._reaper is None or self._reaper.done():
            self._reaper = asyncio.get_running_loop().create_task(self._reap())
        if not asked:
            return
        waits = [asyncio.ensure_future(follower.stored.wait()) for follower in asked]
        try:
            await asyncio.wait(waits, timeout=_ANSWER_S)
        finally:
            for wait in waits:
                wait.cancel()
        refused = [follower.refusal for follower in asked if follower.refusal is not None]
        if len(refused) == len(asked) and refused[0] is not None:
            raise worded(refused[0], f"read the log of {asked[0].name}")

    def changed(self, replica: str) -> None:
        """A pod changed or went."""
        follower = self._followers.get(replica)
        if follower is not None:
            follower.wake()

    async def close(self) -> None:
        """End all streams; what was stored stays."""
        if self._reaper is not None:
            self._reaper.cancel()
        for name in list(self._followers):
            self._drop(name)
        tasks = [*self._ending, *([self._reaper] if self._reaper else [])]
        await asyncio.gather(*tasks, return_exceptions=True)

    def _drop(self, name: str) -> None:
        self._wishes.pop(name, None)
        follower = self._followers.pop(name, None)
        if follower is not None:
            task = asyncio.get_running_loop().create_task(follower.close())
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    async def _reap(self) -> None:
        while self._wishes:
            first = min(self._wishes.values())
            await asyncio.sleep(max(0.05, first - self._clock.mono()))
            for name, until in list(self._wishes.items()):
                follower = self._followers.get(name)
                if until <= self._clock.mono() or follower is None or follower.ended:
                    self._drop(name)


class _Follower:
    """One pod: what was there, then a stream for each container."""

    def __init__(self, access: Access, directory: Path, name: str, pod_of: Callable[[str], Pod | None]) -> None:
        self.name = name
        self.stored = asyncio.Event()
        """What was there before is stored, or cannot be fetched."""
        self.refusal: ApiError | None = None
        self._access, self._directory, self._pod_of = access, directory, pod_of
        self._task: asyncio.Task[None] | None = None
        self._wakers: set[asyncio.Event] = set()

    @property
    def ended(self) -> bool:
        return self._task is not None and self._task.done()

    def begin(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    def wake(self) -> None:
        for event in self._wakers:
            event.set()

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        pod = self._pod_of(self.name)
        names = [] if pod is None else containers_of(pod)
        log = PodLog(self._directory, names)
        try:
            await asyncio.to_thread(log.open)
            await self._backlog(log, names)
            self.stored.set()
            if self.refusal is None:
                async with asyncio.TaskGroup() as group:
                    for name in names:
                        group.create_task(self._follow(log, name))
        except (TrinityError, ExceptionGroup, OSError) as error:
            _log.warning("log ended", replica=self.name, error=str(error))
        finally:
            self.stored.set()
            log.close()

    # -- what was there

    async def _backlog(self, log: PodLog, names: Sequence[str]) -> None:
        """Former and present lives of all containers, in the order of their stamps."""
        pod = self._pod_of(self.name)
        if pod is None:
            return
        statuses = {status.name: status for status in statuses_of(pod)}
        former: dict[str, list[Line]] = {}
        present: dict[str, list[Line]] = {}
        restarted = [name for name in names if name in statuses and _has_former(log, statuses[name])]
        for name in restarted:
            former[name] = await self._fetched(log, name, previous=True)
        _store(log, former)
        for name in names:
            status = statuses.get(name)
            if status is not None and has_run(status):
                self._note(log, pod, status)
        for name in names:
            if name in statuses and has_run(statuses[name]):
                present[name] = await self._fetched(log, name)
        _store(log, present)

    async def _fetched(self, log: PodLog, container: str, *, previous: bool = False) -> list[Line]:
        """The lines there are that are not stored yet; none where they cannot be had now."""
        lines: list[Line] = []
        try:
            async for batch in self._lines(log.mark(container), container, previous=previous):
                lines += batch
        except ApiError as error:
            if error.status == 403:
                self.refusal = error
        except TrinityError as error:
            _log.info("log not fetched", replica=self.name, container=container, error=str(error))
        return lines

    def _note(self, log: PodLog, pod: Pod, status: ContainerStatus) -> None:
        """Note the start of a container's present life."""
        state = status.last_state if _between(status) else status.state
        ran = (state.running or state.terminated) if state is not None else None
        started = ran.started_at if ran is not None else None
        restarts = sum(each.restart_count or 0 for each in statuses_of(pod))
        ns = int(started.timestamp()) * 1_000_000_000 if started is not None else 0
        log.begin_life(status.name, status.container_id or "", ns, restarts=restarts)

    # -- what comes

    async def _follow(self, log: PodLog, container: str) -> None:
        """A container's log until its pod is gone, through restarts and broken streams."""
        event = asyncio.Event()
        self._wakers.add(event)
        pause = _PAUSE_S
        try:
            while True:
                pod = self._pod_of(self.name)
                if pod is None:
                    return
                status = next((s for s in statuses_of(pod) if s.name == container), None)
                if status is None or status.container_id is None or not has_run(status):
                    await _woken(event, None)
                    continue
                began = log.lines
                if not log.knows(container, status.container_id):
                    if _has_former(log, status):
                        await self._rest_of_former(log, container)
                    self._note(log, pod, status)
                try:
                    async for batch in self._lines(log.mark(container), container, life=status.container_id):
                        log.write(container, batch)
                except ApiError as error:
                    if error.status in (403, 404):
                        return
                    pause = max(pause, error.retry_after_s or 0.0)
                except TrinityError as error:
                    _log.info("log stream broke", replica=self.name, container=container, error=str(error))
                pause = _PAUSE_S if log.lines > began else min(_LONGEST_PAUSE_S, pause * 2)
                if await self._over(container, status.container_id):
                    await _woken(event, None)
                else:
                    await _woken(event, pause)
        finally:
            self._wakers.discard(event)

    async def _rest_of_former(self, log: PodLog, container: str) -> None:
        """What the former life wrote last, if its stream broke before it came."""
        lines = await self._fetched(log, container, previous=True)
        log.write(container, lines)

    async def _over(self, container: str, start: str) -> bool:
        """Whether that life of a container has ended and all of it is here, so that only a change brings more."""
        try:
            pod = _DECODER.decode(await self._access.request("GET", path_of(self._ref())))
        except (TrinityError, msgspec.DecodeError):
            return False
        status = next((s for s in statuses_of(pod) if s.name == container), None)
        if status is None or status.container_id != start:
            seen = self._pod_of(self.name)
            known = next((s for s in statuses_of(seen) if s.name == container), None) if seen is not None else None
            # Somebody newer runs; wait until the watch says so too, unless it has.
            return known is not None and known.container_id == start
        return status.state is not None and status.state.running is None

    async def _still(self, container: str, start: str) -> bool:
        """Whether the container's present life is that one. A stream that was opened before this was asked is its."""
        try:
            pod = _DECODER.decode(await self._access.request("GET", path_of(self._ref())))
        except ApiError as error:
            if error.status == 403:  # it may be watched, but not read: what is seen must do
                return True
            raise
        except msgspec.DecodeError:
            return True
        return any(status.name == container and status.container_id == start for status in statuses_of(pod))

    async def _lines(
        self, mark: Mark, container: str, *, life: str = "", previous: bool = False
    ) -> AsyncGenerator[list[Line], None]:
        """Lines after the mark, in batches as they come; with `life` (a container's id) those that are still to come,
        and none where another life began meanwhile. Raises what the API raises."""
        follow = bool(life)
        query: list[tuple[str, object]] = [("container", container), ("timestamps", True)]
        if follow:
            query.append(("follow", True))
        if previous:
            query.append(("previous", True))
        if mark.count:
            since = datetime.fromtimestamp(mark.us // 1_000_000, UTC)
            query.append(("sinceTime", since.strftime("%Y-%m-%dT%H:%M:%SZ")))
        elif not follow:
            query.append(("tailLines", _TAIL_LINES))
        catch_up = CatchUp(msgspec.structs.replace(mark))
        label = "follow logs" if follow else "read logs"
        async with self._access.stream(path_of(self._ref(), "log"), query, label=label, accept="*/*") as response:
            if life and not await self._still(container, life):
                return
            rest, total = b"", 0
            while True:
                try:
                    chunk = await response.content.readany()
                except Exception as error:
                    raise self._access.broken(error) from error
                if not chunk:
                    break
                total += len(chunk)
                *raw, rest = (rest + chunk).split(b"\n")
                if len(rest) > _MAX_LINE:
                    raw, rest = [*raw, rest], b""
                batch = [line for one in raw if catch_up.new(line := read_line(one))]
                if batch:
                    yield batch
                if not follow and total > _BACKLOG_BYTES:
                    return
            # A last line without its end: whole once the container ended, else it comes again.
            if rest and not follow and catch_up.new(line := read_line(rest)):
                yield [line]

    def _ref(self) -> Ref:
        return Ref("Pod", self._access.namespace, self.name)


def containers_of(pod: Pod) -> list[str]:
    """All containers by name, in the order they are started."""
    spec = pod.spec
    return [each.name for each in (*(spec.init_containers or ()), *(spec.containers or ()))]


def statuses_of(pod: Pod) -> list[ContainerStatus]:
    status = pod.status
    return [*(status.init_container_statuses or ()), *(status.container_statuses or ())]


def has_run(status: ContainerStatus) -> bool:
    """Whether there is a log of its present container."""
    return bool(status.container_id) and (_runs_or_ended(status) or _between(status))


def _runs_or_ended(status: ContainerStatus) -> bool:
    state = status.state
    return state is not None and (state.running is not None or state.terminated is not None)


def _between(status: ContainerStatus) -> bool:
    """Whether it waits to be started again (CrashLoopBackOff): its id and both its logs are those of the life that
    ended last."""
    last = status.last_state
    return not _runs_or_ended(status) and last is not None and last.terminated is not None


def _has_former(log: PodLog, status: ContainerStatus) -> bool:
    """Whether `previous` may hold what is not stored yet."""
    return (
        bool(status.restart_count) and _runs_or_ended(status) and not log.knows(status.name, status.container_id or "")
    )


def _store(log: PodLog, fetched: dict[str, list[Line]]) -> None:
    """Lines of several containers, merged by their stamps."""
    rows = ([(line.ns or 0, name, line) for line in lines] for name, lines in sorted(fetched.items()))
    for _, name, line in heapq.merge(*rows, key=lambda row: row[0]):
        log.write(name, (line,))


async def _woken(event: asyncio.Event, within_s: float | None) -> None:
    """Until something changed, or so long."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            await event.wait()
    event.clear()
