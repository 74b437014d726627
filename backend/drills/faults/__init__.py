"""The faults: how each is injected, proven and taken away. The catalogue says what there is, the host does it."""

from backend.drills.faults.deeds import inject, require_outside
from backend.drills.faults.orders import order_id, order_of, takes, undo_kind, undo_of
from backend.drills.faults.proofs import verify
from backend.drills.faults.undoing import SLOW_KINDS, UndoAttempt, take_away, wait_ready
from backend.drills.faults.victims import Proof, Setting, Victim, has_ended, mark_of

__all__ = [
    "SLOW_KINDS",
    "Proof",
    "Setting",
    "UndoAttempt",
    "Victim",
    "has_ended",
    "inject",
    "mark_of",
    "order_id",
    "order_of",
    "require_outside",
    "take_away",
    "takes",
    "undo_kind",
    "undo_of",
    "verify",
    "wait_ready",
]
