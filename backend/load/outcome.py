"""What the caller of one request got: pure functions from what was seen on the wire to an outcome.

Owns the names of failures (`termination` of a client row): `refused`, `reset`, `closed`, `unreachable`, `timeout`,
`truncated`, `silent_end`, `malformed`, `stream_error`, `bad_answer`, `bad_vector`, `other_vector`, `http_<status>`,
`cancelled`, `cap`; empty for a clean end.
"""

from __future__ import annotations

from typing import Final

import msgspec

from backend.contract.rows import RequestRow
from backend.contract.words import RequestOutcome
from backend.load.spec import RequestKind
from backend.openai_wire import Usage

CAP: Final = "cap"
CANCELLED: Final = "cancelled"


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """One exchange as the client saw it."""

    status: int = -1
    error: str = ""
    """Name of what broke the exchange; empty when the answer came whole."""
    retry_after: bool = False
    replica: str = ""
    """Who answered, where the edge says so (`X-Trinity-Replica`)."""
    body: bytes = b""
    """Of answers that do not stream."""
    stream: bool = False
    """A stream was asked for."""
    stream_is_sse: bool = False
    stream_done: bool = False
    """`[DONE]` was seen."""
    stream_error: str = ""
    """Message of an error event inside the stream."""
    stream_events: int = 0


class Verdict(msgspec.Struct, frozen=True):
    """Outcome, termination name and a sentence for people (empty when good)."""

    outcome: RequestOutcome
    termination: str = ""
    error: str = ""


class _Answer(msgspec.Struct):
    choices: list[msgspec.Raw] | None = None
    data: list[msgspec.Raw] | None = None
    usage: Usage | None = None


class _ErrorBody(msgspec.Struct):
    error: dict[str, msgspec.Raw] | str


_ANSWER: Final = msgspec.json.Decoder(_Answer)
_ERROR: Final = msgspec.json.Decoder(_ErrorBody)


def classify(
    seen: Seen, kind: RequestKind, *, latency_s: float | None = None, slow_over_s: float | None = None
) -> Verdict:
    """Judge one exchange.

    Shed: 429, or 503 with Retry-After. Failed: anything broken, other errors, a stream that was cut.
    Wrong: a whole 2xx answer of the wrong shape, a stream that ends cleanly without its end mark. Slow: good, but later
    than `slow_over_s`; `latency_s` counts from the intended send.
    """
    if seen.error:
        return Verdict(RequestOutcome.FAILED, seen.error, _SENTENCES.get(seen.error, seen.error))
    if seen.status == 429 or (seen.status == 503 and seen.retry_after):
        return Verdict(RequestOutcome.SHED, f"http_{seen.status}", error_message(seen.body))
    if not 200 <= seen.status < 300:
        return Verdict(RequestOutcome.FAILED, f"http_{seen.status}", error_message(seen.body))
    if seen.stream:
        if not seen.stream_is_sse:
            return Verdict(RequestOutcome.WRONG, "bad_answer", "a stream was asked for, something else came")
        if seen.stream_error:
            return Verdict(RequestOutcome.FAILED, "stream_error", seen.stream_error)
        if not seen.stream_done:
            # The transfer ended as if all were well: nobody could see that something is missing.
            return Verdict(RequestOutcome.WRONG, "silent_end", _SENTENCES["silent_end"])
        if seen.stream_events == 0:
            return Verdict(RequestOutcome.WRONG, "bad_answer", "the stream held no event before its end mark")
    elif kind != "get" and not good_answer(seen.body, kind):
        return Verdict(RequestOutcome.WRONG, "bad_answer", "the answer is not of the OpenAI shape")
    if slow_over_s is not None and latency_s is not None and latency_s > slow_over_s:
        return Verdict(RequestOutcome.SLOW)
    return Verdict(RequestOutcome.OK)


_SENTENCES: Final[dict[str, str]] = {
    "refused": "the connection was refused",
    "reset": "the connection was reset",
    "closed": "the connection was closed without an answer",
    "unreachable": "the target cannot be reached",
    "timeout": "no whole answer before the deadline",
    "truncated": "the transfer was cut before its end",
    "silent_end": "the stream ended cleanly, but without its end mark",
    "malformed": "the answer is not valid HTTP or not a valid event stream",
    CANCELLED: "the run was stopped while it was in flight",
    CAP: "not sent: as many requests as allowed were in flight",
}


def sentence(termination: str) -> str:
    """A failure's name in words."""
    return _SENTENCES.get(termination, termination)


def is_sent_again(row: RequestRow, retries: int) -> bool:
    """Whether a client that tries `retries` more times sends this row's request again: another row follows then."""
    return (
        row.attempt <= retries
        and row.outcome in (RequestOutcome.FAILED, RequestOutcome.SHED)
        and row.termination not in (CAP, CANCELLED)
    )


def good_answer(body: bytes, kind: RequestKind) -> bool:
    """Whether a whole body has at least one choice (one vector for embeddings)."""
    try:
        answer = _ANSWER.decode(body)
    except msgspec.DecodeError:
        return False
    return bool(answer.data if kind == "embeddings" else answer.choices)


def usage_of(body: bytes) -> Usage | None:
    """Token counts of an answer or a stream chunk, where it has them."""
    try:
        return _ANSWER.decode(body).usage
    except msgspec.DecodeError:
        return None


def error_message(body: bytes) -> str:
    """The message of an error body, else the start of the body itself."""
    try:
        error = _ERROR.decode(body).error
        if isinstance(error, str):
            return error[:500]
        return msgspec.json.decode(error["message"], type=str)[:500]
    except (msgspec.DecodeError, KeyError):
        return body[:200].decode("utf-8", "replace").strip()
