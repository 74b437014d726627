"""Which behaviour each mutant breaks, which drill must see it, and how that drill then ends.

Imports nothing of the product: a target is named by module and attribute and looked up when the module is imported.
"""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

Original = Any
Broken = Callable[..., Any]


class Mutation(NamedTuple):
    """One function that is replaced."""

    module: str
    target: str
    """`function` or `Class.method`."""
    broken: Callable[[Original], Broken]
    asynchronous: bool = False
    constant: bool = False
    """Whether the target is a value, and `broken` gives another one."""


class Mutant(NamedTuple):
    """One known-bad build."""

    name: str
    about: str
    drill: str
    """The library drill that must not pass with it."""
    outcomes: frozenset[str]
    """How that drill may end."""
    mutations: tuple[Mutation, ...]


def nothing(result: object = None) -> Callable[[Original], Broken]:
    """Does nothing, and returns `result`."""

    def breaking(_: Original) -> Broken:
        def broken(*args: object, **kwargs: object) -> object:
            return result

        return broken

    return breaking


def nothing_async(result: object = None) -> Callable[[Original], Broken]:
    """The same for a coroutine function."""

    def breaking(_: Original) -> Broken:
        async def broken(*args: object, **kwargs: object) -> object:
            return result

        return broken

    return breaking


def replaced_fields(**fields: object) -> Callable[[Original], Broken]:
    """The result (a msgspec struct) with other fields."""

    def breaking(original: Original) -> Broken:
        @functools.wraps(original)
        def broken(*args: object, **kwargs: object) -> object:
            import msgspec

            return msgspec.structs.replace(original(*args, **kwargs), **fields)

        return broken

    return breaking


def kills_before_adoption(original: Original) -> Broken:
    """Every shim and program of the former daemon is killed before the new one looks for them."""

    async def broken(self: Any) -> object:
        from backend.shim.stop_all import recorded_shims

        for record in recorded_shims(self._paths.run_dir):
            if record.spec.name != "edge":
                for pid in (record.shim_pid, record.pid):
                    if pid is not None:
                        with_no_error(os.kill, pid, signal.SIGKILL)
        return await original(self)

    return broken


def looks_rarely(original: Original) -> Broken:
    """HAProxy checks its servers every nine seconds, and no failed connection takes one out."""

    def broken(*args: object, **kwargs: object) -> str:
        text = str(original(*args, **kwargs))
        for word, other in (
            ("inter 250ms fastinter 50ms", "inter 9s fastinter 9s"),
            (" observe layer4 error-limit 2 on-error mark-down", ""),
        ):
            if word not in text:
                raise LookupError(f"the configuration has no {word!r}")
            text = text.replace(word, other)
        return text

    return broken


def with_no_error(work: Callable[..., object], *args: object) -> None:
    try:
        work(*args)
    except ProcessLookupError:
        return


def believes_every_proof(original: Original) -> Broken:
    """Every step of every proof is said to have been seen at once."""

    async def broken(step: Any, setting: Any) -> object:
        from backend.drills.faults.victims import Proof

        await setting.injected.wait()
        return Proof(step, True, setting.clock.mono(), "taken on trust")

    return broken


def claims_undone(original: Original) -> Broken:
    """Nothing is taken away, and it is said that it was."""

    async def broken(host: Any, undo: Any, clock: Any) -> object:
        from backend.drills.faults.undoing import UndoAttempt

        return UndoAttempt(True, True, "taken on trust")

    return broken


def always(value: object) -> Callable[[Original], Any]:
    """Another constant."""
    return lambda _: value


FAIL: Final = frozenset({"fail"})
ABORTED: Final = frozenset({"fail", "aborted-clean"})
"""An abort rule may see it first."""
UNPROVEN: Final = frozenset({"inconclusive"})
BAD: Final = frozenset({"fail", "inconclusive", "aborted-clean", "dirty", "baseline-failed"})

