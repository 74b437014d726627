"""What a request to run a drill means, compiled off the daemon's loop: a long scenario takes tens of milliseconds.

Keeps the last few, so that a preview and the start after it need no second look. Runs nothing.
"""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec

from backend.contract.control import ActionRequest
from backend.contract.errors import TrinityError, UsageError
from backend.drills.check import Compiled, load_scenario
from backend.drills.library import load
from backend.drills.overrides import adjust

KEPT: Final = 8


class DrillOrders:
    """Requests and the scenarios they name or carry."""

    def __init__(self) -> None:
        self._known: dict[bytes, Compiled | TrinityError] = {}

    async def prepare(self, request: ActionRequest) -> None:
        """Compile anew in a thread, since a named file may have changed. What is wrong with it `compiled` says."""
        found = await asyncio.to_thread(_attempt, request)
        self._known.pop(_key(request), None)
        self._known[_key(request)] = found
        while len(self._known) > KEPT:
            del self._known[next(iter(self._known))]

    def compiled(self, request: ActionRequest) -> Compiled:
        """The scenario. Raises UsageError or FileError. Compiles here and now what was not prepared."""
        found = self._known.get(_key(request)) or _attempt(request)
        if isinstance(found, TrinityError):
            raise found
        return found


def _key(request: ActionRequest) -> bytes:
    return msgspec.json.encode((request.target, request.args), order="deterministic")


def _attempt(request: ActionRequest) -> Compiled | TrinityError:
    try:
        return _compile(request)
    except TrinityError as error:
        return error


def _compile(request: ActionRequest) -> Compiled:
    """The scenario a request names or carries."""
    text, name = request.args.get("yaml"), request.args.get("name") or request.target
    seed, confidence = request.args.get("seed"), request.args.get("confidence")
    lag_s = request.args.get("max_generator_lag_s")
    if isinstance(text, str):
        compiled = load_scenario(text, str(request.args.get("source") or "the given file"))
    elif isinstance(name, str) and name:
        compiled = load(name)
    else:
        raise UsageError("Which drill? None was named.", "See `trinity drill list`.")
    return adjust(
        compiled,
        seed=seed if isinstance(seed, int) else None,
        confidence=float(confidence) if isinstance(confidence, int | float) else None,
        max_generator_lag_s=float(lag_s) if isinstance(lag_s, int | float) else None,
    )
