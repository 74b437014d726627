"""Snapshots to record: a fleet that changes a little each second, the same for the same seed."""

from __future__ import annotations

import random

import msgspec

from backend.contract.control import Snapshot
from tests.unit.console.sample import point, replica, snapshot


def seconds_of(
    count: int, *, replicas: int = 4, changing: int = 1, start: float = 1000.0, seed: int = 1
) -> list[Snapshot]:
    """`count` snapshots a second apart; each differs from the one before in `changing` replicas and its point."""
    chance = random.Random(seed)
    views = [replica(f"llm-{n}", pid=1000 + n, memory_bytes=n << 20) for n in range(replicas)]
    found: list[Snapshot] = []
    for second in range(count):
        for at in chance.sample(range(replicas), changing if second else 0):
            status = msgspec.structs.replace(views[at].status, cpu_percent=chance.random() * 100)
            ttft = msgspec.structs.replace(views[at].ttft, p95_s=chance.random())
            views[at] = msgspec.structs.replace(
                views[at], status=status, ttft=ttft, requests_per_s=chance.random(), tokens_per_s=chance.random()
            )
        ts = start + second
        found.append(snapshot(seq=second + 1, ts=ts, point=point(ts), replicas=tuple(views)))
    return found
