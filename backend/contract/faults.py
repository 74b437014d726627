"""Faults as data: what a drill may ask of those who can hold a fault, and what they say of it.

A **holder** is a process of its own that applies a fault and takes it away: the shim of a replica (faults of process
and machine) or a fault proxy spliced between edge and replica (faults of network and HTTP). Every order carries a time
limit that the holder keeps by itself, whoever else has died. Holders speak JSON lines on a unix socket: a
`HolderRequest` in, a `HolderAnswer` with the same id out (a shim's other operations share the socket).
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

ShimFault = Literal[
    "stop",
    "freeze-engine",
    "burn-cpu",
    "fill-memory",
    "exhaust-memory",
    "exhaust-descriptors",
    "fill-disk",
]
"""`stop`: SIGSTOP of the whole program. `freeze-engine`: only the thread that decodes. `burn-cpu`: `cores` busy loops.
`fill-memory`: `size_bytes` held beside the program. `exhaust-memory`: memory counted to the program until its limit
kills it. `exhaust-descriptors`: no new file or socket can be opened. `fill-disk`: its log directory takes no byte."""
ProxyFault = Literal[
    "latency",
    "bandwidth",
    "reset",
    "cut",
    "blackhole",
    "partition",
    "http-error",
    "garbage",
    "truncate",
    "slow-tokens",
    "health-lie",
    "poison",
]
"""`latency` + jitter each way; `bandwidth`: answer bytes/s; `reset`: RST instead of an answer; `cut`: the stream ends
after `after_bytes` of the answer; `blackhole`: connections are taken and nothing moves; `partition`: one `direction`
is dropped; `http-error`: `status` at once; `garbage`: 200 with a body that is no answer; `truncate`: Content-Length
kept, body cut; `slow-tokens`: `latency_s` before each chunk; `health-lie`: health paths answer `status`; `poison`: a
request with header `X-Trinity-Poison: <marker>` kills the replica it reaches."""
FaultKind = ShimFault | ProxyFault
Direction = Literal["to-replica", "to-edge", "both"]
POISON_HEADER: Final = "X-Trinity-Poison"


class FaultOrder(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One fault to hold. `id` is unique to run and injection: applying the same id twice changes nothing."""

    id: str
    kind: FaultKind
    ttl_s: float
    """The holder takes it away by itself this long after it was applied."""
    latency_s: float = 0.0
    jitter_s: float = 0.0
    bytes_per_s: float = 0.0
    after_bytes: int = 0
    status: int = 0
    direction: Direction = "both"
    share: float = 1.0
    """The part of requests (proxy) it touches, 0..1, chosen by `seed`."""
    seed: int = 0
    marker: str = ""
    cores: float = 0.0
    size_bytes: int = 0


class FaultReport(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a holder says of one fault it holds or held."""

    id: str
    kind: FaultKind
    active: bool
    """Whether the holder itself saw that it is in place (read back from the kernel where that is possible)."""
    affected: int = 0
    """How often it touched something: requests (proxy), kills, threads or processes (shim)."""
    detail: str = ""
    left_s: float = 0.0
    """Of its time limit."""
    ended_by: Literal["", "heal", "ttl", "gone"] = ""
    """Why it is not active any more; `gone`: what it was for has ended."""


class ProxyTarget(msgspec.Struct, frozen=True, kw_only=True):
    """What a fault proxy stands in front of: the replica's present process and its two ports."""

    host: str = "127.0.0.1"
    port: int
    health_port: int | None = None
    pid: int | None = None
    mark: str = ""
    """Start mark of the process (`backend.drills.processes`), so that `poison` never kills a stranger."""


PROXY_HOST: Final = "127.0.0.1"
"""Where a fault proxy listens, whatever it stands in front of."""

HolderOperation = Literal["fault", "heal", "faults", "target"]


class HolderRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`fault` takes `order`; `heal` takes `fault_id` (empty: all); `faults` lists; `target` (proxy) takes `target`."""

    id: int
    op: HolderOperation
    order: FaultOrder | None = None
    fault_id: str = ""
    target: ProxyTarget | None = None


class HolderAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer to one request. With `error` nothing was changed."""

    id: int | None = None
    error: str = ""
    faults: tuple[FaultReport, ...] = ()


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """Where the holder of a replica's faults can be asked, by anybody, without the daemon."""

    kind: Literal["shim", "proxy"]
    socket_path: str
    pid: int
    mark: str


class StartFault(msgspec.Struct, frozen=True, kw_only=True):
    """What happens to a replica's next starts until the instant `until_ts` (wall clock, seconds)."""

    until_ts: float
    delay_s: float = 0.0
    """Wait this long before the program is executed (slow start)."""
    exit_code: int | None = None
    """End with this code instead of executing the program (crash loop)."""
