from __future__ import annotations

import random
import socket
from pathlib import Path

from backend.fleet.supervision.ports import PortAllocator, is_free


def test_ports_differ_and_lie_outside_the_ephemeral_range() -> None:
    allocator = PortAllocator(random.Random(1))
    ports = [allocator.allocate("127.0.0.1") for _ in range(50)]
    low, high = (int(word) for word in Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    assert len(set(ports)) == 50
    assert all(not low <= port <= high for port in ports)


def test_a_port_in_use_is_not_handed_out() -> None:
    chosen = PortAllocator(random.Random(7)).allocate("127.0.0.1")
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", chosen))
        holder.listen()
        assert not is_free("127.0.0.1", chosen)
        assert PortAllocator(random.Random(7)).allocate("127.0.0.1") != chosen
    assert is_free("127.0.0.1", chosen)


def test_a_released_port_may_come_back() -> None:
    allocator = PortAllocator(random.Random(3))
    port = allocator.allocate("127.0.0.1")
    allocator.release(port)
    allocator.claim(port)
    assert all(allocator.allocate("127.0.0.1") != port for _ in range(20))
