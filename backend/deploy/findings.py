"""What a check or a comparison has to say: one finding a line, as data."""

from __future__ import annotations

from typing import Literal

import msgspec


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at."""

    result: Literal["ok", "wrong", "skipped"]
    """`skipped`: the program that would have looked is not here; `detail` names it."""
    what: str
    detail: str = ""


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that runs otherwise than the files say."""

    subject: str
    """`service llm`, `Deployment trinity-edge`."""
    field: str
    """`image`, `replicas`, `spec.template.spec.containers[0].env[3].value`; empty: the whole of it."""
    wanted: str
    """As the files say; empty: they do not have it."""
    running: str
    """As it runs; empty: it does not."""
