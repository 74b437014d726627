"""Objects for tests: nodes, running pods, deployments, as plain JSON. Builds only; puts nothing anywhere."""

from __future__ import annotations

import uuid
from typing import Any

from tests.kube_emulator.defaults import timestamp


def node(name: str, *, ready: bool = True, cpu: str = "8", memory: str = "32Gi") -> dict[str, Any]:
    word = "True" if ready else "False"
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}},
        "spec": {"podCIDR": "10.244.0.0/24"},
        "status": {
            "capacity": {"cpu": cpu, "memory": memory, "pods": "110"},
            "allocatable": {"cpu": cpu, "memory": memory, "pods": "110"},
            "conditions": [
                {
                    "type": "Ready",
                    "status": word,
                    "reason": "KubeletReady" if ready else "KubeletNotReady",
                    "message": "kubelet is posting ready status" if ready else "container runtime is down",
                    "lastHeartbeatTime": timestamp(),
                    "lastTransitionTime": timestamp(),
                }
            ],
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}, {"type": "Hostname", "address": name}],
            "nodeInfo": {
                "kubeletVersion": "v1.36.0",
                "kubeProxyVersion": "v1.36.0",
                "osImage": "Debian GNU/Linux 12",
                "kernelVersion": "6.1.0",
                "architecture": "amd64",
                "operatingSystem": "linux",
                "containerRuntimeVersion": "containerd://2.1.0",
                "machineID": name,
                "systemUUID": name,
                "bootID": name,
            },
        },
    }


def pod_template(app: str, *, image: str = "example/app:1", **annotations: str) -> dict[str, Any]:
    """`behaviour="crash"` and the like become the annotations that the kubelet reads."""
    metadata: dict[str, Any] = {"labels": {"app": app}}
    if annotations:
        metadata["annotations"] = {f"emulator.test/{key.replace('_', '-')}": text for key, text in annotations.items()}
    container = {"name": "main", "image": image, "ports": [{"containerPort": 8080}]}
    return {"metadata": metadata, "spec": {"containers": [container]}}


def workload(
    name: str, *, replicas: int | None = 1, template: dict[str, Any] | None = None, **spec: Any
) -> dict[str, Any]:
    """A Deployment, StatefulSet or ReplicaSet; a DaemonSet with `replicas=None`."""
    inside: dict[str, Any] = {
        "selector": {"matchLabels": {"app": name}},
        "template": template or pod_template(name),
    } | spec
    if replicas is not None:
        inside["replicas"] = replicas
    return {"metadata": {"name": name, "labels": {"app": name}}, "spec": inside}


def running_pod(
    name: str,
    *,
    namespace: str = "default",
    app: str = "web",
    node_name: str = "node-1",
    ready: bool = True,
    restarts: int = 0,
    ip: str = "10.244.0.9",
) -> dict[str, Any]:
    """A pod as it looks some time after its start, for emulators without a controller."""
    now = timestamp()
    conditions = [
        {"type": kind, "status": "True" if ready or kind == "PodScheduled" else "False", "lastTransitionTime": now}
        for kind in ("PodScheduled", "Initialized", "ContainersReady", "Ready")
    ]
    return {
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": app}},
        "spec": {
            "nodeName": node_name,
            "containers": [{"name": "main", "image": "example/app:1", "ports": [{"containerPort": 8080}]}],
        },
        "status": {
            "phase": "Running",
            "podIP": ip,
            "podIPs": [{"ip": ip}],
            "hostIP": "127.0.0.1",
            "startTime": now,
            "conditions": conditions,
            "containerStatuses": [
                {
                    "name": "main",
                    "ready": ready,
                    "started": True,
                    "restartCount": restarts,
                    "image": "example/app:1",
                    "imageID": "example/app@sha256:" + "0" * 64,
                    "containerID": "containerd://" + uuid.uuid4().hex * 2,
                    "state": {"running": {"startedAt": now}},
                    "lastState": {},
                }
            ],
        },
    }
