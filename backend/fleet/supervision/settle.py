"""Making sure a replica's ports are free right before a start.

Owns the choice between keeping a port (so that nobody has to learn a new one) and taking another.
"""

from __future__ import annotations

import asyncio

import msgspec

from backend.contract.errors import PortTaken
from backend.fleet.supervision.ports import PortAllocator, is_free
from backend.fleet.supervision.seed import ReplicaSeed
from backend.shim.ports import owner_of_port


async def settled(seed: ReplicaSeed, ports: PortAllocator) -> ReplicaSeed:
    """The seed with ports that are free now. Raises PortTaken for one that its workload fixes."""
    spec = seed.workload
    port, health_port = seed.port, seed.health_port
    if not is_free(spec.host, port):
        if spec.port:
            owner = await asyncio.to_thread(owner_of_port, port)
            raise PortTaken(spec.host, port, owner, f"workload {spec.name}")
        ports.release(port)
        port = ports.allocate(spec.host)
    if not spec.health_port:
        health_port = port
    elif not is_free(spec.host, health_port):
        ports.release(health_port)
        health_port = ports.allocate(spec.host)
    return msgspec.structs.replace(seed, port=port, health_port=health_port)
