"""A daemon on a cluster: what it is told to do is done by the platform and journalled.

No drill runs here. A drill must have a load, or it proves nothing and is refused; a load needs an engine that answers
OpenAI requests, many at a time, and an image of which no more is known than that it has a shell cannot be one. What
drills do to a cluster (kill, scale, roll out, drain) is done here verb by verb; the drills themselves run on pods where
the engines are ours (tests/e2e/test_drills_kubernetes.py).
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from tests.e2e.harness import wait_for
from tests.e2e.light_fleet import LightFleet
from tests.live_kubernetes.manifests import IDLE, template, workload
from tests.live_kubernetes.place import Cluster

YAML = """\
trinity: 1
fleet: live
driver: kubernetes
kubernetes: {{namespace: {namespace}}}
workloads: {{}}
"""


async def test_a_pod_killed_through_the_daemon_is_replaced_and_journalled(cluster: Cluster, tmp_path: Path) -> None:
    async with cluster.fleet(tmp_path) as fleet:
        await cluster.make(
            "Deployment", workload("looked-after", template("looked-after", cluster.image, IDLE), replicas=2)
        )
        before = await cluster.ready(fleet, "looked-after", 2)
        verbs = await asyncio.to_thread(_killed, cluster, before[0])
        assert verbs == [("kill", before[0], "ok")]
        after = await cluster.ready(fleet, "looked-after", 2)
        assert before[0] not in after
        assert before[1] in after


def _killed(cluster: Cluster, replica: str) -> list[tuple[str, str, str]]:
    """Kill it by a daemon of its own; (verb, target, outcome) of what its journal tells."""
    # The daemon runs in a directory of its own: a path that KUBECONFIG has is made whole.
    named = str(cluster.kubeconfig or os.environ["KUBECONFIG"]).split(os.pathsep)
    env = {"KUBECONFIG": os.pathsep.join(str(Path(path).absolute()) for path in named if path)}
    with LightFleet(YAML.format(namespace=cluster.namespace), **env) as daemon:
        daemon.up()
        daemon.until_ready(2, "looked-after", cluster.patience_s)
        daemon.trinity("kill", replica, "--yes")
        wait_for(lambda: replica not in daemon.pids(), cluster.patience_s, "end of the pod")
        daemon.until_ready(2, "looked-after", cluster.patience_s)
        return [(str(row.verb), row.target, str(row.outcome)) for row in daemon.actions() if row.outcome != "running"]
