"""CPU and memory from metrics.k8s.io, where there is one. It has no watch, so it is asked every 15 s, as it measures.

Owns that one poll and the samples in the ledger; how much of it a large fleet keeps is bounded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final
from urllib.parse import quote

import msgspec

from backend.config.own_logs import get_logger
from backend.contract.clock import Clock
from backend.contract.errors import TrinityError
from backend.contract.fleet import ReplicaStatus
from backend.contract.ledger import RowSink
from backend.contract.rows import SampleRow
from backend.fleet.kube.access import Access
from backend.fleet.kube.answers import ApiError
from backend.fleet.kube.pods import Usage
from backend.fleet.kube.quantities import quantity
from backend.fleet.kube.shapes import NodeUsage, Page, PodUsage, Quantities

_ROOT: Final = "/apis/metrics.k8s.io/v1beta1"
_PERIOD_S: Final = 15.0
_ABSENT_S: Final = 300.0
"""Between looks whether there is a metrics server by now, or the right to ask it."""
_ROWS: Final = 1500
"""Samples written of one poll at most; of larger fleets, each replica's turn comes every few polls."""
_log = get_logger(__name__)
Taken = Callable[[Mapping[str, Usage]], None]


class UsagePoller:
    """`run` never ends by itself. `state` says what is there: `unknown`, `ok`, `absent`, `forbidden` or `broken`."""

    def __init__(
        self, access: Access, selector: str, taken: Taken, nodes_taken: Taken, *, period_s: float = _PERIOD_S
    ) -> None:
        self._access, self._selector, self._taken, self._nodes_taken = access, selector, taken, nodes_taken
        self._period_s = period_s
        self.state, self.nodes_state = "unknown", "unknown"
        self._pods = msgspec.json.Decoder(Page[PodUsage])
        self._nodes = msgspec.json.Decoder(Page[NodeUsage])

    async def run(self) -> None:
        """Ask, hand over, wait."""
        nodes_due = 0.0
        while True:
            self.state = await self._ask_pods()
            nodes_due -= self._period_s
            if self.state == "ok" and (self.nodes_state in ("ok", "unknown", "broken") or nodes_due <= 0.0):
                self.nodes_state = await self._ask_nodes()
                nodes_due = _ABSENT_S
            await self._access.pause(_ABSENT_S if self.state in ("absent", "forbidden") else self._period_s)

    async def _ask_pods(self) -> str:
        path = f"{_ROOT}/namespaces/{quote(self._access.namespace, safe='')}/pods"
        query = {"labelSelector": self._selector} if self._selector else {}
        state, body = await self._ask(path, query, "list pods.metrics.k8s.io")
        if state != "ok":
            self._taken({})
            return state
        try:
            page = self._pods.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            _log.warning("metrics not read", error=str(error))
            return "broken"
        self._taken({item.metadata.name: _usage(c.usage for c in item.containers or ()) for item in page.items or ()})
        return "ok"

    async def _ask_nodes(self) -> str:
        state, body = await self._ask(f"{_ROOT}/nodes", {}, "list nodes.metrics.k8s.io")
        if state != "ok":
            return state
        try:
            page = self._nodes.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            _log.warning("metrics not read", error=str(error))
            return "broken"
        self._nodes_taken({item.metadata.name: _usage([item.usage]) for item in page.items or ()})
        return "ok"

    async def _ask(self, path: str, query: Mapping[str, str], label: str) -> tuple[str, bytes]:
        try:
            return "ok", await self._access.request("GET", path, query, label=label)
        except ApiError as error:
            return {403: "forbidden", 404: "absent"}.get(error.status, "broken"), b""
        except (TrinityError, asyncio.IncompleteReadError, OSError):
            return "broken", b""


def _usage(parts: Iterable[Quantities | None]) -> Usage:
    cpu, memory = 0.0, 0.0
    for part in parts:
        if part is not None:
            cpu += quantity(part.cpu) or 0.0
            memory += quantity(part.memory) or 0.0
    return Usage(cpu * 100.0, int(memory))


class SampleWriter:
    """Writes measurements into the ledger, at most `_ROWS` of one poll."""

    def __init__(self, sink: RowSink, clock: Clock, fleet: str) -> None:
        self._sink, self._clock, self._fleet = sink, clock, fleet
        self._turn = 0

    def write(self, replicas: Sequence[ReplicaStatus]) -> None:
        """Of those that were measured; of too many, those whose turn it is."""
        measured = [found for found in replicas if found.memory_bytes is not None]
        turns = max(1, -(-2 * len(measured) // _ROWS))
        self._turn = (self._turn + 1) % turns
        now = self._clock.now()
        for found in measured[self._turn :: turns]:
            self._append(now, found, "memory_bytes", float(found.memory_bytes or 0))
            if found.cpu_percent is not None:
                self._append(now, found, "cpu_percent", found.cpu_percent)

    def _append(self, now: float, found: ReplicaStatus, metric: str, value: float) -> None:
        self._sink.append(
            SampleRow(
                ts=now, fleet=self._fleet, workload=found.workload, replica=found.name, metric=metric, value=value
            )
        )
