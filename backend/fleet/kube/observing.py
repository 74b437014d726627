"""The observing half of a Kubernetes fleet: its watches, and the replicas, workloads, nodes and ports seen by them.

Owns the reflectors and what is made of their objects, kept up to date change by change. Changes nothing in the cluster.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from backend.config.fleet_file import KubernetesFile
from backend.config.own_logs import get_logger
from backend.config.paths import StatePaths
from backend.contract.clock import Clock
from backend.contract.errors import TrinityError
from backend.contract.events import EventRecorder
from backend.contract.fleet import ReplicaListener, ReplicaStatus, WorkloadSpec
from backend.contract.ledger import RowSink
from backend.contract.platform import NodeStatus, PlatformWorkload, PortView, Trouble
from backend.contract.words import Severity
from backend.fleet.kube import kinds, shapes
from backend.fleet.kube.access import Access
from backend.fleet.kube.answers import ApiError, trouble_of
from backend.fleet.kube.changes import tell
from backend.fleet.kube.cluster_warnings import Warnings
from backend.fleet.kube.machines import node_status
from backend.fleet.kube.metrics import SampleWriter, UsagePoller
from backend.fleet.kube.pods import Usage, replica_of
from backend.fleet.kube.ports import port_table
from backend.fleet.kube.reflector import Change, Reflector
from backend.fleet.kube.roster import Roster
from backend.fleet.kube.selector import parse_selector
from backend.fleet.kube.workloads import Owner, Workloads

_log = get_logger(__name__)
_FIRST_LIST_S: Final = 2.0
"""How long `adopt` waits for the first list of pods."""
_GRACE_S: Final = 2.0
"""A watch that is taken up again within it is no trouble to show."""
_TICK_S: Final = 1.0
_RETRY_S: Final = 3.0
_NAMESPACE_S: Final = 15.0
_SAME_CPU, _SAME_MEMORY = 1.0, 0.01
"""A measurement nearer to the last than this (percent of a core, share of the bytes) is no news."""


class Observing:
    """Reflectors by kind (`pods`, `services`, ...): `self.pods.objects[name]` is a Pod. See shapes.py."""

    def __init__(
        self,
        paths: StatePaths,
        sink: RowSink,
        clock: Clock,
        name: str,
        settings: KubernetesFile,
        *,
        access: Access | None = None,
    ) -> None:
        """Connects nothing yet. Raises UsageError for a selector that is none."""
        self._name = name
        self.paths, self.sink, self.clock, self.settings = paths, sink, clock, settings
        self.access = access or Access(settings, clock)
        self.recorder = EventRecorder(sink, clock)
        self._listeners: list[ReplicaListener] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._roster, self._workloads = Roster(), Workloads()
        self._owners: dict[str, Owner] = {}
        self._usage: Mapping[str, Usage] = {}
        self._via: dict[str, tuple[int, int | None]] = {}
        """Pod -> the ports of the fault proxy spliced in front of it."""
        self._node_usage: Mapping[str, Usage] = {}
        self._warnings = Warnings(self.recorder, clock, self._subject)
        selector = settings.selector or ""
        self._matches = parse_selector(selector)
        self._samples = SampleWriter(sink, clock, name)
        self.usage = UsagePoller(self.access, selector, self._measured, self._nodes_measured)
        self._config_error: TrinityError | None = None
        self._config_since_ts = 0.0
        self._no_namespace: TrinityError | None = None
        self._no_namespace_since_ts = 0.0
        self._empty = asyncio.Event()
        self._empty.set()
        self._asked = asyncio.Event()
        """Whether there is such a namespace is known, or was asked in vain."""
        self._told_trouble: Trouble | None = None
        self._nodes: tuple[NodeStatus, ...] | None = ()
        self._ports: tuple[PortView, ...] | None = ()
        self.pods: Reflector[shapes.Pod] = self._reflect(kinds.PODS, self._pods_changed, selector, essential=True)
        self.deployments: Reflector[shapes.WorkloadObject] = self._reflect_owners(kinds.DEPLOYMENTS)
        self.replica_sets: Reflector[shapes.WorkloadObject] = self._reflect(
            kinds.REPLICA_SETS, self._replica_sets_changed
        )
        self.stateful_sets: Reflector[shapes.WorkloadObject] = self._reflect_owners(kinds.STATEFUL_SETS)
        self.daemon_sets: Reflector[shapes.WorkloadObject] = self._reflect_owners(kinds.DAEMON_SETS)
        self.jobs: Reflector[shapes.WorkloadObject] = self._reflect_owners(kinds.JOBS)
        self.events: Reflector[shapes.EventObject] = self._reflect(kinds.EVENTS, self._events_changed)
        self.services: Reflector[shapes.Service] = self._reflect(kinds.SERVICES, self._ports_changed)
        self.ingresses: Reflector[shapes.Ingress] = self._reflect(kinds.INGRESSES, self._ports_changed)
        self.node_objects: Reflector[shapes.Node] = self._reflect(kinds.NODES, self._nodes_changed)
        self.budgets: Reflector[shapes.Budget] = self._reflect(kinds.BUDGETS, lambda _: None)

    # -- seeing

    @property
    def name(self) -> str:
        return self._name

    @property
    def namespace(self) -> str:
        return self.access.namespace

    def observe(self) -> Sequence[ReplicaStatus]:
        """All pods, oldest first. The same tuple until one changes."""
        return self._roster.all()

    def on_change(self, listener: ReplicaListener) -> Callable[[], None]:
        """Call `listener` at once when a phase, pid or readiness changes. Returns what ends it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

    def workloads(self) -> Sequence[PlatformWorkload]:
        """What keeps the pods, by name. The same tuple until one changes."""
        return self._workloads.views()

    def nodes(self) -> Sequence[NodeStatus]:
        """By name; none where nodes may not be seen."""
        if self._nodes is None:
            count = self._roster.on_node
            self._nodes = tuple(
                node_status(node, replicas=count.get(name, 0), usage=self._node_usage.get(name))
                for name, node in sorted(self.node_objects.objects.items())
            )
        return self._nodes

    def ports(self) -> Sequence[PortView]:
        """Ingresses, services and ports of containers."""
        if self._ports is None:
            templates = {
                self._workloads.name_of(owner): (found.spec.template.metadata.labels or {}, found.spec.template.spec)
                for owner, found in self._workloads.objects()
            }
            found = port_table(templates, self.services.objects.values(), self.ingresses.objects.values())
            self._ports = found
        return self._ports

    def trouble(self) -> Trouble | None:
        """Why pods cannot be seen now; None while they can, and while a broken watch is just taken up again."""
        about: dict[str, Any] = {"namespace": self.namespace, "context": self.access.context}
        if self._config_error is not None:
            return trouble_of(self._config_error, self._config_since_ts, **about)
        error, since = self.pods.error, self.pods.failing_since_ts
        if error is not None:
            at_once = not self.pods.synced.is_set() or self.pods.state == "forbidden"
            if at_once or self.clock.now() - since >= _GRACE_S:
                return trouble_of(error, since, **about)
        if self._no_namespace is not None:
            return trouble_of(self._no_namespace, self._no_namespace_since_ts, **about)
        return None

    def blind(self) -> Mapping[str, str]:
        """Kind (`nodes`, `events`, ...) -> why none of them can be seen."""
        return {r.resource.plural: r.error.message for r in self.reflectors if r.error and r.state == "forbidden"}

    def declare(self, specs: Sequence[WorkloadSpec]) -> None:
        """What trinity.yaml says of workloads here: their routes, and the ports that their replicas are shown with."""
        if self._workloads.declare(specs):
            self._renew(list(self.pods.objects))

    # -- for the acting half

    @property
    def reflectors(self) -> tuple[Reflector[Any], ...]:
        """One for each kind, pods first."""
        owners = (self.deployments, self.replica_sets, self.stateful_sets, self.daemon_sets, self.jobs)
        others = (self.events, self.services, self.ingresses, self.node_objects, self.budgets)
        return (self.pods, *owners, *others)

    def owner_of(self, replica: str) -> Owner | None:
        """What keeps a replica alive; None for an unknown one."""
        return self._owners.get(replica)

    def workload_owner(self, workload: str) -> Owner | None:
        """The object behind a workload's name (`llm`, `deployment/llm`); None for an unknown one."""
        return self._workloads.find(workload)

    def workload_object(self, owner: Owner) -> shapes.WorkloadObject | None:
        """As it was seen last; None where its kind may not be seen."""
        return self._workloads.object_of(owner)

    def retry_forbidden(self) -> None:
        """Rights may have changed: look again at what was forbidden."""
        for found in self.reflectors:
            if found.state in ("forbidden", "missing"):
                found.retry()

    # -- life

    async def adopt(self) -> Sequence[ReplicaStatus]:
        """Begin to watch. Returns once the pods were listed, or it shows that this takes longer; raises nothing."""
        if not self._tasks:
            self._run("connect", self._connect())
            self._run("tick", self._tick())
        listed = asyncio.create_task(self._first_seen())
        try:
            async with asyncio.timeout(_FIRST_LIST_S):
                while not listed.done() and self.trouble() is None:
                    await asyncio.wait([listed], timeout=0.05)
        except TimeoutError:
            pass
        finally:
            listed.cancel()
        return self.observe()

    async def _first_seen(self) -> None:
        """The pods were listed; where there are none, it is known whether their namespace is there."""
        await self.pods.synced.wait()
        if not self.pods.objects:
            await self._asked.wait()

    async def close(self) -> None:
        """Stop watching; nothing in the cluster changes."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.access.close()

    async def stop_all(self, *, reason: str = "shutdown") -> None:
        """The platform keeps its pods: the same as `close`."""
        await self.close()

    def _run(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name=f"{self._name}: {name}")
        task.add_done_callback(self._ended)
        self._tasks.append(task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A loop that dies of a fault of ours must not do so in silence."""
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a loop of the Kubernetes driver died", loop=task.get_name(), exc_info=error)
            words = f"{task.get_name()} died: {type(error).__name__}: {error}. Restart trinityd."
            self.recorder.record("platform.loop_died", Severity.CRITICAL, self._name, words)

    async def _connect(self) -> None:
        """Read the configuration, again and again until it can be used; then watch."""
        while True:
            try:
                await self.access.open()
                break
            except TrinityError as error:
                if self._config_error is None:
                    self._config_since_ts = self.clock.now()
                self._config_error = error
            await asyncio.sleep(_RETRY_S * (0.5 + self.access.rng.random() / 2))
        self._config_error = None
        for found in self.reflectors:
            self._run(f"watch of {found.resource.plural}", found.run())
        self._run("metrics", self.usage.run())
        await self._watch_namespace()

    async def _watch_namespace(self) -> None:
        """A namespace that is not there has no pods, says the API; so whenever there are none, it is asked for."""
        await self.pods.synced.wait()
        while True:
            await self._empty.wait()
            missing = await self._missing_namespace()
            if missing is not None and self._no_namespace is None:
                self._no_namespace_since_ts = self.clock.now()
            self._no_namespace = missing
            self._asked.set()
            if missing is None:
                self._empty.clear()
            else:
                await asyncio.sleep(_NAMESPACE_S * (0.9 + 0.2 * self.access.rng.random()))

    async def _missing_namespace(self) -> TrinityError | None:
        try:
            await self.access.request("GET", f"/api/v1/namespaces/{self.namespace}", label="get namespaces")
        except ApiError as error:
            if error.status == 404:
                words = f"There is no namespace {self.namespace} in context {self.access.context}."
                return ApiError(404, "NotFound", words, await self._other_namespaces())
        except TrinityError:
            pass  # the watches tell of that
        return None

    async def _other_namespaces(self) -> str:
        with contextlib.suppress(TrinityError):
            found = await self.access.get_json("/api/v1/namespaces", {"limit": 9})
            names = [item["metadata"]["name"] for item in found.get("items") or ()]
            return f"Name one that there is ({', '.join(names[:8])}{', ...' if len(names) > 8 else ''}), or create it."
        return "Name one that there is, or create it."

    async def _tick(self) -> None:
        """Once a second: what depends on time alone."""
        while True:
            await asyncio.sleep(_TICK_S)
            self._tell_trouble()
            self._renew(self._warnings.stale(self.clock.now()))

    def _tell_trouble(self) -> None:
        now, told = self.trouble(), self._told_trouble
        if now is not None and (told is None or told.kind != now.kind):
            self.recorder.record("platform.trouble", Severity.ERROR, self._name, f"{now.message} {now.next_step}")
            self._told_trouble = now
        elif now is None and told is not None:
            for_s = self.clock.now() - told.since_ts
            words = f"{self._name} can be seen again after {for_s:.0f} s"
            self.recorder.record("platform.returned", Severity.INFO, self._name, words, for_s=round(for_s, 1))
            self._told_trouble = None

    # -- changes

    def _reflect(
        self,
        resource: kinds.Resource[Any],
        changed: Callable[[Sequence[Change[Any]]], None],
        selector: str = "",
        *,
        essential: bool = False,
    ) -> Reflector[Any]:
        return Reflector(resource, self.access, self.clock, changed, label_selector=selector, essential=essential)

    def _reflect_owners(self, resource: kinds.Resource[Any]) -> Reflector[Any]:
        def changed(changes: Sequence[Change[shapes.WorkloadObject]]) -> None:
            renamed: set[str] = set()
            for old, new in changes:
                found = new or old
                assert found is not None, "a change has a former or a present object"
                ours = new is not None and self._matches(new.spec.template.metadata.labels or {})
                owner = Owner(resource.kind, found.metadata.name)
                if ours or self._workloads.object_of(owner) is not None:
                    renamed.update(self._workloads.put(owner, new if ours else None))
            self._ports = None
            self._rename(renamed)

        return self._reflect(resource, changed)

    def _pods_changed(self, changes: Sequence[Change[shapes.Pod]]) -> None:
        renamed: set[str] = set()
        first, moves = not self.pods.synced.is_set(), self._roster.moves
        for old, new in changes:
            if new is None:
                if old is not None:
                    renamed.update(self._drop(old))
                continue
            renamed.update(self._adopt_owner(new))
            self._put(self._make(new), tell_it=not first)
        if self._roster.moves != moves:
            self._nodes = None
        if self.pods.objects:
            self._no_namespace = None
        else:
            self._empty.set()
        self._rename(renamed)

    def _adopt_owner(self, pod: shapes.Pod) -> Sequence[str]:
        name, owner = pod.metadata.name, self._workloads.owner_of(pod)
        former = self._owners.get(name)
        if former == owner:
            self._workloads.renew_bare(owner, pod)
            return ()
        self._owners[name] = owner
        lost = self._workloads.put_pod(former, pod, -1) if former is not None else ()
        return (*lost, *self._workloads.put_pod(owner, pod, 1))

    def _drop(self, pod: shapes.Pod) -> Sequence[str]:
        name = pod.metadata.name
        self._warnings.forget(pod.metadata.uid)
        owner = self._owners.pop(name, None)
        self._via.pop(name, None)
        old = self._roster.drop(name)
        if old is not None:
            tell(self.recorder, old, None)
            self._notify(old)
        return self._workloads.put_pod(owner, pod, -1) if owner is not None else ()

    def _make(self, pod: shapes.Pod) -> ReplicaStatus:
        name = pod.metadata.name
        owner = self._owners[name]
        workload = self._workloads.name_of(owner)
        made = replica_of(
            pod,
            fleet=self._name,
            workload=workload,
            owner=str(owner),
            port=self._workloads.port_of(owner),
            usage=self._usage.get(name),
            failing=self._warnings.failing(pod.metadata.uid),
            now=self.clock.now(),
        )
        via = self._via.get(name)
        return made if via is None else msgspec.structs.replace(made, via_port=via[0], via_health_port=via[1])

    def _put(self, new: ReplicaStatus, *, tell_it: bool = True) -> None:
        old = self._roster.get(new.name)
        if old == new:
            return
        self._roster.put(new)
        if tell_it:
            tell(self.recorder, old, new)
        if old is None or _differs(old, new):
            self._notify(new)

    def _notify(self, status: ReplicaStatus) -> None:
        for listener in list(self._listeners):
            listener(status)

    def _renew(self, names: Iterable[str]) -> None:
        """Make the statuses of those pods anew: something beside the pods themselves has changed."""
        for name in names:
            pod = self.pods.objects.get(name)
            if pod is not None and name in self._owners:
                self._put(self._make(pod))

    def _rename(self, names: set[str]) -> None:
        if names:
            self._ports = None
            self._renew([pod for pod, owner in self._owners.items() if owner.name in names])

    def _replica_sets_changed(self, changes: Sequence[Change[shapes.WorkloadObject]]) -> None:
        for old, new in changes:
            found = new or old
            assert found is not None, "a change has a former or a present object"
            self._workloads.put_replica_set(found.metadata.name, new)
            owner = Owner("ReplicaSet", found.metadata.name)
            if new is not None and new.metadata.controller is None and self._matches(_labels(new)):
                self._rename(set(self._workloads.put(owner, new)))
            elif self._workloads.object_of(owner) is not None:
                self._rename(set(self._workloads.put(owner, None)))
        above = [name for name, owner in self._owners.items() if owner.kind == "ReplicaSet"]
        for name in above:
            pod = self.pods.objects.get(name)
            if pod is not None:
                self._rename(set(self._adopt_owner(pod)))
                self._renew([name])

    def _events_changed(self, changes: Sequence[Change[shapes.EventObject]]) -> None:
        self._renew(self._warnings.take(changes))

    def _ports_changed(self, changes: Sequence[Change[Any]]) -> None:
        self._ports = None

    def _nodes_changed(self, changes: Sequence[Change[shapes.Node]]) -> None:
        self._nodes = None

    def _subject(self, about: shapes.ObjectReference) -> str:
        """Whom an event's row is about: a replica, a workload by its name here, a node, or the fleet."""
        if about.kind in ("Pod", "Node"):
            return about.name
        return (
            self._workloads.name_of(Owner(about.kind, about.name)) if about.kind in kinds.WORKLOAD_KINDS else self._name
        )

    def _measured(self, usage: Mapping[str, Usage]) -> None:
        self._usage = usage
        for old in self._roster.all():
            found = usage.get(old.name)
            if not _same(old, found):
                cpu = found.cpu_percent if found is not None else None
                memory = found.memory_bytes if found is not None else None
                self._roster.put(msgspec.structs.replace(old, cpu_percent=cpu, memory_bytes=memory))
        if usage:
            self._samples.write(self._roster.all())

    def _nodes_measured(self, usage: Mapping[str, Usage]) -> None:
        self._node_usage, self._nodes = usage, None


def _labels(found: shapes.WorkloadObject) -> Mapping[str, str]:
    return found.spec.template.metadata.labels or {}


def _differs(old: ReplicaStatus, new: ReplicaStatus) -> bool:
    """Whether who reacts to changes has to hear of it."""
    heeded = ("phase", "pid", "containers_ready", "host", "port", "via_port", "reason", "workload")
    return any(getattr(old, name) != getattr(new, name) for name in heeded)


def _same(old: ReplicaStatus, found: Usage | None) -> bool:
    """Whether a measurement is no news."""
    if found is None or old.memory_bytes is None or old.cpu_percent is None:
        return found is None and old.memory_bytes is None
    near = abs(old.cpu_percent - found.cpu_percent) < _SAME_CPU
    return near and abs(old.memory_bytes - found.memory_bytes) <= _SAME_MEMORY * old.memory_bytes
