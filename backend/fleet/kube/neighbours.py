"""What else can be looked at from a fleet: contexts of the kubeconfig, namespaces of the cluster. Asks only.

What may not be listed is left out: a name can still be typed.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from backend.contract.address import FleetAddress
from backend.contract.errors import TrinityError
from backend.contract.platform import Neighbours
from backend.fleet.kube.access import Access

_ANSWER_S: Final = 3.0
"""Somebody types meanwhile."""
_NAMESPACES: Final = 500


async def neighbours(access: Access) -> Neighbours:
    """Of the fleet in that access' context and namespace. Raises nothing for a cluster that cannot be asked."""
    contexts, parts = await asyncio.gather(_contexts(access), _namespaces(access))
    address = FleetAddress(driver="kubernetes", context=access.asked_context, part=access.namespace)
    return Neighbours(address=str(address), contexts=contexts, parts=parts)


async def _contexts(access: Access) -> tuple[str, ...]:
    with contextlib.suppress(TrinityError):
        return await asyncio.to_thread(access.contexts)
    return ()


async def _namespaces(access: Access) -> tuple[str, ...]:
    with contextlib.suppress(TrinityError, TimeoutError):
        async with asyncio.timeout(_ANSWER_S):
            found = await access.get_json("/api/v1/namespaces", {"limit": _NAMESPACES})
            return tuple(sorted(item["metadata"]["name"] for item in found.get("items") or ()))
    return ()
