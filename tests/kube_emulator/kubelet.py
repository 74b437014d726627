"""The kubelet of all nodes: gives every bound pod a life, writes its status, ends it when it is deleted. What happens
in a container is in containers.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import signal
from collections.abc import Callable
from typing import Any

import psutil

from tests.kube_emulator.containers import Container, Exit
from tests.kube_emulator.defaults import timestamp
from tests.kube_emulator.events import Recorder
from tests.kube_emulator.logs import Logs
from tests.kube_emulator.pods import condition
from tests.kube_emulator.processes import Addresses
from tests.kube_emulator.registry import Registry
from tests.kube_emulator.status import ApiError
from tests.kube_emulator.store import Change, Object, Stored

PREFIX = "emulator.test/"


class Kubelet:
    """`speed` compresses waits; `start_s` is how long a sandbox takes, `stop_s` how long a container to end itself."""

    def __init__(
        self, registry: Registry, recorder: Recorder, logs: Logs, *, speed: float, start_s: float, stop_s: float
    ) -> None:
        self.registry = registry
        self.recorder = recorder
        self.logs = logs
        self.speed = speed
        self.start_s = start_s
        self.stop_s = stop_s
        self.missing_images: set[str] = set()
        """Images that cannot be pulled; those with the tag `missing` neither."""
        self.addresses = Addresses()
        self._numbers = itertools.count(random.randrange(1, 200))
        self._behaviours: dict[tuple[str, str], str] = {}
        self._lives: dict[str, PodLife] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._stop: Callable[[], None] | None = None
        self.failures: list[BaseException] = []

    def start(self) -> None:
        self.registry.kubelet_runs = True
        self._stop = self.registry.store.listen(self._heard)
        for stored in self.registry.store.all("pods"):
            self._look(stored)

    async def stop(self) -> None:
        """All real processes are ended. Idempotent."""
        self.registry.kubelet_runs = False
        if self._stop is not None:
            self._stop()
            self._stop = None
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def spawn(self, work: Any) -> asyncio.Task[None]:
        """A task that ends with the kubelet; its error is a fault of the emulator."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.failures.append(error)

    def _heard(self, change: Change) -> None:
        if change.table == "pods":
            if change.type == "DELETED":
                life = self._lives.pop(change.after.uid, None)
                if life is not None:
                    life.vanished()
                self.logs.forget(change.after.uid)
            else:
                self._look(change.after)

    def _look(self, stored: Stored) -> None:
        metadata, life = stored.obj["metadata"], self._lives.get(stored.uid)
        if metadata.get("deletionTimestamp"):
            if life is not None:
                life.terminate(metadata.get("deletionGracePeriodSeconds", 30))
            elif stored.obj["spec"].get("nodeName") and metadata.get("deletionGracePeriodSeconds"):
                self.spawn(self._remove_later(stored))
        elif life is None and stored.obj["spec"].get("nodeName") and stored.obj["status"].get("phase") == "Pending":
            life = self._lives[stored.uid] = PodLife(self, stored)
            life.task = self.spawn(life.run())

    async def _remove_later(self, stored: Stored) -> None:
        """A pod that was only painted: gone after the usual time."""
        await self.sleep(self.stop_s)
        self.remove(stored)

    def remove(self, stored: Stored) -> None:
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": stored.uid}}
        with contextlib.suppress(ApiError):
            self.registry.delete("Pod", *stored.key, options)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self.speed)

    def pod_ip(self, real: bool) -> str:
        if real:
            return self.addresses.take()
        number = next(self._numbers)
        return f"10.244.{number // 250 % 250}.{number % 250 + 1}"

    # what tests order

    def behave(self, namespace: str, pod: str, behaviour: str) -> None:
        """From its next start (or pull) on, instead of what the annotation says."""
        self._behaviours[namespace, pod] = behaviour

    def behaviour_of(self, pod: Object) -> str:
        metadata = pod["metadata"]
        ordered = self._behaviours.get((metadata["namespace"], metadata["name"]))
        return ordered or (metadata.get("annotations") or {}).get(PREFIX + "behaviour", "ready")

    def crash(self, namespace: str, pod: str, *, code: int = 1, reason: str = "Error", container: str = "") -> None:
        """A container ends now; of a real process: SIGKILL."""
        self._container(namespace, pod, container).crash(Exit(code, reason))

    def set_ready(self, namespace: str, pod: str, ready: bool, *, container: str = "") -> None:
        """Readiness of an emulated container."""
        self._container(namespace, pod, container).set_ready(ready)

    def pid_of(self, namespace: str, pod: str, container: str = "") -> int | None:
        """Of its real process, if there is one now."""
        process = self._container(namespace, pod, container).process
        return process.pid if process is not None else None

    def signal(self, namespace: str, pod: str, container: str, number: signal.Signals) -> None:
        """As process 1 of a container feels it; one that is only played does not."""
        pid = self.pid_of(namespace, pod, container)
        if pid is not None:
            os.kill(pid, number)

    def _container(self, namespace: str, pod: str, container: str) -> Container:
        life = self._lives[self.registry.stored("Pod", namespace, pod).uid]
        return next(found for found in life.containers if container in ("", found.name))

    def real_address(self, pod: Object) -> str | None:
        """The loopback address of a pod of real processes."""
        address = str(pod["status"].get("podIP", ""))
        return address if address.startswith("127.") else None

    def measured(self, pod: Object) -> tuple[int, int] | None:
        """(millicores, bytes) of its real processes."""
        life = self._lives.get(pod["metadata"]["uid"])
        watched = [c.watched for c in life.containers if c.watched is not None] if life is not None else []
        if not watched:
            return None
        try:
            cores = sum(process.cpu_percent(None) for process in watched)
            return int(cores * 10), sum(process.memory_info().rss for process in watched)
        except psutil.Error:
            return None


