"""Frames with deltas folded into frames with whole snapshots, as everybody but the wire wants them.

Owns what this stream showed last. Never talks to a daemon; replicas that did not change stay the same objects.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from backend.contract.control import Frame, Snapshot
from backend.contract.deltas import apply_delta, keep_unchanged
from backend.contract.rows import EventRow


class FrameFolder:
    """Folds one stream after the other of the same daemon; events are handed on once."""

    def __init__(self) -> None:
        self.snapshot: Snapshot | None = None
        self._event_seq = 0

    def fold(self, frame: Frame, earlier: Iterable[EventRow] = ()) -> Frame:
        """The frame with its snapshot whole, and with what `earlier` knows that no frame brought.

        Raises ValueError where its delta belongs to a snapshot that never came."""
        snapshot = frame.snapshot
        if frame.delta is not None:
            if self.snapshot is None:
                raise ValueError("the stream began with a delta")
            snapshot = apply_delta(self.snapshot, frame.delta)
        elif snapshot is not None and self.snapshot is not None:
            snapshot = keep_unchanged(self.snapshot, snapshot)
        if snapshot is not None:
            self.snapshot = snapshot
        named = {row.seq for row in frame.events}
        late = [row for row in earlier if row.seq > self._event_seq and row.seq not in named]
        events = tuple(sorted((*late, *frame.events), key=lambda row: row.seq)) if late else frame.events
        self._event_seq = max([self._event_seq, *(row.seq for row in events)])
        return msgspec.structs.replace(frame, snapshot=snapshot, delta=None, events=events)
