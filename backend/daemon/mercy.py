"""The loops that keep failures small, wired: the progress watchdog and the retry budget. Decides nothing itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from backend.config.resolve import FleetConfig
from backend.contract.clock import Clock
from backend.contract.edge import Edge
from backend.contract.fleet import Fleet, WorkloadSpec
from backend.contract.ledger import RowSink
from backend.reconcile.controller import Reconciler
from backend.reconcile.retry_budget import RetryBudget
from backend.reconcile.watchdog import Watchdog, WatchdogSettings
from backend.telemetry.progress import PulseTaker


async def watch_progress(
    config: FleetConfig, fleet: Fleet, edge: Edge, reconciler: Reconciler, sink: RowSink, clock: Clock
) -> None:
    """Eject replicas whose engine is stuck until cancelled (trinity.yaml: `watchdog`)."""
    asked = config.file.watchdog
    settings = WatchdogSettings(enabled=asked.enabled, restart_after_s=asked.restart_after)
    pulses = PulseTaker(clock)
    try:
        watchdog = Watchdog(fleet, edge, pulses, reconciler.ejector, sink, clock, settings=settings)
        await watchdog.run(lambda: reconciler.specs)
    finally:
        await pulses.close()


async def keep_retry_budget(
    config: FleetConfig, edge: Edge, specs: Callable[[], Sequence[WorkloadSpec]], sink: RowSink, clock: Clock
) -> None:
    """Switch retries off while their budget is spent, until cancelled (trinity.yaml: `edge.retry_budget`)."""
    if config.file.edge.retry_budget:
        await RetryBudget(edge, sink, clock).run(specs)