class PodLife:
    """One pod from its binding to its end."""

    def __init__(self, kubelet: Kubelet, stored: Stored) -> None:
        self.kubelet = kubelet
        self.stored = stored
        self.real = (stored.obj["metadata"].get("annotations") or {}).get(PREFIX + "run") == "process"
        self.ip = ""
        self.started = timestamp()
        self.containers = [Container(self, spec) for spec in stored.obj["spec"]["containers"]]
        self.task: asyncio.Task[None] | None = None
        self._ending: float | None = None
        """The grace of the deletion in seconds, once it has begun."""

    @property
    def pod(self) -> Object:
        """As it is stored now. Raises ApiError 404 once it is gone."""
        return self.kubelet.registry.get("Pod", *self.stored.key)

    async def run(self) -> None:
        with contextlib.suppress(ApiError):
            self.write()
            await self.kubelet.sleep(self.kubelet.start_s)
            self.ip = self.kubelet.pod_ip(self.real)
            self.write()
            try:
                await asyncio.gather(*(container.run() for container in self.containers))
            finally:
                for container in self.containers:
                    await container.abandon()

    def write(self) -> None:
        """Its status, from its containers."""

        def change(pod: Object) -> None:
            status, now = pod["status"], timestamp()
            status |= {"hostIP": "127.0.0.1", "startTime": self.started, "phase": self._phase()}
            status["hostIPs"] = [{"ip": "127.0.0.1"}]
            if self.ip:
                status |= {"podIP": self.ip, "podIPs": [{"ip": self.ip}]}
            status["containerStatuses"] = [container.status() for container in self.containers]
            conditions = status.setdefault("conditions", [])
            unready = [container.name for container in self.containers if not container.ready]
            ended = status["phase"] in ("Succeeded", "Failed")
            why = ("PodCompleted", "") if status["phase"] == "Succeeded" else ("ContainersNotReady", "")
            if unready and not ended:
                why = (why[0], f"containers with unready status: [{' '.join(unready)}]")
            condition(conditions, "PodReadyToStartContainers", bool(self.ip), now)
            condition(conditions, "Initialized", True, now)
            for name in ("Ready", "ContainersReady"):
                if unready:
                    condition(conditions, name, False, now, reason=why[0], message=why[1])
                else:
                    condition(conditions, name, True, now)
            condition(conditions, "PodScheduled", True, now)

        self.kubelet.registry.set_status("Pod", *self.stored.key, change)

    def _phase(self) -> str:
        if all(container.final is not None for container in self.containers):
            return "Succeeded" if all(c.final is not None and c.final.code == 0 for c in self.containers) else "Failed"
        return "Running" if any(container.began for container in self.containers) else "Pending"

    def event(self, reason: str, message: str, *, warning: bool = False) -> None:
        with contextlib.suppress(ApiError):
            self.kubelet.recorder.record("Pod", self.pod, reason, message, warning=warning)

    def terminate(self, grace_s: float) -> None:
        """The pod was deleted: end its containers, then remove it. Again with a shorter grace: sooner."""
        if self._ending is None or grace_s < self._ending:
            first = self._ending is None
            self._ending = grace_s
            if first:
                self.kubelet.spawn(self._terminate())

    async def _terminate(self) -> None:
        if self.task is not None:
            for container in self.containers:
                container.stopping = True
                if container.began and container.final is None:
                    self.event("Killing", f"Stopping container {container.name}")
            await asyncio.gather(*(container.end(self._ending or 0.0) for container in self.containers))
            self.task.cancel()
            await asyncio.wait({self.task})
        self.kubelet.remove(self.stored)

    def vanished(self) -> None:
        """Removed from the API without grace."""
        for container in self.containers:
            container.stopping = True
            container.kill()
        if self.task is not None:
            self.task.cancel()
