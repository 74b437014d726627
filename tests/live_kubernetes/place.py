"""A cluster to test on, real or emulated, behind one face: objects are made in it, fleets look at it.

Owns how to get there and what differs between the two; knows no test.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from backend.config.fleet_file import KubernetesFile
from backend.config.paths import StatePaths
from backend.contract.clock import SystemClock
from backend.contract.fleet import ReplicaStatus
from backend.contract.words import Phase
from backend.fleet.kube import KubeFleet
from backend.fleet.kube.access import MERGE_PATCH, Access
from backend.fleet.kube.answers import ApiError
from backend.fleet.kube.kubeconfig import Choice, choose
from backend.fleet.kube.objects import Ref, api_version, collection_path, number, objects, path_of
from tests.fakes.ledger import MemoryLedger
from tests.kube_emulator import Emulator
from tests.live_kubernetes.cut import CutProxy
from tests.live_kubernetes.manifests import SERVING, SERVING_ENV

_READABLE = {
    "": ["pods", "pods/log", "services", "events"],
    "apps": ["deployments", "deployments/scale", "replicasets", "statefulsets", "daemonsets"],
    "batch": ["jobs"],
}
_PYTHON_SERVER = (
    "import http.server,os;"
    "h=type('H',(http.server.BaseHTTPRequestHandler,),{'do_GET':lambda s:(s.send_response(200),s.end_headers(),"
    "s.wfile.write(b'hello from a pod\\n'))});"
    "http.server.HTTPServer((os.environ['POD_IP'],8080),h).serve_forever()"
)


@dataclass
class Cluster:
    """Where a test makes its objects. `emulator` is None on a real cluster."""

    kubeconfig: Path | None
    """None: what KUBECONFIG names."""
    namespace: str
    image: str
    patience_s: float
    admin: Access
    emulator: Emulator | None = None
    deadline_s: int = 60
    """Of a rollout that gets nowhere: long enough for a node to learn that there is no such image."""

    # -- objects

    async def make(self, kind: str, obj: dict[str, Any]) -> None:
        """Create it in the namespace."""
        body = {"apiVersion": api_version(kind), "kind": kind} | obj
        await self.admin.send_json("POST", collection_path(kind, self.namespace), body)

    async def change(self, kind: str, name: str, patch: dict[str, Any]) -> None:
        """A merge patch."""
        ref = Ref(kind, self.namespace, name)
        await self.admin.send_json("PATCH", path_of(ref), patch, content_type=MERGE_PATCH)

    async def clear(self) -> None:
        """Remove what tests made, and wait until its pods are gone."""
        for kind in ("PodDisruptionBudget", "Deployment", "StatefulSet", "ReplicaSet", "Pod"):
            query = {"propagationPolicy": "Background"}
            await self.admin.send_json("DELETE", collection_path(kind, self.namespace), query=query)
        async with asyncio.timeout(self.patience_s):
            while True:
                if not objects(await self.admin.get_json(collection_path("Pod", self.namespace)), "items"):
                    return
                await asyncio.sleep(0.2)

    async def counted(self, budget: str, healthy: int) -> None:
        """Wait until a disruption budget's controller has seen so many healthy pods."""
        async with asyncio.timeout(self.patience_s):
            while True:
                if number(await self.get("PodDisruptionBudget", budget), "status", "currentHealthy") == healthy:
                    return
                await asyncio.sleep(0.05)

    async def get(self, kind: str, name: str) -> Any:
        return await self.admin.get_json(path_of(Ref(kind, self.namespace, name)))

    def serving(self) -> dict[str, Any]:
        """Of a container: what makes it answer HTTP on port 8080 with `hello from a pod`."""
        address = {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
        if self.emulator is None:
            programs = [{"name": name, "value": value} for name, value in SERVING_ENV.items()]
            return {"command": ["/bin/sh", "-c", SERVING], "env": [address, *programs]}
        return {"command": [sys.executable, "-c", _PYTHON_SERVER], "env": [address]}

    # -- looking

    @contextlib.asynccontextmanager
    async def fleet(self, place: Path, *, kubeconfig: Path | None = None) -> AsyncIterator[KubeFleet]:
        """A fleet on the namespace, adopted."""
        config = kubeconfig or self.kubeconfig
        settings = KubernetesFile(kubeconfig=str(config) if config else None, namespace=self.namespace)
        made = KubeFleet(StatePaths(place / "state"), MemoryLedger(), SystemClock(), "live", settings)
        try:
            await made.adopt()
            yield made
        finally:
            await made.close()

    async def until(self, true: Callable[[], object], what: str) -> None:
        """Wait until it is so. Raises AssertionError, naming it."""
        end = time.monotonic() + self.patience_s
        while not true():
            assert time.monotonic() < end, f"not within {self.patience_s:.0f} s: {what}"
            await asyncio.sleep(0.02)

    async def ready(self, fleet: KubeFleet, workload: str, count: int) -> list[str]:
        """Wait for so many Ready replicas of a workload and no others; their names."""

        def there() -> list[ReplicaStatus]:
            return [status for status in fleet.observe() if status.workload == workload]

        def so() -> bool:
            return len(there()) == count and all(status.phase is Phase.READY for status in there())

        try:
            await self.until(so, f"{count} Ready replicas of {workload}")
        except AssertionError as error:
            seen = ", ".join(f"{status.name} {status.phase} {status.reason}" for status in there())
            raise AssertionError(f"{error} (there are: {seen or 'none'}; trouble: {fleet.trouble()})") from None
        return [status.name for status in there()]

    @contextlib.asynccontextmanager
    async def cuttable(self, place: Path) -> AsyncIterator[tuple[Path, CutProxy]]:
        """A kubeconfig that leads through a proxy here, and the proxy."""
        choice = self._choice()
        address = urlsplit(choice.server)
        host = address.hostname or "127.0.0.1"
        proxy = CutProxy(host, address.port or (443 if address.scheme == "https" else 80))
        await proxy.heal()
        cluster = dict(choice.cluster) | {"server": f"{address.scheme}://127.0.0.1:{proxy.port}{address.path}"}
        if address.scheme == "https":
            cluster.setdefault("tls-server-name", host)
        try:
            yield _write(place / "through-proxy", cluster, choice.user), proxy
        finally:
            await proxy.cut()

    async def reader(self, place: Path) -> Path:
        """A kubeconfig of an account that may only read pods and workloads of the namespace."""
        user = {"token": await self._reader_token()}
        written = _write(place / "reader", dict(self._choice().cluster), user)
        as_reader = admin_of(written, self.namespace)
        try:
            async with asyncio.timeout(self.patience_s):
                # A role counts once the authorizers of all API servers have seen it.
                for kind in ("Pod", "ReplicaSet", "Deployment", "Job"):
                    await _may_list(as_reader, collection_path(kind, self.namespace))
        finally:
            await as_reader.close()
        return written

    def _choice(self) -> Choice:
        named = str(self.kubeconfig) if self.kubeconfig else None
        return choose(named, "", env=os.environ, home=Path.home())

    async def _reader_token(self) -> str:
        inside = f"/api/v1/namespaces/{self.namespace}"
        rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{self.namespace}"
        rules = [
            {"apiGroups": [group], "resources": resources, "verbs": ["get", "list", "watch"]}
            for group, resources in _READABLE.items()
        ]
        subjects = [{"kind": "ServiceAccount", "name": "reader", "namespace": self.namespace}]
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"}
        named = {"metadata": {"name": "reader"}}
        await self.admin.send_json("POST", f"{inside}/serviceaccounts", named)
        await self.admin.send_json("POST", f"{rbac}/roles", named | {"rules": rules})
        await self.admin.send_json("POST", f"{rbac}/rolebindings", named | {"subjects": subjects, "roleRef": role})
        wish = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
        answer = await self.admin.send_json("POST", f"{inside}/serviceaccounts/reader/token", wish)
        return str(answer["status"]["token"])


def _write(path: Path, cluster: dict[str, Any], user: dict[str, Any]) -> Path:
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "here"}}],
        "clusters": [{"name": "here", "cluster": cluster}],
        "users": [{"name": "here", "user": user}],
    }
    path.touch(0o600)
    path.write_text(yaml.safe_dump(document))
    return path


async def _may_list(access: Access, path: str) -> None:
    """Wait until it is allowed."""
    while True:
        try:
            await access.get_json(path)
        except ApiError as error:
            if error.status != 403:
                raise
            await asyncio.sleep(0.1)
        else:
            return


def admin_of(kubeconfig: Path | None, namespace: str) -> Access:
    settings = KubernetesFile(kubeconfig=str(kubeconfig) if kubeconfig else None, namespace=namespace)
    return Access(settings, SystemClock())


@contextlib.asynccontextmanager
async def emulated(place: Path) -> AsyncIterator[Cluster]:
    """An emulated cluster of two nodes in which a minute lasts a second."""
    namespace = "trinity-test-emulated"
    names = ("default", "kube-system", namespace)
    async with Emulator(controller=True, speed=60.0, nodes=2, start_s=1.0, namespaces=names) as emulator:
        kubeconfig = emulator.write_kubeconfig(place / "kubeconfig", namespace=namespace)
        admin = admin_of(kubeconfig, namespace)
        try:
            yield Cluster(kubeconfig, namespace, "example/shell:1", 60.0, admin, emulator, 120)
        finally:
            await admin.close()
