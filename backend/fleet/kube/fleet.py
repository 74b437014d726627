"""The Kubernetes fleet: the pods of a namespace, observed by watches and changed through the API server.

Owns the joining of both halves and the driver's life. The platform keeps the counts: no pod is created or removed here.
"""

from __future__ import annotations

from backend.contract.errors import Refused
from backend.contract.fleet import WorkloadSpec
from backend.fleet.kube.acting import Acting


class KubeFleet(Acting):
    """A Fleet whose replicas are pods. Call `adopt` once; end with `close` (nothing in the cluster changes)."""

    async def create(self, spec: WorkloadSpec, replica: str) -> None:
        """Never: the platform keeps the counts. Raises Refused."""
        raise Refused(f"{replica} is a pod, and Kubernetes makes those.", f"Scale {spec.name} instead.")

    async def remove(self, replica: str, *, reason: str) -> None:
        """Never: the platform keeps the counts. Raises Refused."""
        raise Refused(f"{replica} is a pod, and Kubernetes keeps their number.", "Scale its workload, or evict it.")
