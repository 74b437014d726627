"""The embedding workload on Kubernetes: the real replica programs as pods of a Deployment of an emulated cluster, with
the chart's ports, environment and probes, behind our real edge under the real daemon. They are as nice to who asks them
as on this machine without a cluster: one computer is edge, node and client here.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Literal

from tests.e2e.light_cluster import LightCluster

YAML = """\
trinity: 1
fleet: pods
driver: kubernetes
kubernetes: {kubeconfig: KUBECONFIG, namespace: default, reach: REACH}
workloads:
  embedding:
    of: deployment/embedding
    port: 8080
    routes: [/v1/embeddings, /embed]
    slots: 8
"""


def manifest(replicas: int) -> str:
    """The Deployment."""
    return f"""\
apiVersion: apps/v1
kind: Deployment
metadata: {{name: embedding, labels: {{app: embedding}}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: embedding}}}}
  strategy: {{rollingUpdate: {{maxSurge: 1, maxUnavailable: 0}}}}
  template:
    metadata:
      labels: {{app: embedding}}
      annotations: {{emulator.test/run: process}}
    spec:
      terminationGracePeriodSeconds: 23
      containers:
        - name: embedding
          image: trinity-embedding:1
          command: [nice, "-n", "5", "{sys.executable}", -P, -m, backend.serving.embedding]
          ports:
            - {{name: http, containerPort: 8080}}
            - {{name: health, containerPort: 8081}}
          env:
            - {{name: POD_IP, valueFrom: {{fieldRef: {{fieldPath: status.podIP}}}}}}
            - {{name: HOST, value: "$(POD_IP)"}}
            - {{name: PORT, value: "8080"}}
            - {{name: HEALTH_PORT, value: "8081"}}
            - {{name: STOP_GRACE, value: "8"}}
            - {{name: THREADS, value: "1"}}
          startupProbe: {{httpGet: {{path: /health/startup, port: health}}, periodSeconds: 2, failureThreshold: 300}}
          readinessProbe:
            {{httpGet: {{path: /health/ready, port: health}}, periodSeconds: 2, timeoutSeconds: 2, failureThreshold: 2}}
          livenessProbe:
            {{httpGet: {{path: /health/live, port: health}}, periodSeconds: 10, timeoutSeconds: 3, failureThreshold: 3}}
"""


@contextlib.contextmanager
def embedding_cluster(reach: Literal["direct", "forward"], *, replicas: int = 3, **env: str) -> Iterator[LightCluster]:
    """Such a fleet, up, all replicas Ready; the edge gets to them by their addresses, or through the API server."""
    with LightCluster(YAML.replace("REACH", reach), manifest(replicas), **env) as fleet:
        fleet.up()
        fleet.until_ready(replicas, "embedding")
        yield fleet
