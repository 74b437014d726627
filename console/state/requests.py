"""Requests seen from several sides as one row each. Pure; owns which side is believed for what."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from backend.contract.rows import RequestRow
from backend.contract.words import Vantage

_BELIEVED: Final = (Vantage.EDGE, Vantage.CLIENT, Vantage.ATTEMPT)
"""The edge saw every request to its end; a client's row alone is one that never reached it; an attempt's is open."""


def one_a_request(rows: Iterable[RequestRow]) -> list[RequestRow]:
    """The edge's row of each request id with the tokens that its client counted; another side's where the edge has
    none. A client that uses one id for many requests keeps one row: its newest."""
    sides: dict[str, dict[Vantage, RequestRow]] = {}
    for row in rows:
        seen = sides.setdefault(row.request_id, {})
        before = seen.get(row.vantage)
        if before is None or row.ts >= before.ts:
            seen[row.vantage] = row
    return [_joined(seen) for seen in sides.values()]


def _joined(seen: dict[Vantage, RequestRow]) -> RequestRow:
    row = next(seen[vantage] for vantage in _BELIEVED if vantage in seen)
    client = seen.get(Vantage.CLIENT)
    if client is None or client is row:
        return row
    return msgspec.structs.replace(
        row,
        tokens_in=client.tokens_in if row.tokens_in is None else row.tokens_in,
        tokens_out=client.tokens_out if row.tokens_out is None else row.tokens_out,
    )
