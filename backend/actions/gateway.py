"""The gateway: every verb of every actor goes through `perform`, and through nothing else.

Owns the order guard, journal, deed, result, and undo. Knows no verb itself: executors are registered. Never
touches fleet or edge.

Failure model: a daemon that dies during a deed leaves a `running` row; `close_interrupted` ends it at the next
start. A caller that goes away does not stop a deed. A row that cannot be journalled forbids the deed.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from backend.actions.executor import ActionState, Executor, Inverse, Irreversible, Progress
from backend.actions.guard import read_only_refusal, refusal
from backend.actions.history import History, undo_args, undo_request
from backend.contract.clock import Clock
from backend.contract.control import ActionPreview, ActionRequest
from backend.contract.errors import Refused, TrinityError, UsageError
from backend.contract.ledger import RowSink, RowSource
from backend.contract.rows import ActionRow, EventRow, Scalar
from backend.contract.words import ActionOutcome, Risk, Severity, Verb

SILENT: Final[frozenset[Verb]] = frozenset({Verb.NOTE, Verb.ACKNOWLEDGE})
"""Verbs whose own event is enough: no `action.<verb>` event beside it."""


def new_action_id() -> str:
    """Eight hex digits, easy to type."""
    return secrets.token_hex(4)


class Gateway:
    """`state` gives the newest ActionState, `blocker(workload, actor)` who holds a lease against an actor."""

    def __init__(
        self,
        state: Callable[[], ActionState],
        sink: RowSink,
        source: RowSource,
        clock: Clock,
        *,
        blocker: Callable[[str, str], str | None],
        executors: Iterable[Executor] = (),
        read_only: bool = False,
        new_id: Callable[[], str] = new_action_id,
    ) -> None:
        self._state, self._sink, self._clock = state, sink, clock
        self._blocker, self._read_only, self._new_id = blocker, read_only, new_id
        self._executors: dict[Verb, Executor] = {}
        self._history = History(source)
        self._undoing: set[str] = set()
        self._deeds: set[asyncio.Task[ActionRow]] = set()
        for executor in executors:
            self.register(executor)

    def register(self, executor: Executor) -> None:
        """Teach the gateway a verb. Raises ValueError for one it knows, or for undo, which is its own."""
        if executor.verb in self._executors or executor.verb == Verb.UNDO:
            raise ValueError(f"{executor.verb} has an executor already")
        self._executors[executor.verb] = executor

    @property
    def verbs(self) -> frozenset[Verb]:
        """What it can do."""
        return frozenset(self._executors) | {Verb.UNDO}

    # -- preview --------------------------------------------------------------------------------------------

    def preview(self, request: ActionRequest) -> ActionPreview:
        """What the action would do and whether it may be done. Changes nothing.

        Raises UsageError for an unknown target or arguments that make no sense."""
        state = self._state()
        if request.verb != Verb.UNDO:
            return self._preview(state, request)
        if words := read_only_refusal(request, read_only=self._read_only):
            return _refused_undo(request, words)
        try:
            row = self._history.to_undo(request, self._executors, state)
        except Refused as exc:
            return _refused_undo(request, str(exc))
        inner = self._preview(state, undo_request(row, request))
        return msgspec.structs.replace(inner, verb=Verb.UNDO, summary=f"Undo of {row.verb} ({row.id}): {inner.summary}")

    def _preview(self, state: ActionState, request: ActionRequest) -> ActionPreview:
        executor = self._executor(request.verb)
        words = refusal(state, request, executor, read_only=self._read_only, blocker=self._blocker)
        effect = executor.preview(state, request)
        words = words or effect.refusal
        inverse = executor.inverse(state, request)
        return ActionPreview(
            verb=request.verb,
            target=request.target,
            summary=effect.summary,
            effects=effect.effects,
            risk=effect.risk,
            allowed=not words,
            refusal=words,
            undo=inverse.words if isinstance(inverse, Inverse) else "",
        )

    def _executor(self, verb: Verb) -> Executor:
        executor = self._executors.get(verb)
        if executor is None:
            raise UsageError(f"This daemon cannot {verb}.", f"It can: {', '.join(sorted(self.verbs))}.")
        return executor

    # -- perform --------------------------------------------------------------------------------------------

    async def perform(self, request: ActionRequest, progress: Progress | None = None) -> ActionRow:
        """Do it. Returns the journalled row once the deed has ended, with outcome `ok` or `failed`.

        Raises Refused, LeaseHeld or UsageError where nothing was done; that is journalled as `refused`.
        """
        if request.verb != Verb.UNDO:
            return await self._guarded(request, None, progress or _silent)
        state = self._state()
        try:
            if words := read_only_refusal(request, read_only=self._read_only):
                raise Refused(words)
            row = self._history.to_undo(request, self._executors, state)
            if row.id in self._undoing:
                raise Refused(f"{row.id} is being undone already.")
        except (Refused, UsageError) as exc:
            self._journal_refusal(request, None, "", exc)
            raise
        self._undoing.add(row.id)
        try:
            return await self._guarded(undo_request(row, request), row.id, progress or _silent)
        finally:
            self._undoing.discard(row.id)

    async def _guarded(self, request: ActionRequest, undo_of: str | None, progress: Progress) -> ActionRow:
        state = self._state()
        summary = ""
        try:
            preview = self._preview(state, request)
            summary = preview.summary
            if not preview.allowed:
                raise Refused(preview.refusal)
            executor = self._executor(request.verb)
            inverse = executor.inverse(state, request)
        except (Refused, UsageError) as exc:
            self._journal_refusal(request, undo_of, summary, exc)
            raise
        row = ActionRow(
            ts=self._clock.now(),
            id=self._new_id(),
            actor=request.actor,
            verb=request.verb,
            target=request.target,
            args=_recorded(request, inverse),
            reason=request.reason,
            preview=summary,
            outcome=ActionOutcome.RUNNING,
            undo_of=undo_of,
            undoable=False,
        )
        await self._sink.append_durable(row)
        self._history.remember(row)
        deed = asyncio.create_task(self._deed(executor, request, row, inverse, progress), name=f"action {row.id}")
        self._deeds.add(deed)
        deed.add_done_callback(self._deeds.discard)
        return await asyncio.shield(deed)

    async def _deed(
        self,
        executor: Executor,
        request: ActionRequest,
        row: ActionRow,
        inverse: Inverse | Irreversible,
        progress: Progress,
    ) -> ActionRow:
        began = self._clock.mono()

        async def end(outcome: ActionOutcome, result: str) -> ActionRow:
            done = msgspec.structs.replace(
                row,
                ts=self._clock.now(),
                outcome=outcome,
                result=result,
                undoable=outcome == ActionOutcome.OK and isinstance(inverse, Inverse),
                duration_s=self._clock.mono() - began,
            )
            self._history.remember(done)
            self._event(done)
            await self._sink.append_durable(done)
            return done

        try:
            result = await executor.run(request, progress)
        except (Refused, UsageError) as exc:
            await end(ActionOutcome.REFUSED, str(exc))
            raise
        except TrinityError as exc:
            return await end(ActionOutcome.FAILED, str(exc))
        except asyncio.CancelledError:
            await asyncio.shield(end(ActionOutcome.FAILED, "Interrupted: the daemon was stopped."))
            raise
        except Exception as exc:  # recorded as the row and its event
            return await end(ActionOutcome.FAILED, f"Internal error: {type(exc).__name__}: {exc}")
        return await end(ActionOutcome.OK, result)

    async def stop(self) -> None:
        """End deeds that still run, as failed; for the daemon's shutdown."""
        current = asyncio.current_task()
        deeds = [deed for deed in self._deeds if deed is not current]
        for deed in deeds:
            deed.cancel()
        await asyncio.gather(*deeds, return_exceptions=True)

    async def close_interrupted(self) -> int:
        """At start: end the rows that a dead daemon left `running`. How many there were."""
        rows = self._history.running()
        for row in rows:
            done = msgspec.structs.replace(
                row,
                ts=self._clock.now(),
                outcome=ActionOutcome.FAILED,
                result="Interrupted: the daemon ended before it had finished.",
            )
            self._history.remember(done)
            await self._sink.append_durable(done)
            self._event(done)
        return len(rows)

    # -- the record -----------------------------------------------------------------------------------------

    def _journal_refusal(self, request: ActionRequest, undo_of: str | None, summary: str, exc: TrinityError) -> None:
        row = ActionRow(
            ts=self._clock.now(),
            id=self._new_id(),
            actor=request.actor,
            verb=request.verb,
            target=request.target,
            args=_recorded(request, None),
            reason=request.reason,
            preview=summary,
            outcome=ActionOutcome.REFUSED,
            result=str(exc),
            undo_of=undo_of,
        )
        self._sink.append(row)
        self._event(row)

    def _event(self, row: ActionRow) -> None:
        if row.verb in SILENT and row.outcome == ActionOutcome.OK:
            return
        about = f"{row.verb} {row.target}".strip()
        undo = f" (undo of {row.undo_of})" if row.undo_of else ""
        attributes: dict[str, Scalar] = {"id": row.id, "actor": row.actor, "outcome": str(row.outcome)}
        self._sink.append(
            EventRow(
                ts=row.ts,
                mono_s=self._clock.mono(),
                kind=f"action.{row.verb}",
                severity=Severity.INFO if row.outcome == ActionOutcome.OK else Severity.WARNING,
                subject=row.target or "fleet",
                message=f"{row.actor}: {about}{undo}: {row.outcome}. {row.result}".strip(),
                attributes=attributes,
            )
        )


def _recorded(request: ActionRequest, inverse: Inverse | Irreversible | None) -> dict[str, Scalar]:
    """The arguments as the journal keeps them: a whole file only by its digest (it may hold secrets), and what
    would take the action back."""
    args = dict(request.args)
    if isinstance(yaml := args.pop("yaml", None), str):
        args["yaml_sha256"] = hashlib.sha256(yaml.encode()).hexdigest()
    return {**args, **(undo_args(inverse) if isinstance(inverse, Inverse) else {})}


def _refused_undo(request: ActionRequest, words: str) -> ActionPreview:
    return ActionPreview(
        verb=Verb.UNDO,
        target=request.target,
        summary="Nothing is undone.",
        risk=Risk.NONE,
        allowed=False,
        refusal=words,
    )


def _silent(_message: str) -> None:
    """Nobody follows this action's progress."""
