"""The emulator as a program: a big cluster that changes all the time, and a kubeconfig that leads to it. Ends at
SIGTERM or SIGINT; `GET /emulator/counts` tells how often what was asked.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
from pathlib import Path

import yaml

from tests.kube_emulator.defaults import timestamp
from tests.kube_emulator.emulator import Emulator
from tests.kube_emulator.pods import owner_reference
from tests.kube_emulator.scenes import pod_template, running_pod, workload
from tests.kube_emulator.store import Object

_PODS_A_DEPLOYMENT = 25


def populate(cluster: Emulator, pods: int, *, namespace: str = "default", nodes: int = 50) -> None:
    """That many running pods of deployments, without a controller: nothing happens by itself."""
    registry = cluster.registry
    left, number = pods, 0
    while left:
        name, replicas = f"app-{number:03}", min(left, _PODS_A_DEPLOYMENT)
        status = {
            "replicas": replicas,
            "readyReplicas": replicas,
            "availableReplicas": replicas,
            "updatedReplicas": replicas,
            "observedGeneration": 1,
        }
        deployment = registry.seed(
            "Deployment", workload(name, replicas=replicas) | {"status": status}, namespace=namespace
        )
        made = workload(f"{name}-6d4b75cb6d", replicas=replicas, template=pod_template(f"{name}-6d4b75cb6d"))
        made["metadata"]["ownerReferences"] = [owner_reference("Deployment", deployment.obj)]
        made["metadata"]["annotations"] = {"deployment.kubernetes.io/revision": "1"}
        replica_set = registry.seed("ReplicaSet", made | {"status": status}, namespace=namespace)
        for index in range(replicas):
            at = pods - left + index
            pod = running_pod(
                f"{name}-6d4b75cb6d-{index:05}",
                namespace=namespace,
                app=name,
                node_name=f"node-{at % nodes + 1}",
                ip=f"10.{244 + at // 62500}.{at // 250 % 250}.{at % 250 + 1}",
            )
            pod["metadata"]["ownerReferences"] = [owner_reference("ReplicaSet", replica_set.obj)]
            registry.seed("Pod", pod)
        left -= replicas
        number += 1


def change_one(cluster: Emulator, chance: random.Random, *, namespace: str = "default") -> None:
    """A random pod restarts a container, or loses or regains readiness."""
    keys = cluster.store.table("pods").keys
    name = keys[chance.randrange(len(keys))][1]

    def change(pod: Object) -> None:
        container = pod["status"]["containerStatuses"][0]
        if chance.random() < 0.3:
            container["lastState"] = {
                "terminated": {
                    "exitCode": 1,
                    "reason": "Error",
                    "startedAt": container["state"]["running"]["startedAt"],
                    "finishedAt": timestamp(),
                    "containerID": container["containerID"],
                }
            }
            container["restartCount"] += 1
            container["containerID"] = f"containerd://{chance.getrandbits(256):064x}"
            container["state"] = {"running": {"startedAt": timestamp()}}
        else:
            container["ready"] = not container["ready"]
        for entry in pod["status"]["conditions"]:
            if entry["type"] in ("Ready", "ContainersReady"):
                entry |= {"status": "True" if container["ready"] else "False", "lastTransitionTime": timestamp()}

    cluster.registry.set_status("Pod", namespace, name, change)


def apply(cluster: Emulator, manifest: str) -> None:
    """Create the objects of a YAML file of several documents, in `default` where they name no namespace."""
    for document in yaml.safe_load_all(manifest):
        if document:
            cluster.registry.create(document["kind"], document)


async def change_on(cluster: Emulator, per_second: float) -> None:
    """Changes, evenly, for ever."""
    chance, loop = random.Random(1), asyncio.get_running_loop()
    due = loop.time()
    while True:
        due += 1.0 / per_second
        await asyncio.sleep(max(0.0, due - loop.time()))
        change_one(cluster, chance)


async def serve(options: argparse.Namespace) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    made = Emulator(port=options.port, nodes=options.nodes, controller=options.controller, speed=options.speed)
    async with made as cluster:
        populate(cluster, options.pods, nodes=options.nodes)
        for path in options.apply:
            apply(cluster, path.read_text())
        if options.kubeconfig is not None:
            cluster.write_kubeconfig(options.kubeconfig)
        print(f"serving {cluster.url}", flush=True)
        changing = loop.create_task(change_on(cluster, options.changes)) if options.changes and options.pods else None
        await ended.wait()
        if changing is not None:
            changing.cancel()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.kube_emulator", description=__doc__)
    parser.add_argument("--pods", type=int, default=0, help="running pods, in deployments of 25")
    parser.add_argument("--changes", type=float, default=0.0, help="changes of pods per second")
    parser.add_argument("--nodes", type=int, default=50)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--controller", action="store_true", help="deployments make pods, pods live")
    parser.add_argument("--speed", type=float, default=60.0, help="how much faster than life waits are")
    parser.add_argument("--apply", type=Path, action="append", default=[], help="manifests to create at the start")
    parser.add_argument("--kubeconfig", type=Path, help="write one here")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
