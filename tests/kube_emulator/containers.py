"""A container's life: pull, start, run (emulated, or a real process with its probes), end, back-off, again."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import signal
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psutil

from tests.kube_emulator.defaults import timestamp
from tests.kube_emulator.processes import Process, environment, expanded, probe

if TYPE_CHECKING:
    from tests.kube_emulator.kubelet import PodLife

_LONGEST_BACKOFF_S = 300.0
_UNHEALTHY_EVERY_S = 10.0


@dataclass(frozen=True)
class Exit:
    """How a container ended."""

    code: int
    reason: str


class Container:
    """One container of a pod."""

    def __init__(self, pod: PodLife, spec: dict[str, Any]) -> None:
        self._pod = pod
        self.name: str = spec["name"]
        self.spec = spec
        self.ready = False
        self.began = False
        """Whether it ever ran."""
        self.final: Exit | None = None
        """Set once it will not start again."""
        self.stopping = False
        self.restarts = 0
        self.process: Process | None = None
        self.watched: psutil.Process | None = None
        self._container_id = ""
        self._state: dict[str, Any] = {"waiting": {"reason": "ContainerCreating"}}
        self._last: dict[str, Any] = {}
        self._told: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        """How it must end, once somebody says so."""

    # what is seen

    def status(self) -> dict[str, Any]:
        image = self._image
        running = "running" in self._state
        shown: dict[str, Any] = {
            "name": self.name,
            "ready": self.ready,
            "started": running,
            "restartCount": self.restarts,
            "image": image,
            "imageID": f"{image.partition(':')[0]}@sha256:{hashlib.sha256(image.encode()).hexdigest()}"
            if self.began
            else "",
            "state": self._state,
            "lastState": self._last,
        }
        if self._container_id:
            shown["containerID"] = self._container_id
        return shown

    @property
    def _image(self) -> str:
        with contextlib.suppress(Exception):
            for container in self._pod.pod["spec"]["containers"]:
                if container["name"] == self.name:
                    return str(container.get("image", ""))
        return str(self.spec.get("image", ""))

    def _annotation(self, name: str, default: float) -> float:
        return float((self._pod.stored.obj["metadata"].get("annotations") or {}).get(f"emulator.test/{name}", default))

    # its life

    async def run(self) -> None:
        """Until it will not start again."""
        kubelet, backoff_s, loop = self._pod.kubelet, 0.0, asyncio.get_running_loop()
        while True:
            await self._pull()
            begun = loop.time()
            ended = await self._once()
            policy = self._pod.stored.obj["spec"].get("restartPolicy", "Always")
            terminated = self._terminated(ended)
            self.ready = False
            if self.stopping or policy == "Never" or (policy == "OnFailure" and ended.code == 0):
                self._state, self.final = {"terminated": terminated}, ended
                self._pod.write()
                return
            if (loop.time() - begun) * kubelet.speed > 2 * _LONGEST_BACKOFF_S:
                backoff_s = 0.0
            self._state = {"terminated": terminated}
            self._pod.write()
            if backoff_s:
                await asyncio.sleep(min(0.2, 1.0 / kubelet.speed))  # both states are there to be seen, as in life
                await self._back_off(backoff_s, terminated)
            backoff_s = min(_LONGEST_BACKOFF_S, backoff_s * 2 or 10.0)
            self._last = {"terminated": terminated}
            self.restarts += 1

    async def _back_off(self, seconds: float, terminated: dict[str, Any]) -> None:
        metadata = self._pod.stored.obj["metadata"]
        title = f"{metadata['name']}_{metadata['namespace']}({metadata['uid']})"
        message = f"back-off {int(seconds)}s restarting failed container={self.name} pod={title}"
        self._state = {"waiting": {"reason": "CrashLoopBackOff", "message": message}}
        self._last = {"terminated": terminated}
        self._pod.write()
        words = f"Back-off restarting failed container {self.name} in pod {title}"
        self._pod.event("BackOff", words, warning=True)
        await self._pod.kubelet.sleep(seconds)

    async def _pull(self) -> None:
        kubelet, wait_s = self._pod.kubelet, 10.0
        while self._missing():
            image = self._image
            message = (
                f'failed to pull and unpack image "{image}": failed to resolve reference "{image}": {image}: not found'
            )
            self._pod.event("Pulling", f'Pulling image "{image}"')
            self._pod.event("Failed", f'Failed to pull image "{image}": {message}', warning=True)
            self._pod.event("Failed", "Error: ErrImagePull", warning=True)
            self._state = {"waiting": {"reason": "ErrImagePull", "message": message}}
            self._pod.write()
            await asyncio.sleep(min(0.2, 1.0 / kubelet.speed))
            self._pod.event("BackOff", f'Back-off pulling image "{image}"')
            self._pod.event("Failed", "Error: ImagePullBackOff", warning=True)
            self._state = {"waiting": {"reason": "ImagePullBackOff", "message": f'Back-off pulling image "{image}"'}}
            self._pod.write()
            await kubelet.sleep(wait_s)
            wait_s = min(_LONGEST_BACKOFF_S, wait_s * 2)
        self._pod.event("Pulled", f'Container image "{self._image}" already present on machine')

    def _missing(self) -> bool:
        kubelet, image = self._pod.kubelet, self._image
        if image in kubelet.missing_images or image.endswith(":missing"):
            return True
        return kubelet.behaviour_of(self._pod.pod) == "image-pull"

    async def _once(self) -> Exit:
        """From one start to its end."""
        self._container_id = f"containerd://{uuid.uuid4().hex}{uuid.uuid4().hex}"
        self._told = asyncio.get_running_loop().create_future()
        output = self._pod.kubelet.logs.start(self._pod.stored.uid, self.name)
        self._began_at = timestamp()
        try:
            if self._pod.real:
                return await self._run_process()
            self._mark_running()
            output.say(f"{self.name} started")
            return await self._emulate()
        finally:
            output.end()

    def _mark_running(self) -> None:
        self.began = True
        self._state = {"running": {"startedAt": self._began_at}}
        self._pod.event("Created", f"Container created: {self.name}")
        self._pod.event("Started", f"Container started: {self.name}")
        self._pod.write()

    def _terminated(self, ended: Exit) -> dict[str, Any]:
        return {
            "exitCode": ended.code,
            "reason": ended.reason,
            "startedAt": self._began_at,
            "finishedAt": timestamp(),
            "containerID": self._container_id,
        }

    # emulated

    async def _emulate(self) -> Exit:
        kubelet = self._pod.kubelet
        behaviour = kubelet.behaviour_of(self._pod.pod)
        run_for_s = self._annotation("run-for", 1.0)
        if behaviour == "unready":
            return await self._never_ready()
        if behaviour in ("crash", "oom", "complete", "unlive"):
            with contextlib.suppress(TimeoutError):
                return await asyncio.wait_for(asyncio.shield(self._told), run_for_s / kubelet.speed)
            if behaviour == "oom":
                return Exit(137, "OOMKilled")
            if behaviour == "complete":
                return Exit(0, "Completed")
            if behaviour == "unlive":
                self._pod.event(
                    "Unhealthy", "Liveness probe failed: HTTP probe failed with statuscode: 500", warning=True
                )
                message = f"Container {self.name} failed liveness probe, will be restarted"
                self._pod.event("Killing", message)
                return Exit(137, "Error")
            return Exit(int(self._annotation("exit-code", 1)), "Error")
        with contextlib.suppress(TimeoutError):
            return await asyncio.wait_for(
                asyncio.shield(self._told), self._annotation("ready-after", 0.5) / kubelet.speed
            )
        self.set_ready(True)
        return await asyncio.shield(self._told)

    async def _never_ready(self) -> Exit:
        while True:
            message = "Readiness probe failed: HTTP probe failed with statuscode: 503"
            self._pod.event("Unhealthy", message, warning=True)
            with contextlib.suppress(TimeoutError):
                seconds = max(0.05, _UNHEALTHY_EVERY_S / self._pod.kubelet.speed)
                return await asyncio.wait_for(asyncio.shield(self._told), seconds)

    # a real process

    async def _run_process(self) -> Exit:
        pod, spec = self._pod, self.spec
        values = environment(pod.kubelet.registry, pod.pod, spec, pod.ip)
        argv = [expanded(word, values) for word in (spec.get("command") or []) + (spec.get("args") or [])]
        output = pod.kubelet.logs.current(pod.stored.uid, self.name)
        try:
            self.process = await Process.start(argv, values, output, spec.get("workingDir"))
        except OSError as error:
            pod.event("Failed", f"Error: failed to create containerd task: {error}", warning=True)
            return Exit(128, "StartError")
        with contextlib.suppress(psutil.Error):
            self.watched = psutil.Process(self.process.pid)
        self._mark_running()
        tasks = [asyncio.ensure_future(self._probing())]
        waiting = asyncio.ensure_future(self.process.wait())
        try:
            await asyncio.wait({waiting, self._told}, return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                self.process.signal(signal.SIGKILL)
            code = await waiting
        finally:
            for task in tasks:
                task.cancel()
            self.watched = None
        if self._told.done():
            return self._told.result()
        return Exit(code, "Completed" if code == 0 else "Error")

    async def _probing(self) -> None:
        """Startup first, then readiness and liveness side by side."""
        startup = self.spec.get("startupProbe")
        if startup:
            while problem := await self._ask(startup):
                self._pod.event("Unhealthy", f"Startup probe failed: {problem}", warning=True)
                await self._period(startup)
        await asyncio.gather(self._readiness(), self._liveness())

    async def _ask(self, spec: dict[str, Any]) -> str:
        return await probe(spec, self.spec, self._pod.ip)

    async def _period(self, spec: dict[str, Any]) -> None:
        await asyncio.sleep(max(0.05, spec.get("periodSeconds", 10) / self._pod.kubelet.speed))

    async def _readiness(self) -> None:
        spec = self.spec.get("readinessProbe")
        if not spec:
            self.set_ready(True)
            return
        await self._pod.kubelet.sleep(spec.get("initialDelaySeconds", 0))
        failures = 0
        while True:
            problem = await self._ask(spec)
            failures = failures + 1 if problem else 0
            if problem:
                self._pod.event("Unhealthy", f"Readiness probe failed: {problem}", warning=True)
            if not problem or failures >= spec.get("failureThreshold", 3):
                self.set_ready(not problem)
            await self._period(spec)

    async def _liveness(self) -> None:
        spec = self.spec.get("livenessProbe")
        if not spec:
            return
        await self._pod.kubelet.sleep(spec.get("initialDelaySeconds", 0))
        failures = 0
        while True:
            problem = await self._ask(spec)
            failures = failures + 1 if problem else 0
            if problem:
                self._pod.event("Unhealthy", f"Liveness probe failed: {problem}", warning=True)
            if failures >= spec.get("failureThreshold", 3) and self.process is not None:
                self._pod.event("Killing", f"Container {self.name} failed liveness probe, will be restarted")
                self.crash(Exit(137, "Error"))
                return
            await self._period(spec)

    # from outside

    def set_ready(self, ready: bool) -> None:
        if self.ready is not ready and "running" in self._state:
            self.ready = ready
            self._pod.write()

    def crash(self, ended: Exit) -> None:
        if not self._told.done():
            self._told.set_result(ended)

    def kill(self) -> None:
        if self.process is not None:
            self.process.signal(signal.SIGKILL)

    async def end(self, grace_s: float) -> None:
        """Gracefully."""
        if self.process is not None:
            await self.process.end(grace_s)
        else:
            await self._pod.kubelet.sleep(min(grace_s, self._pod.kubelet.stop_s))

    async def abandon(self) -> None:
        """The life is over, however it came: nothing may be left."""
        if self.process is not None:
            self.process.signal(signal.SIGKILL)
            await self.process.wait()
