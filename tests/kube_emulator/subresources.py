"""Subresources that are answered by one document or one text: scale, status, binding, eviction, log."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from tests.kube_emulator.access import Account
from tests.kube_emulator.api import Api, encoded, read_body, shown
from tests.kube_emulator.budgets import allow_eviction
from tests.kube_emulator.defaults import seconds_of
from tests.kube_emulator.logs import Logs
from tests.kube_emulator.patches import apply_patch
from tests.kube_emulator.requests import Asked
from tests.kube_emulator.status import ApiError, bad_request, conflict, method_not_allowed, success
from tests.kube_emulator.store import Object


@dataclass
class Subresources:
    """Adds itself to `api`. `eviction_retry_after_s` is put on refused evictions where it is not 0 (proxies in front of
    some clusters do; the API server itself only where a budget is still being processed)."""

    api: Api
    logs: Logs
    eviction_retry_after_s: int = 0

    def __post_init__(self) -> None:
        self.api.subresources |= {
            "status": self.status,
            "scale": self.scale,
            "eviction": self.eviction,
            "binding": self.binding,
            "log": self.log,
            "finalize": self.status,
        }

    async def status(self, request: web.BaseRequest, what: Asked, account: Account) -> web.StreamResponse:
        assert what.kind is not None
        if what.verb == "get":
            return shown(what.kind, self.api.registry.stored(what.kind, what.namespace, what.name))
        if what.verb == "update":
            return await self.api.update(request, what)
        if what.verb == "patch":
            return await self.api.patch(request, what)
        raise method_not_allowed()

    async def scale(self, request: web.BaseRequest, what: Asked, account: Account) -> web.StreamResponse:
        kind, registry = what.kind, self.api.registry
        assert kind is not None
        obj = registry.get(kind, what.namespace, what.name)
        if what.verb == "get":
            return encoded(_scale(obj))
        if what.verb not in ("update", "patch"):
            raise method_not_allowed()
        body = await read_body(request, request.content_type)
        wanted = body if what.verb == "update" else apply_patch(request.content_type, _scale(obj), body)
        replicas = (wanted.get("spec") or {}).get("replicas", 0)
        if not isinstance(replicas, int) or replicas < 0:
            raise ApiError(
                422,
                "Invalid",
                f'Scale.autoscaling "{what.name}" is invalid: spec.replicas: Invalid value: {replicas}: must be '
                "greater than or equal to 0",
            )
        version = (wanted.get("metadata") or {}).get("resourceVersion", "")
        if version and version != obj["metadata"]["resourceVersion"]:
            raise conflict(kind, what.name)

        def change(target: Object) -> Object:
            target["spec"]["replicas"] = replicas
            return target

        return encoded(_scale(registry.update(kind, what.namespace, what.name, change).obj))

    async def eviction(self, request: web.BaseRequest, what: Asked, account: Account) -> web.StreamResponse:
        if what.verb != "create":
            raise method_not_allowed()
        body = await read_body(request)
        if (body.get("metadata") or {}).get("name", what.name) != what.name:
            raise bad_request("name in URL does not match name in Eviction object")
        pod = self.api.registry.get("Pod", what.namespace, what.name)
        try:
            allow_eviction(self.api.registry, pod)
        except ApiError as error:
            if error.code == 429 and not error.retry_after_s:
                error.retry_after_s = self.eviction_retry_after_s
            raise
        if request.query.get("dryRun") != "All":
            self.api.registry.delete("Pod", what.namespace, what.name, body.get("deleteOptions"))
        return encoded(success(), 201)

    async def binding(self, request: web.BaseRequest, what: Asked, account: Account) -> web.StreamResponse:
        body = await read_body(request)
        bind(self.api, what.namespace, what.name, body["target"]["name"])
        return encoded(success(), 201)

    async def log(self, request: web.BaseRequest, what: Asked, account: Account) -> web.StreamResponse:
        query = request.query
        pod = self.api.registry.get("Pod", what.namespace, what.name)
        container = chosen_container(pod, query.get("container", ""))
        previous = query.get("previous") == "true"
        if "sinceSeconds" in query and "sinceTime" in query:
            raise bad_request("PodLogOptions is invalid: at most one of `sinceTime` or `sinceSeconds` may be specified")
        output = self.logs.previous(pod["metadata"]["uid"], container) if previous else None
        if previous and output is None:
            raise bad_request(f'previous terminated container "{container}" in pod "{what.name}" not found')
        if output is None:
            _refuse_unstarted(pod, container)
            output = self.logs.current(pod["metadata"]["uid"], container)
        since = None
        if query.get("sinceTime"):
            since = seconds_of(query["sinceTime"])
        elif query.get("sinceSeconds"):
            since = time.time() - int(query["sinceSeconds"])
        left = int(query["limitBytes"]) if query.get("limitBytes") else None
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        reading = output.read(
            follow=query.get("follow") == "true" and not previous,
            tail=int(query["tailLines"]) if query.get("tailLines") else None,
            since_ts=since,
            timestamps=query.get("timestamps") == "true",
        )
        with contextlib.suppress(ConnectionError):
            async for block in reading:
                await response.write(block if left is None else block[:left])
                if left is not None:
                    left -= len(block)
                    if left <= 0:
                        break
            await response.write_eof()
        return response


def bind(api: Api, namespace: str, pod: str, node: str) -> None:
    """What the scheduler does."""

    def change(obj: Object) -> Object:
        obj["spec"]["nodeName"] = node
        return obj

    api.registry.update("Pod", namespace, pod, change, subresource="binding")


def _scale(obj: Object) -> dict[str, Any]:
    metadata = obj["metadata"]
    selector = obj["spec"].get("selector") or {}
    pairs = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: metadata[key] for key in kept},
        "spec": {"replicas": obj["spec"].get("replicas", 1)},
        "status": {"replicas": (obj.get("status") or {}).get("replicas", 0), "selector": ",".join(pairs)},
    }


def container_names(pod: Object) -> list[str]:
    spec = pod["spec"]
    return [c["name"] for c in (spec.get("containers") or []) + (spec.get("initContainers") or [])]


def chosen_container(pod: Object, asked: str) -> str:
    """The container a log or an exec is about. Raises ApiError 400."""
    name, names = pod["metadata"]["name"], container_names(pod)
    if asked:
        if asked not in names:
            raise bad_request(f"container {asked} is not valid for pod {name}")
        return asked
    default = (pod["metadata"].get("annotations") or {}).get("kubectl.kubernetes.io/default-container")
    if default in names:
        return str(default)
    if len(names) > 1:
        shown_names = " ".join(names)
        raise bad_request(f"a container name must be specified for pod {name}, choose one of: [{shown_names}]")
    return names[0]


def _refuse_unstarted(pod: Object, container: str) -> None:
    name = pod["metadata"]["name"]
    for status in pod["status"].get("containerStatuses") or ():
        if status["name"] != container:
            continue
        waiting = (status.get("state") or {}).get("waiting")
        if waiting and not (status.get("lastState") or {}).get("terminated"):
            why = waiting.get("reason", "ContainerCreating")
            if why in ("ErrImagePull", "ImagePullBackOff"):
                raise bad_request(
                    f'container "{container}" in pod "{name}" is waiting to start: trying and failing to pull image'
                )
            raise bad_request(f'container "{container}" in pod "{name}" is waiting to start: {why}')
