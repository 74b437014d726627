"""What is done to a real cluster before and after the tests: a namespace, a first look at what it lets us do, the end.

Owns the namespace `trinity-test-…` and the promise that nothing is left: it goes with everything in it, and a node that
a test cordoned takes pods again. Everything that a cluster may refuse is refused here, in one sentence, not in a test.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Iterable
from typing import Any

from backend.config.fleet_file import KubernetesFile
from backend.contract.clock import SystemClock
from backend.contract.errors import TrinityError
from backend.fleet.kube.access import MERGE_PATCH, Access
from backend.fleet.kube.answers import ApiError
from backend.fleet.kube.objects import Object, mapping, name_of, objects, part, text
from backend.fleet.kube.rollout_status import pod_trouble
from tests.live_kubernetes.manifests import TOOLS, template

_PULL_S = 420.0
"""For the first pull of the image on a slow line."""
_GONE_S = 120.0
_TRIES = 5
_PRIVILEGED = {f"pod-security.kubernetes.io/{mode}": "privileged" for mode in ("enforce", "audit", "warn")}
"""A cluster may hold new namespaces to `restricted` where they say nothing; our pods are plain shells as root."""


class Unusable(Exception):
    """The cluster or the image cannot be tested with; one sentence."""


def admin(namespace: str) -> Access:
    """Who KUBECONFIG's current context says we are."""
    return Access(KubernetesFile(namespace=namespace), SystemClock())


async def set_up(namespace: str, image: str) -> set[str]:
    """Make the namespace and run the image in it once. Returns the nodes that take pods now. Raises Unusable."""
    access = admin(namespace)
    try:
        try:
            await access.send_json(
                "POST", "/api/v1/namespaces", {"metadata": {"name": namespace, "labels": dict(_PRIVILEGED)}}
            )
        except TrinityError as error:
            raise Unusable(
                f"A namespace cannot be made on the cluster of KUBECONFIG (context {access.context}): {error} These "
                "tests need an account that may do everything: make namespaces, cordon nodes, give roles."
            ) from None
        async with asyncio.timeout(60.0):
            await _there(access, f"/api/v1/namespaces/{namespace}/serviceaccounts/default")
        await _may(access, "patch", "nodes")
        await _may(access, "create", "roles", "rbac.authorization.k8s.io", namespace)
        await _image_runs(access, namespace, image)
        nodes = await access.get_json("/api/v1/nodes")
        return {name_of(node) for node in objects(nodes, "items") if part(node, "spec", "unschedulable") is not True}
    except TimeoutError:
        raise Unusable(f"Namespace {namespace} got no service account in 60 s: see the controller-manager.") from None
    finally:
        await access.close()


async def tear_down(namespace: str, schedulable: Iterable[str]) -> None:
    """Every node takes pods that did so before, and the namespace is gone, or going: a slow cluster is not waited for
    beyond two minutes, it ends what it has begun. Raises nothing: what stays is said on stderr."""
    access = admin(namespace)
    try:
        for node in schedulable:
            await _insisted(access, "PATCH", f"/api/v1/nodes/{node}", {"spec": {"unschedulable": None}})
        await _insisted(access, "DELETE", f"/api/v1/namespaces/{namespace}")
        async with asyncio.timeout(_GONE_S):
            while True:
                with contextlib.suppress(TrinityError):
                    await access.get_json(f"/api/v1/namespaces/{namespace}")
                    await asyncio.sleep(1.0)
                    continue
                return
    except TimeoutError:
        print(f"namespace {namespace} is still being removed", file=sys.stderr)
    finally:
        await access.close()


async def _insisted(access: Access, method: str, path: str, body: Any = None) -> None:
    """Again where the server was away for a moment."""
    for tried in range(_TRIES):
        try:
            await access.send_json(method, path, body, content_type=MERGE_PATCH if body else "application/json")
        except TrinityError as error:
            if isinstance(error, ApiError) and error.status in (403, 404, 409):
                if error.status == 403:
                    print(f"{method} {path}: {error}", file=sys.stderr)
                return
            if tried + 1 == _TRIES:
                print(f"{method} {path}: {error}; do it by hand", file=sys.stderr)
            await asyncio.sleep(1.0)
        else:
            return


async def _there(access: Access, path: str) -> None:
    """Wait until there is such an object."""
    while True:
        with contextlib.suppress(ApiError):
            await access.get_json(path)
            return
        await asyncio.sleep(0.2)


async def _may(access: Access, verb: str, resource: str, group: str = "", namespace: str = "") -> None:
    wish = {"verb": verb, "resource": resource, "group": group, "namespace": namespace}
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": wish},
    }
    answer = await access.send_json("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body)
    if part(answer, "status", "allowed") is not True:
        raise Unusable(
            f"The account of KUBECONFIG may not {verb} {resource}: these tests need one that may do everything."
        )


async def _image_runs(access: Access, namespace: str, image: str) -> None:
    """One bare pod: what admission says of it is said to us, not to a ReplicaSet. It also brings the image here."""
    made = template("first-look", image, f"for t in {TOOLS}; do command -v $t >/dev/null || exit 43; done; exit 0")
    made["metadata"]["name"] = "first-look"
    made["spec"]["restartPolicy"] = "Never"
    path = f"/api/v1/namespaces/{namespace}/pods"
    try:
        await access.send_json("POST", path, {"apiVersion": "v1", "kind": "Pod"} | made)
    except TrinityError as error:
        raise Unusable(f"The cluster refuses a plain pod: {error}") from None
    pod: Object = {}
    try:
        async with asyncio.timeout(_PULL_S):
            while text(pod, "status", "phase") not in ("Succeeded", "Failed"):
                pod = await access.get_json(f"{path}/first-look")
                await asyncio.sleep(0.5)
    except TimeoutError:
        why = pod_trouble(pod) or text(pod, "status", "phase")
        raise Unusable(f"A pod of TRINITY_TEST_IMAGE ({image}) did not run in {_PULL_S:.0f} s: {why}.") from None
    finally:
        with contextlib.suppress(TrinityError):
            await access.send_json("DELETE", f"{path}/first-look", query={"gracePeriodSeconds": 0})
    if text(pod, "status", "phase") == "Succeeded":
        return
    ended = [mapping(one, "state", "terminated") for one in objects(pod, "status", "containerStatuses")]
    if [end.get("exitCode") for end in ended] == [43]:
        raise Unusable(f"TRINITY_TEST_IMAGE ({image}) lacks one of these programs: {TOOLS}.")
    raise Unusable(f"TRINITY_TEST_IMAGE ({image}) does not run /bin/sh: {pod_trouble(pod) or ended}.")