_ALL: Final = (
    Mutant(
        "retries-off",
        "the edge never tries a request twice",
        "llm-replica-kill",
        ABORTED,
        (Mutation("backend.daemon.edges", "_settings", replaced_fields(retries=False)),),
    ),
    Mutant(
        "detection-off",
        "the edge is not told of a death, and its own checks and errors tell it nothing for seconds",
        "embedding-failover",
        ABORTED,
        (
            Mutation("backend.edge.haproxy", "HaproxyEdge.mark_down", nothing_async(), asynchronous=True),
            Mutation("backend.edge.config", "_inner", looks_rarely),
        ),
    ),
    Mutant(
        "drain-skipped",
        "a replica is ended without waiting for what it has",
        "rolling-restart",
        ABORTED,
        (
            Mutation("backend.reconcile.core", "Core.drain_until_idle", nothing_async(True), asynchronous=True),
            Mutation(
                "backend.fleet.supervision.engine_work", "wait_until_idle", nothing_async(True), asynchronous=True
            ),
        ),
    ),
    Mutant(
        "adopt-off",
        "a new daemon kills the replicas of the former one and starts its own",
        "daemon-kill",
        ABORTED,
        (Mutation("backend.fleet.local.driver", "LocalFleet.adopt", kills_before_adoption, asynchronous=True),),
    ),
    Mutant(
        "fault-noop",
        "faults are ordered and never happen",
        "llm-replica-kill",
        UNPROVEN,
        (Mutation("backend.drills.faults.deeds", "inject", nothing_async(), asynchronous=True),),
    ),
    Mutant(
        "verify-noop",
        "faults never happen, and every proof is taken on trust",
        "llm-replica-kill",
        BAD,
        (
            Mutation("backend.drills.faults.deeds", "inject", nothing_async(), asynchronous=True),
            Mutation("backend.drills.faults.proofs", "verify", believes_every_proof, asynchronous=True),
        ),
    ),
    Mutant(
        "undo-noop",
        "no fault is taken away, and every undo is said to be proven",
        "llm-engine-hang",
        BAD,
        (Mutation("backend.drills.faults.undoing", "take_away", claims_undone, asynchronous=True),),
    ),
    Mutant(
        "edge-respawn-off",
        "a dead load balancer is not started again by its shim",
        "edge-kill",
        BAD,
        (Mutation("backend.edge.process", "EdgeStore.shim_spec", replaced_fields(respawn=False)),),
    ),
    Mutant(
        "watchdog-off",
        "an engine that makes no progress is never found stuck",
        "llm-engine-hang",
        BAD,
        (Mutation("backend.reconcile.watchdog", "_stuck", nothing()),),
    ),
    Mutant(
        "budget-off",
        "extra attempts are never too many",
        "retry-storm",
        BAD,
        (
            Mutation("backend.contract.mercy", "budget_reserve", nothing(1_000_000)),
            Mutation("backend.contract.mercy", "allowed_extra", nothing(1_000_000)),
        ),
    ),
    Mutant(
        "kill-cap-off",
        "one request may kill every replica there is",
        "poison-request",
        BAD,
        (Mutation("backend.edge.config", "KILLS_PER_REQUEST", always(1_000_000), constant=True),),
    ),
)
_BY_NAME: Final = {mutant.name: mutant for mutant in _ALL}


def _on(mutant: str, drill: str) -> Mutant:
    """The same broken build before another drill."""
    found = _BY_NAME[mutant]
    return found._replace(name=f"{mutant}:{drill}", drill=drill)


_MORE: Final = (
    _on("drain-skipped", "scale-down"),
    _on("watchdog-off", "llm-replica-hang"),
    _on("fault-noop", "replica-latency"),
    _on("fault-noop", "mid-stream-cut"),
)
MUTANTS: Final[Mapping[str, Mutant]] = {mutant.name: mutant for mutant in (*_ALL, *_MORE)}
