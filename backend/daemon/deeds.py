"""Verbs that belong to the daemon itself: notes, acknowledgement, demo load, drills, shutdown.

Owns how these are previewed and what they do; the gateway owns guard, journal and undo.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from backend.actions.executor import ActionState, Effect, Executor, Inverse, Progress, Verbal
from backend.contract.clock import Clock
from backend.contract.control import ActionRequest
from backend.contract.errors import UsageError
from backend.contract.events import EventRecorder
from backend.contract.ledger import RowSink
from backend.contract.words import Risk, Severity, Verb
from backend.daemon.demo_load import DemoLoad
from backend.load.spec import LoadSpec, check_spec

_MAX_NOTE = 500
_DEFAULT_RATE = 2.0
_DEFAULT_TOKENS = 32


class DrillDesk(Protocol):
    """The part of the daemon that runs drills."""

    def preview(self, request: ActionRequest) -> Effect: ...
    async def start(self, request: ActionRequest) -> str:
        """Begin a run in the background; its id."""
        ...

    async def stop(self, request: ActionRequest) -> str: ...


class OwnVerbs:
    """Builds the daemon's executors."""

    def __init__(
        self,
        *,
        sink: RowSink,
        clock: Clock,
        load: DemoLoad,
        drills: DrillDesk,
        public_url: Callable[[], str],
        api_key: str,
        shutdown: Callable[[], None],
        newest_event: Callable[[], int],
    ) -> None:
        self._newest_event = newest_event
        self._events, self._load, self._drills = EventRecorder(sink, clock), load, drills
        self._public_url, self._api_key, self._shutdown = public_url, api_key, shutdown

    def executors(self) -> list[Executor]:
        """One for each verb of this module."""
        return [
            Verbal(Verb.NOTE, self._preview_note, self._note, why_irreversible="a note stays"),
            Verbal(Verb.ACKNOWLEDGE, self._preview_acknowledge, self._acknowledge, why_irreversible="it was seen"),
            Verbal(Verb.LOAD_START, self._preview_load, self._start_load, _undo_load),
            Verbal(Verb.LOAD_STOP, _preview_load_stop, self._stop_load, why_irreversible="a new load is a new choice"),
            Verbal(
                Verb.DRILL_RUN, self._preview_drill, self._run_drill, why_irreversible="a drill undoes its own faults"
            ),
            Verbal(Verb.DRILL_STOP, _preview_drill_stop, self._stop_drill, why_irreversible="run it again instead"),
            Verbal(Verb.SHUTDOWN, _preview_shutdown, self._shut_down, why_irreversible="start it with `trinity up`"),
        ]

    # -- notes and acknowledgement

    def _preview_note(self, state: ActionState, request: ActionRequest) -> Effect:
        text = _text(request, "text")
        if len(text) > _MAX_NOTE:
            raise UsageError(f"The note has {len(text)} characters.", f"At most {_MAX_NOTE} fit.")
        return Effect(summary=f"Note in the events: {text}")

    async def _note(self, request: ActionRequest, progress: Progress) -> str:
        text = _text(request, "text")
        self._events.record("note", Severity.INFO, request.target or "fleet", text, actor=request.actor)
        return f"Noted: {text}"

    def _preview_acknowledge(self, state: ActionState, request: ActionRequest) -> Effect:
        seq, newest = _seq(request), self._newest_event()
        if not 1 <= seq <= newest:
            raise UsageError(f"There is no event #{seq}.", f"The newest is #{newest}; see `trinity events`.")
        return Effect(summary=f"Acknowledge events up to #{seq}")

    async def _acknowledge(self, request: ActionRequest, progress: Progress) -> str:
        seq = _seq(request)
        words = f"{request.actor} has seen events up to #{seq}."
        self._events.record("acknowledged", Severity.INFO, "fleet", words, seq=seq)
        return f"Events up to #{seq} are acknowledged."

    # -- demo load

    def _spec(self, request: ActionRequest) -> LoadSpec:
        rate = _number(request, "rate", _DEFAULT_RATE)
        duration = request.args.get("duration_s")
        spec = LoadSpec(
            url=self._public_url(),
            rate=rate,
            duration_s=float(duration) if isinstance(duration, int | float) else None,
            max_tokens=int(_number(request, "max_tokens", _DEFAULT_TOKENS)),
            prompt_tokens_max=int(_number(request, "prompt_tokens_max", 100)),
            concurrency=256,
            deadline_s=120.0,
            api_key=self._api_key or None,
            seed=int(_number(request, "seed", 0)),
        )
        check_spec(spec)
        return spec

    def _preview_load(self, state: ActionState, request: ActionRequest) -> Effect:
        spec = self._spec(request)
        refusal = "A demo load runs already." if self._load.view().running else ""
        length = f"for {spec.duration_s:g} s" if spec.duration_s else "until it is stopped"
        return Effect(
            summary=f"Send {spec.rate:g} streaming requests/s to {spec.url} {length}", risk=Risk.LOW, refusal=refusal
        )

    async def _start_load(self, request: ActionRequest, progress: Progress) -> str:
        return await self._load.start(self._spec(request), request.actor)

    async def _stop_load(self, request: ActionRequest, progress: Progress) -> str:
        return await self._load.stop()

    # -- drills

    def _preview_drill(self, state: ActionState, request: ActionRequest) -> Effect:
        return self._drills.preview(request)

    async def _run_drill(self, request: ActionRequest, progress: Progress) -> str:
        return await self._drills.start(request)

    async def _stop_drill(self, request: ActionRequest, progress: Progress) -> str:
        return await self._drills.stop(request)

    # -- the end

    async def _shut_down(self, request: ActionRequest, progress: Progress) -> str:
        asyncio.get_running_loop().call_later(0.05, self._shutdown)
        return "The fleet and its daemon are going down."


def _text(request: ActionRequest, name: str) -> str:
    value = request.args.get(name)
    if not isinstance(value, str) or not value.strip():
        raise UsageError(f"{request.verb} needs some {name}.", f'For example: trinity {request.verb} "deploy 42".')
    return " ".join(value.split())


def _number(request: ActionRequest, name: str, default: float) -> float:
    value = request.args.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UsageError(f"{request.verb} needs {name} as a number, not {value!r}.", "Mend the argument.")
    return float(value)


def _seq(request: ActionRequest) -> int:
    return int(_number(request, "seq", 0))


def _preview_load_stop(state: ActionState, request: ActionRequest) -> Effect:
    return Effect(summary="Stop the demo load; requests in flight finish")


def _undo_load(state: ActionState, request: ActionRequest) -> Inverse:
    return Inverse(verb=Verb.LOAD_STOP, words="stop the load")


def _preview_drill_stop(state: ActionState, request: ActionRequest) -> Effect:
    if request.args.get("allow"):
        return Effect(summary="Let drills run again")
    if request.args.get("recover"):
        return Effect(summary="Undo what earlier drills left behind")
    blocks = "; no other may start" if request.args.get("panic") else ""
    return Effect(summary=f"Stop the drill and undo its faults{blocks}")


def _preview_shutdown(state: ActionState, request: ActionRequest) -> Effect:
    names = ", ".join(r.status.name for r in state.replicas) or "no replica"
    return Effect(summary=f"Drain and stop {names}, the edge and the daemon", risk=Risk.HIGH)
