"""What there is to know about each fault before it is injected: its keys, its proofs, its target, who holds it. Pure.

One table; `check` refuses what is not in it, `planner` describes from it, the faults themselves act by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from backend.contract.faults import FaultKind
from backend.drills.scenario import FaultName, VerifyName

On = Literal["replica", "pool", "replica-or-pool"]
HeldBy = Literal["", "shim", "proxy"]


class Traits(msgspec.Struct, frozen=True, kw_only=True):
    """One fault's traits."""

    about: str
    """What it does, in a few words, for plans and lists."""
    on: On = "replica"
    held_by: HeldBy = ""
    kind: FaultKind | None = None
    """What the holder is ordered to do."""
    needs: tuple[str, ...] = ()
    """Keys of the injection it cannot do without."""
    takes: tuple[str, ...] = ()
    """Further keys it accepts."""
    proofs: tuple[VerifyName, ...]
    """Steps that can prove it; a scenario names at least one."""
    takes_down: bool = True
    """Whether the replica counts as down for the blast radius while the fault lasts."""


_PROXY: Final[tuple[VerifyName, ...]] = ("requests_affected", "holder_active")


def _proxied(kind: FaultKind, about: str, *, needs: tuple[str, ...] = (), takes: tuple[str, ...] = ()) -> Traits:
    return Traits(
        about=about,
        on="replica-or-pool",
        held_by="proxy",
        kind=kind,
        needs=needs,
        takes=("share", *takes),
        proofs=_PROXY,
        takes_down=False,
    )


FAULTS: Final[Mapping[FaultName, Traits]] = {
    "process.kill": Traits(
        about="end the process by a signal",
        takes=("signal", "respawn"),
        proofs=("pid_gone", "port_closed", "respawned"),
    ),
    "process.stop": Traits(
        about="stop the process (SIGSTOP), or only its decoding thread (scope: engine)",
        held_by="shim",
        kind="stop",
        takes=("scope",),
        proofs=("proc_state_T", "thread_stopped", "api_still_200", "no_progress", "holder_active"),
    ),
    "process.exit": Traits(
        about="let the program end itself with a code", needs=("code",), proofs=("exit_recorded", "pid_gone")
    ),
    "process.slow-start": Traits(
        about="end the process and delay its next starts", needs=("delay",), proofs=("pid_gone", "not_ready")
    ),
    "process.crash-loop": Traits(
        about="end the process and let each next start end with a code",
        needs=("code",),
        proofs=("crash_loop", "pid_gone"),
    ),
    "memory.exhaust": Traits(
        about="use memory until the replica's limit kills it",
        held_by="shim",
        kind="exhaust-memory",
        proofs=("exit_recorded", "pid_gone"),
    ),
    "memory.fill": Traits(
        about="hold memory beside the replica",
        held_by="shim",
        kind="fill-memory",
        needs=("size",),
        proofs=("holder_active",),
        takes_down=False,
    ),
    "cpu.burn": Traits(
        about="burn processor time beside the replica",
        held_by="shim",
        kind="burn-cpu",
        needs=("cores",),
        proofs=("holder_active",),
        takes_down=False,
    ),
    "files.exhaust": Traits(
        about="let the process open no further file or socket",
        held_by="shim",
        kind="exhaust-descriptors",
        proofs=("holder_active",),
    ),
    "disk.fill": Traits(
        about="let the replica's log directory take no further byte",
        held_by="shim",
        kind="fill-disk",
        proofs=("holder_active",),
        takes_down=False,
    ),
    "net.latency": _proxied("latency", "delay bytes each way", needs=("latency",), takes=("jitter", "direction")),
    "net.bandwidth": _proxied("bandwidth", "limit the bytes/s of answers", needs=("rate",)),
    "net.reset": _proxied("reset", "reset connections instead of answering"),
    "net.cut": _proxied("cut", "end answers in the middle", needs=("after",)),
    "net.blackhole": _proxied("blackhole", "take connections and let nothing pass"),
    "net.partition": _proxied("partition", "drop one direction", needs=("direction",)),
    "http.error": _proxied("http-error", "answer with an error at once", needs=("status",)),
    "http.garbage": _proxied("garbage", "answer 200 with a body that is no answer"),
    "http.truncate": _proxied("truncate", "promise a length and send less", takes=("after",)),
    "http.slow-tokens": _proxied("slow-tokens", "wait before each chunk of an answer", needs=("latency",)),
    "health.lie": Traits(
        about="let health endpoints say something else than the truth",
        held_by="proxy",
        kind="health-lie",
        needs=("status",),
        proofs=_PROXY,
        takes_down=False,
    ),
    "request.poison": Traits(
        about="send one request that kills each replica it reaches",
        on="pool",
        held_by="proxy",
        kind="poison",
        proofs=_PROXY,
        takes_down=False,
    ),
    "edge.kill": Traits(about="kill the load balancer", on="pool", proofs=("edge_replaced",), takes_down=False),
    "edge.reload": Traits(about="reload the load balancer", on="pool", proofs=("edge_replaced",), takes_down=False),
    "daemon.kill": Traits(
        about="kill trinityd; the drill runs outside of it", on="pool", proofs=("daemon_replaced",), takes_down=False
    ),
    "workload.restart": Traits(
        about="rolling restart of the workload", on="pool", proofs=("action_done",), takes_down=False
    ),
    "workload.scale": Traits(
        about="scale the workload", on="pool", needs=("replicas",), proofs=("action_done",), takes_down=False
    ),
    "node.drain": Traits(
        about="drain the replica's node: cordon it, evict what is on it within disruption budgets",
        proofs=("pid_gone", "respawned", "action_done"),
    ),
}
KEYS: Final = frozenset(
    [
        *("signal", "respawn", "scope", "code", "delay", "latency", "jitter", "rate"),
        *("after", "status", "direction", "share", "cores", "size", "replicas"),
    ]
)
"""All keys of an injection that belong to some faults only."""
