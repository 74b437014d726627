"""The JSON lines a shim speaks: requests with an id, answers with the same id, pushed events without one.

Owns the two message shapes and their framing. Does no I/O.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from backend.contract.faults import FaultOrder, FaultReport
from backend.contract.fleet import ExitRecord
from backend.shim.record import ShimRecord

Operation = Literal["status", "signal", "stop", "reload", "hold", "reap", "fault", "heal", "faults"]

MAX_LINE_BYTES: Final = 4 * 1024 * 1024


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What a client asks. `signal` wants `signum`, `stop` takes `grace_s`, `hold` takes `on`.

    The last three are those of a holder of faults (`backend.contract.faults.HolderRequest`).
    """

    id: int
    op: Operation
    signum: int = 0
    grace_s: float = 10.0
    on: bool = True
    order: FaultOrder | None = None
    fault_id: str = ""


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An answer (with `id`) or a pushed event (with `event`)."""

    id: int | None = None
    error: str = ""
    event: Literal["", "exited", "started"] = ""
    record: ShimRecord | None = None
    exit: ExitRecord | None = None
    faults: tuple[FaultReport, ...] = ()


class StartReport(msgspec.Struct, frozen=True, kw_only=True):
    """What the shim tells its launcher, once: the record, or why there is none."""

    record: ShimRecord | None = None
    kind: Literal["", "port-taken", "program", "other"] = ""
    message: str = ""
    host: str = ""
    port: int = 0
    purpose: str = ""


def encode_line(message: Request | Message | StartReport) -> bytes:
    """One message as one line."""
    return msgspec.json.encode(message) + b"\n"
