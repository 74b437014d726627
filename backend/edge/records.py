"""The edge's access log, line by line: JSON text into records. Pure; a line it cannot read is a value, not an error.

Each request leaves one `end` record from the outer layer and one `first` record per attempt from the inner one,
at the attempt's first byte or at its failure. `u` joins them. Times are microseconds of wall time.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

Count = Annotated[int, msgspec.Meta(ge=-1)]


class FirstRecord(msgspec.Struct, frozen=True, kw_only=True, tag="first", tag_field="k"):
    """One attempt at one replica, at its first byte or at its failure."""

    u: str
    id: str
    t0: int
    now: int
    pid: int
    be: str
    """The inner proxy: `<workload>:<slot>`."""
    rep: str
    p: str
    st: Count
    ts: str
    sse: str
    eng: str
    """`1` when the replica itself answered."""


class EndRecord(msgspec.Struct, frozen=True, kw_only=True, tag="end", tag_field="k"):
    """A request's end, as the client saw it."""

    u: str
    id: str
    t0: int
    """When its last byte had been received; 0 when it never was complete."""
    t1: int
    """When the first byte of the answer left; 0 when a replica gave none."""
    now: int
    pid: int
    be: str
    srv: str
    rep: str
    m: str
    p: str
    st: Count
    ts: str
    sse: str
    TR: Count
    Tw: Count
    Tc: Count
    Tr: Count
    Ta: Count
    rc: str
    """Retries; a leading `+` means that the last one went to another slot."""
    bi: Count
    bo: Count
    why: str = ""
    """Why the edge ended it without another try: `request_kills_replicas`, `retry_budget_spent`, or empty."""

    @property
    def retries(self) -> int:
        """How often the request was tried again."""
        return int(self.rc.lstrip("+"))


class Words(msgspec.Struct, frozen=True):
    """A line HAProxy wrote in its own words, e.g. that a server is down."""

    text: str


class Unreadable(msgspec.Struct, frozen=True):
    """A line that is neither: cut off, or not ours."""

    text: str


Record = FirstRecord | EndRecord | Words | Unreadable

# Strings that hold numbers (a variable with a default) are accepted as numbers.
_decoder: msgspec.json.Decoder[FirstRecord | EndRecord] = msgspec.json.Decoder(FirstRecord | EndRecord, strict=False)


def parse_line(line: bytes) -> Record | None:
    """One line without its newline; None for an empty one."""
    text = line.strip(b" \r\n\0")
    if not text:
        return None
    if not text.startswith(b"{"):
        return Words(text.decode("utf-8", "replace")[:512])
    try:
        record = _decoder.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Unreadable(text.decode("utf-8", "replace")[:512])
    if isinstance(record, EndRecord) and not record.rc.lstrip("+").isdecimal():
        return Unreadable(text.decode("utf-8", "replace")[:512])
    return record
