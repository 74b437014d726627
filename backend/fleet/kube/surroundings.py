"""What the acting half of the driver needs of the seeing half: which object a name of the fleet means. A protocol."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from backend.fleet.kube.objects import Ref


class Names(Protocol):
    """Which objects the fleet's names mean. Free: it never asks the API."""

    @property
    def namespace(self) -> str: ...

    def workload(self, name: str) -> Ref:
        """Raises UsageError for an unknown one."""
        ...

    def pod(self, replica: str) -> Ref:
        """Raises UsageError for an unknown one."""
        ...

    def pid(self, replica: str) -> int:
        """A number that changes with each start of its container; 0 where none runs."""
        ...

    def kinds(self) -> Collection[str]:
        """Of the workloads there are."""
        ...
