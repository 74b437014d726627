"""The Kubernetes driver: a Fleet over `kubernetes.aio`, which is imported when a cluster is opened, not before."""

from __future__ import annotations

from backend.fleet.kube.fleet import KubeFleet

__all__ = ["KubeFleet"]
