"""CPU, memory and network of containers from the engine's counters. Pure."""

from __future__ import annotations

import msgspec

from backend.fleet.docker_engine.reading import dig, fields, instant, whole


class Counters(msgspec.Struct, frozen=True, kw_only=True):
    """One reading: totals since the container's start, and memory now."""

    read_ts: float
    """By the engine's clock."""
    cpu_ns: int
    memory_bytes: int | None = None
    rx_bytes: int | None = None
    """Of all its networks; null where it has none of its own."""
    tx_bytes: int | None = None


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """What is shown; null where there is nothing to compare with yet."""

    cpu_percent: float | None = None
    """Of one core."""
    memory_bytes: int | None = None
    rx_bytes_per_s: float | None = None
    tx_bytes_per_s: float | None = None


def parse_counters(stats: object) -> Counters | None:
    """A reading of the engine's statistics; null where it holds none (the container has just ended)."""
    read_ts = instant(stats, "read")
    cpu_ns = whole(stats, "cpu_stats", "cpu_usage", "total_usage")
    if read_ts is None or cpu_ns is None or cpu_ns <= 0:
        return None
    networks = fields(stats, "networks")
    return Counters(
        read_ts=read_ts,
        cpu_ns=cpu_ns,
        memory_bytes=_memory(dig(stats, "memory_stats")),
        rx_bytes=sum(whole(held, "rx_bytes") or 0 for held in networks.values()) if networks else None,
        tx_bytes=sum(whole(held, "tx_bytes") or 0 for held in networks.values()) if networks else None,
    )


def rates(former: Counters | None, now: Counters) -> Rates:
    """What went on between two readings of one container's life."""
    if former is None or now.read_ts <= former.read_ts or now.cpu_ns < former.cpu_ns:
        return Rates(memory_bytes=now.memory_bytes)
    seconds = now.read_ts - former.read_ts
    return Rates(
        cpu_percent=(now.cpu_ns - former.cpu_ns) / 1e9 / seconds * 100.0,
        memory_bytes=now.memory_bytes,
        rx_bytes_per_s=_per_s(former.rx_bytes, now.rx_bytes, seconds),
        tx_bytes_per_s=_per_s(former.tx_bytes, now.tx_bytes, seconds),
    )


def _per_s(former: int | None, now: int | None, seconds: float) -> float | None:
    if former is None or now is None or now < former:
        return None
    return (now - former) / seconds


def _memory(held: object) -> int | None:
    """Without the file cache that the kernel gives back at once (cgroup 2: inactive_file, 1: total_inactive_file)."""
    used = whole(held, "usage")
    if used is None:
        return None
    for name in ("inactive_file", "total_inactive_file"):
        cache = whole(held, "stats", name)
        if cache is not None and 0 <= cache < used:
            return used - cache
    return used
