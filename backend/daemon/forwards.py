"""The forwards of a fleet: several at once, kept over a restart of the daemon, and the verbs that make and end them.

Owns which there are and the file that keeps them. How one works is `forward`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from backend.actions.executor import ActionState, Effect, Executor, Inverse, Progress, Verbal, unknown
from backend.config.atomic_file import write_atomically
from backend.contract.control import ActionRequest
from backend.contract.errors import TrinityError, UsageError
from backend.contract.fleet import Fleet
from backend.contract.needs import refusal_of
from backend.contract.platform import ForwardView
from backend.contract.words import Risk, Severity, Verb
from backend.daemon.aim import aim_at
from backend.daemon.forward import Forward, ForwardOrder, Specs, is_loopback

MOST: Final = 100
"""Forwards of one fleet at a time."""
Tell = Callable[[str, Severity, str, str], None]
"""An event: kind, severity, subject, sentence."""


class Forwards:
    """Call `open` once the fleet was adopted; end with `close`, which keeps them for the next daemon. `changed` hears
    of what a screen should show at once."""

    def __init__(self, fleet: Fleet, specs: Specs, path: Path, tell: Tell, changed: Callable[[], None]) -> None:
        self._fleet, self._specs, self._path, self._tell, self._shown_changed = fleet, specs, path, tell, changed
        self._all: dict[str, Forward] = {}
        self._saving = asyncio.Lock()
        self._ignore: Callable[[], None] | None = None

    # -- life

    async def open(self) -> None:
        """Those of the former daemon listen again; one that cannot says so and goes on trying. Nothing is raised."""
        self._ignore = self._fleet.on_change(self._changed)
        for order in await asyncio.to_thread(self._read):
            forward = self._all[order.id] = self._make(order)
            await forward.open(patient=True)

    async def close(self) -> None:
        """All of them end; their file stays."""
        if self._ignore is not None:
            self._ignore()
            self._ignore = None
        forwards, self._all = list(self._all.values()), {}
        await asyncio.gather(*(forward.close() for forward in forwards))

    def _make(self, order: ForwardOrder) -> Forward:
        def told(words: str, works: bool) -> None:
            kind, severity = ("mended", Severity.INFO) if works else ("broken", Severity.WARNING)
            self._tell(f"forward.{kind}", severity, order.target, words)
            self._shown_changed()

        return Forward(order, self._fleet, self._specs, told)

    def _changed(self, status: object) -> None:
        for forward in self._all.values():
            forward.look(status)  # type: ignore[arg-type]  # what listeners are told

    def _read(self) -> list[ForwardOrder]:
        """What is kept; nothing where there is no file, or none that can be understood."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=list[ForwardOrder])
        except FileNotFoundError:
            return []
        except (OSError, msgspec.MsgspecError) as error:
            words = f"{self._path.name} cannot be understood ({error}); its forwards are not opened again."
            self._tell("forward.unreadable", Severity.ERROR, self._fleet.name, words)
            return []

    async def _save(self) -> None:
        """Raises TrinityError, with the old file intact, where it cannot be written."""
        async with self._saving:
            raw = msgspec.json.encode([forward.order for forward in self._all.values()])
            try:
                await asyncio.to_thread(write_atomically, self._path, raw)
            except OSError as error:
                raise TrinityError(
                    f"The forwards could not be written to {self._path}: {error.strerror}.",
                    "Free some space or mend the permissions, then try again.",
                ) from error

    # -- which there are

    def views(self) -> tuple[ForwardView, ...]:
        """As they were made."""
        return tuple(forward.view() for forward in self._all.values())

    async def add(self, order: ForwardOrder) -> ForwardView:
        """Listen and lead on. Raises UsageError for a target that is none, PortTaken for a port that is taken."""
        if len(self._all) >= MOST:
            raise UsageError(f"{MOST} forwards are open already.", "End some: `trinity expose --stop ID`.")
        if order.id in self._all:
            raise UsageError(f"There is a forward {order.id} already.", "Leave the id away.")
        forward = self._make(order)
        await forward.open()
        self._all[order.id] = forward
        try:
            await self._save()
        except TrinityError:
            del self._all[order.id]
            await forward.close()
            raise
        self._shown_changed()
        return forward.view()

    async def remove(self, wanted: str, port: int | None = None) -> ForwardView:
        """End the one of that id, else the newest that leads to that target (and port). Raises UsageError."""
        forward = self._find(wanted, port)
        del self._all[forward.order.id]
        view = forward.view()
        await forward.close()
        self._shown_changed()
        with contextlib.suppress(TrinityError):  # at worst it listens again after a restart
            await self._save()
        return view

    def _find(self, wanted: str, port: int | None = None) -> Forward:
        if wanted in self._all:
            return self._all[wanted]
        for forward in reversed(self._all.values()):
            if forward.order.target == wanted and port in (None, forward.order.port):
                return forward
        raise unknown("forward", wanted, list(self._all))

    # -- verbs

    def executors(self) -> list[Executor]:
        """`forward` and `unforward` for the gateway."""
        return [
            Verbal(Verb.FORWARD, self._preview, self._run, _undo),
            Verbal(
                Verb.UNFORWARD, self._preview_end, self._end, why_irreversible="a new forward is a new choice of ports"
            ),
        ]

    def _preview(self, state: ActionState, request: ActionRequest) -> Effect:
        order = order_of(request)
        aim = aim_at(self._fleet, self._specs(), order.target, order.port)
        at = (
            str(order.local_port)
            if order.local_port
            else f"port {aim.port} or a free one"
            if aim.port
            else "a free port"
        )
        what = f"{order.target}:{aim.port}" if aim.port else order.target
        refusal = refusal_of(self._fleet, Verb.FORWARD)
        summary = f"{order.bind}, {at}, leads to {what} until it is ended"
        if is_loopback(order.bind):
            return Effect(summary=summary, refusal=refusal)
        warning = "whoever reaches this machine over its network can use it: nobody is asked for a password"
        return Effect(summary=summary, effects=(warning,), risk=Risk.LOW, refusal=refusal)

    async def _run(self, request: ActionRequest, progress: Progress) -> str:
        view = await self.add(order_of(request))
        return (
            f"Forward {view.id}: {view.urls[0].removeprefix('http://')} leads to {view.target}:{view.port or 'main'}."
        )

    def _preview_end(self, state: ActionState, request: ActionRequest) -> Effect:
        view = self._find(request.target, _whole(request, "port")).view()
        cut = f"; {view.connections} connections went through it" if view.connections else ""
        return Effect(summary=f"End the forward {view.id} from {view.bind}:{view.local_port} to {view.target}{cut}")

    async def _end(self, request: ActionRequest, progress: Progress) -> str:
        view = await self.remove(request.target, _whole(request, "port"))
        return f"The forward {view.id} to {view.target} has ended: {view.bytes_in} bytes in, {view.bytes_out} out."


def order_of(request: ActionRequest) -> ForwardOrder:
    """What a request asks for. Raises UsageError."""
    port, local = _whole(request, "port") or 0, _whole(request, "local_port") or 0
    for name, value in (("port", port), ("local_port", local)):
        if not 0 <= value <= 65535:
            raise UsageError(f"{name} is {value}.", "Ports are 1 to 65535.")
    bind, identifier = str(request.args.get("bind") or "127.0.0.1"), str(request.args.get("id") or secrets.token_hex(3))
    is_loopback(bind)
    return ForwardOrder(id=identifier, target=request.target, port=port, bind=bind, local_port=local)


def _whole(request: ActionRequest, name: str) -> int | None:
    value = request.args.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise UsageError(f"{request.verb} needs {name} as a whole number, not {value!r}.", "Mend the argument.")
    return value


def _undo(state: ActionState, request: ActionRequest) -> Inverse:
    return Inverse(verb=Verb.UNFORWARD, args={"port": _whole(request, "port") or 0}, words="end the forward")
