"""llama.cpp's `/slots`: what its counters do not say yet.

Owns the reading of that one answer. The engine adds a request's tokens to `tokens_predicted_total` when the request
**ends** (measured), so a live rate needs the tokens of the requests that still run, which stand in `/slots`. The
answer also holds how full the context is, for which llama.cpp has no metric any more.
"""

from __future__ import annotations

import msgspec


class _NextToken(msgspec.Struct):
    n_decoded: int = 0


class _Slot(msgspec.Struct):
    is_processing: bool = False
    n_ctx: int = 0
    n_prompt_tokens: int = 0
    n_prompt_tokens_processed: int = 0
    n_prompt_tokens_cache: int = 0
    next_token: list[_NextToken] | _NextToken = []


class SlotsReading(msgspec.Struct, frozen=True, kw_only=True):
    """All slots of one replica together."""

    decoded: int
    """Output tokens of requests that still run."""
    used_ratio: float | None
    """Context taken by requests that run, 0..1 of all slots' context; null where no size is given."""


_decoder = msgspec.json.Decoder(list[_Slot])


def read_slots(body: bytes) -> SlotsReading | None:
    """The slots of an answer to `GET /slots`; null where it cannot be read."""
    try:
        slots = _decoder.decode(body)
    except msgspec.DecodeError:
        return None
    running = [slot for slot in slots if slot.is_processing]
    context = sum(slot.n_ctx for slot in slots)
    used = sum(min(_tokens_held(slot), slot.n_ctx) for slot in running)
    return SlotsReading(decoded=sum(map(_decoded, running)), used_ratio=used / context if context > 0 else None)


def _decoded(slot: _Slot) -> int:
    # An object in older versions, a list of one (per sampled sequence) since 2025.
    steps = slot.next_token if isinstance(slot.next_token, list) else [slot.next_token]
    return max((step.n_decoded for step in steps), default=0)


def _tokens_held(slot: _Slot) -> int:
    # Newer versions count the output into n_prompt_tokens, older ones do not.
    return max(slot.n_prompt_tokens, slot.n_prompt_tokens_cache + slot.n_prompt_tokens_processed + _decoded(slot))
