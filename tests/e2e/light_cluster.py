"""The light drill fleet on Kubernetes: the same two engines as pods of a Deployment of an emulated cluster, which runs
them as real processes, behind our real edge under the real daemon.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from tests.e2e.light_drill import ENGINE
from tests.e2e.light_fleet import LightFleet
from tests.kube_emulator import ADMIN_TOKEN

ROOT = Path(__file__).parents[2]
MANIFEST = f"""\
kind: Deployment
metadata: {{name: toy, labels: {{app: toy}}}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: toy}}}}
  strategy: {{rollingUpdate: {{maxSurge: 1, maxUnavailable: 0}}}}
  template:
    metadata:
      labels: {{app: toy}}
      annotations: {{emulator.test/run: process}}
    spec:
      terminationGracePeriodSeconds: 5
      containers:
        - name: engine
          image: example/light-engine:1
          command: ["{sys.executable}", "{ENGINE}", "8080", "$(POD_IP)"]
          env: [{{name: POD_IP, valueFrom: {{fieldRef: {{fieldPath: status.podIP}}}}}}]
          ports: [{{containerPort: 8080}}]
          readinessProbe: {{httpGet: {{path: /health, port: 8080}}, periodSeconds: 1}}
---
kind: PodDisruptionBudget
metadata: {{name: toy}}
spec: {{minAvailable: 1, selector: {{matchLabels: {{app: toy}}}}}}
"""
YAML = """\
trinity: 1
fleet: light
driver: kubernetes
kubernetes: {kubeconfig: KUBECONFIG, namespace: default, reach: direct}
workloads:
  toy:
    of: deployment/toy
    port: 8080
    routes: [/v1/embeddings]
    slots: 16
"""


class LightCluster(LightFleet):
    """A trinity.yaml of driver `kubernetes`, and the emulated cluster it names (three nodes, ten times as quick as
    life) as a process of its own, with the objects of `manifest`. `KUBECONFIG` in `yaml` leads there."""

    def __init__(self, yaml: str = YAML, manifest: str = MANIFEST, **env: str) -> None:
        super().__init__("trinity: 1\n", **env)
        self.kubeconfig = self.root / "kubeconfig"
        self.write(yaml.replace("KUBECONFIG", str(self.kubeconfig)))
        (self.root / "manifest.yaml").write_text(manifest)
        words = ["--controller", "--nodes", "3", "--speed", "10", "--kubeconfig", str(self.kubeconfig)]
        self._emulator = subprocess.Popen(
            [sys.executable, "-m", "tests.kube_emulator", *words, "--apply", str(self.root / "manifest.yaml")],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._emulator.stdout is not None
        self.cluster_url = self._emulator.stdout.readline().split()[-1]

    def __exit__(self, *exc: object) -> None:
        super().__exit__(*exc)
        self._emulator.send_signal(signal.SIGTERM)
        assert self._emulator.wait(20) == 0, "the emulated cluster ended badly"

    def cluster(self, path: str) -> Any:
        """A document of the cluster's API."""
        asked = urllib.request.Request(self.cluster_url + path, headers={"Authorization": f"Bearer {ADMIN_TOKEN}"})
        with urllib.request.urlopen(asked) as answer:
            return json.loads(answer.read())

    def process_of(self, pod: str) -> psutil.Process:
        """The real process that is a pod's container, by the address it was given."""
        address = self.cluster(f"/api/v1/namespaces/default/pods/{pod}")["status"]["podIP"]
        children = psutil.Process(self._emulator.pid).children()
        return next(child for child in children if child.environ().get("POD_IP") == address)

    def pods(self) -> list[dict[str, Any]]:
        return list(self.cluster("/api/v1/namespaces/default/pods")["items"])


@contextlib.contextmanager
def light_cluster(**env: str) -> Iterator[LightCluster]:
    """Such a fleet, up, both engines Ready."""
    with LightCluster(**env) as fleet:
        fleet.up()
        fleet.until_ready(2, "toy")
        yield fleet
