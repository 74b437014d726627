"""Actions already done: which of them can be undone, and by what.

Owns how an inverse is written into a journal row and read back. Never performs it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from backend.actions.executor import ActionState, Executor, Inverse, Irreversible
from backend.contract.control import ActionRequest
from backend.contract.errors import Refused, UsageError
from backend.contract.ledger import RowSource
from backend.contract.rows import ActionRow, Scalar
from backend.contract.words import ActionOutcome, Verb

LOOK_BACK: Final = 5000
"""Rows of the journal that undo looks at."""
PREFIX: Final = "undo."


def undo_args(inverse: Inverse) -> dict[str, Scalar]:
    """The inverse as row arguments: `undo.verb`, then `undo.<argument>` for each."""
    return {f"{PREFIX}verb": str(inverse.verb), **{PREFIX + name: value for name, value in inverse.args.items()}}


def undo_request(row: ActionRow, request: ActionRequest) -> ActionRequest:
    """The action that takes `row` back, asked for by `request`'s actor. The row must carry an inverse."""
    args = {
        name.removeprefix(PREFIX): value
        for name, value in row.args.items()
        if name.startswith(PREFIX) and name != f"{PREFIX}verb"
    }
    return ActionRequest(
        verb=Verb(str(row.args[f"{PREFIX}verb"])),
        target=row.target,
        args=args,
        actor=request.actor,
        reason=request.reason or f"undo of {row.id}",
    )


class History:
    """The journal's actions by id, the later row of an id in force; rows of this process are known at once."""

    def __init__(self, source: RowSource) -> None:
        self._source = source
        self._mine: dict[str, ActionRow] = {}

    def remember(self, row: ActionRow) -> None:
        self._mine.pop(row.id, None)
        self._mine[row.id] = row
        while len(self._mine) > LOOK_BACK:
            self._mine.pop(next(iter(self._mine)))

    def all(self) -> dict[str, ActionRow]:
        """Oldest first."""
        rows: dict[str, ActionRow] = {}
        for row in self._source.recent("actions", limit=LOOK_BACK):
            if isinstance(row, ActionRow):
                rows.pop(row.id, None)
                rows[row.id] = row
        for row in self._mine.values():
            rows.pop(row.id, None)
            rows[row.id] = row
        return dict(sorted(rows.items(), key=lambda item: item[1].ts))

    def running(self) -> list[ActionRow]:
        """Rows that have begun and not ended."""
        return [row for row in self.all().values() if row.outcome == ActionOutcome.RUNNING]

    def to_undo(self, request: ActionRequest, executors: Mapping[Verb, Executor], state: ActionState) -> ActionRow:
        """The row an undo is about: the one it names, else the newest that can be undone.

        Raises UsageError for an unknown id, Refused, saying why, where it cannot be undone."""
        rows = self.all()
        undone = {
            row.undo_of: row.id
            for row in rows.values()
            if row.undo_of and row.outcome in (ActionOutcome.OK, ActionOutcome.RUNNING)
        }
        wanted = str(request.args.get("id") or request.target or "")
        if not wanted:
            for row in reversed(rows.values()):
                if row.undoable and row.id not in undone and not row.undo_of:
                    return row
            raise Refused("There is no action that can be undone.")
        found = rows.get(wanted)
        if found is None:
            raise UsageError(f"There is no action {wanted}.", "See `trinity actions` for their ids.")
        if found.outcome == ActionOutcome.RUNNING:
            raise Refused(f"{found.verb} {found.id} is still running.", "Wait for it to end.")
        if found.outcome != ActionOutcome.OK:
            raise Refused(f"{found.verb} {found.id} was {found.outcome}: there is nothing to undo.")
        if found.id in undone:
            raise Refused(f"{found.verb} {found.id} was undone already, by {undone[found.id]}.")
        if not found.undoable:
            raise Refused(f"{found.verb} {found.id} cannot be undone: {_why(found, executors, state)}.")
        return found


def _why(row: ActionRow, executors: Mapping[Verb, Executor], state: ActionState) -> str:
    executor = executors.get(Verb(row.verb))
    if executor is None:
        return "this daemon does not know the verb"
    request = ActionRequest(verb=Verb(row.verb), target=row.target, args=row.args, actor=row.actor)
    try:
        inverse = executor.inverse(state, request)
    except UsageError as exc:
        return exc.message.rstrip(".")
    return inverse.why if isinstance(inverse, Irreversible) else "it changed nothing"
