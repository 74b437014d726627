"""Every verb of the console: who it acts on, preview, confirmation by risk, then the gateway. Draws nothing itself.

All changes to the fleet leave through `Verbs.act`, but for the one key that stops drills; both check read-only mode.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from backend.contract.control import ActionPreview, ActionRequest
from backend.contract.errors import TrinityError
from backend.contract.rows import ActionRow, Scalar
from backend.contract.words import ActionOutcome, Risk, SlotState, Verb
from console.state.bulk import together
from console.tui.link import Shown

if TYPE_CHECKING:
    from console.tui.app import TrinityApp

DEMO_RATE: Final = 2.0
DEMO_TOKENS: Final = 64
Then = Callable[[ActionRow], Awaitable[None]]
_RISKS: Final = (Risk.NONE, Risk.LOW, Risk.HIGH)


class Deed(NamedTuple):
    """One request and the fleet it goes to; what is on screen may be another by the time it is answered."""

    shown: Shown
    request: ActionRequest


class Verbs:
    """The console's hands. One verb at a time; the screen stays live while it runs."""

    def __init__(self, app: TrinityApp) -> None:
        self.app = app

    # -- the way every verb takes ----------------------------------------------------------------------------

    def act(
        self,
        verb: Verb,
        targets: Sequence[str],
        args: dict[str, Scalar] | None = None,
        *,
        at_least: Risk = Risk.NONE,
        then: Then | None = None,
        places: Sequence[Shown] = (),
    ) -> None:
        """Preview, confirm as the risk asks (at least `at_least`), perform each by itself; `then` after each.

        `places` are the fleets of the targets, one each; without them all are of the fleet on screen."""
        if self._refused_by_reading(verb):
            return
        deeds = [
            Deed(shown, ActionRequest(verb=verb, target=target, args=args or {}, actor=self.app.actor))
            for shown, target in zip(places or [self.app.shown] * len(targets), targets, strict=True)
        ]
        if deeds and all(deed.shown.state.limit(verb) for deed in deeds):
            self.barred(verb, deeds[0].shown)
        elif deeds:
            self._start(self._act(deeds, at_least, then))

    def barred(self, verb: Verb, shown: Shown) -> bool:
        """Whether nobody may do that there: then it is said why, before anything is asked."""
        why = shown.state.limit(verb)
        if why and not self._refused_by_reading(verb):
            self.app.say(f"⊘ {verb}: {why}", "warn")
        return bool(why)

    def may(self, verb: Verb, shown: Shown) -> bool:
        """Whether that may be begun there; where not, it has been said why."""
        return not self.barred(verb, shown) and not self._refused_by_reading(verb)

    def _refused_by_reading(self, verb: Verb) -> bool:
        """Whether this console may only look, or looks at the past."""
        if self._refused_by_time():
            return True
        if self.app.read_only:
            self.app.say(f"Read-only: {verb} is not available. Start without --read-only to act.", "warn")
        return self.app.read_only

    def _refused_by_time(self) -> bool:
        """Whether it is the past that is on screen."""
        if self.app.state.past:
            self.app.say(f"⊘ {self.app.part('travel').refusal()}", "warn")
        return bool(self.app.state.past)

    def _start(self, work: Awaitable[None]) -> None:
        async def guarded() -> None:
            try:
                await work
            except (TrinityError, OSError) as error:
                self.app.say(f"✗ {error}", "error")

        self.app.run_worker(guarded(), exit_on_error=False, group="verbs")

    async def _act(self, deeds: list[Deed], at_least: Risk, then: Then | None) -> None:
        answers = await asyncio.gather(*(deed.shown.source.preview(deed.request) for deed in deeds))
        previews = [
            msgspec.structs.replace(preview, summary=self._fleet(deed.shown) + preview.summary)
            for deed, preview in zip(deeds, answers, strict=True)
        ]
        allowed = [(deed, p) for deed, p in zip(deeds, previews, strict=True) if p.allowed]
        if not allowed:
            self.app.say(f"⊘ {previews[0].refusal or previews[0].summary}", "warn")
            return
        effects, last = self._together([deed for deed, _ in allowed])
        risk = max([at_least, *(preview.risk for _, preview in allowed)], key=_RISKS.index)
        if len(deeds) > 1 and risk == Risk.NONE:
            risk = Risk.LOW
        if last:
            risk = Risk.HIGH
        answer = True if risk == Risk.NONE else await self._confirmed(previews, risk, effects)
        if not answer:
            if answer is not None:
                self.app.say("Cancelled; nothing was done.", "muted")
            return
        for deed, preview in allowed:
            row = await self._perform(deed, preview)
            if row is not None and then is not None:
                await then(row)

    def _fleet(self, shown: Shown) -> str:
        """`staging · ` where there are several fleets: each sentence says of which it is."""
        if len(self.app.links) == 1:
            return ""
        return next((f"{link.name} · " for link in self.app.links if link is shown), "")

    def _together(self, deeds: list[Deed]) -> tuple[list[str], bool]:
        """What several deeds do together, a sentence each, and whether a workload is left with nothing that serves."""
        effects: list[str] = []
        last = False
        if len(deeds) > 1:
            for shown in dict.fromkeys(deed.shown for deed in deeds):
                targets = [deed.request.target for deed in deeds if deed.shown is shown]
                found = together(deeds[0].request.verb, targets, shown.state.replicas, shown.state.workloads)
                effects += [self._fleet(shown) + words for words in found.effects]
                last = last or found.last
        return effects, last

    async def _confirmed(self, previews: list[ActionPreview], risk: Risk, effects: list[str]) -> bool | None:
        """None where X was the answer, which says its own words."""
        from console.tui.dialogs import ConfirmDialog

        allowed = [preview for preview in previews if preview.allowed]
        typed = ""
        if risk == Risk.HIGH:
            typed = (allowed[0].target or str(allowed[0].verb)) if len(allowed) == 1 else str(len(allowed))
        return await self.app.push_screen_wait(ConfirmDialog(previews, typed, effects))

    async def _perform(self, deed: Deed, preview: ActionPreview) -> ActionRow | None:
        request = deed.request
        words = f"{request.verb} {request.target}".rstrip()
        self.app.say(f"◔ {words} …", "accent")
        try:
            row = await deed.shown.source.perform(request)
        except (TrinityError, OSError) as error:
            self.app.say(f"✗ {words}: {error}", "error")
            return None
        deed.shown.state.add_actions([row])
        self.app.say(*_outcome(words, row, preview))
        self.app.refresh_panels()
        return row

    # -- verbs on replicas -----------------------------------------------------------------------------------

    def restart(self) -> None:
        self._on_replicas(Verb.RESTART)

    def kill(self) -> None:
        self._on_replicas(Verb.KILL, {"signal": 9})

    def drain(self) -> None:
        """Drain, or undrain where every chosen replica is draining already."""
        names, places = self.app.chosen_replicas(), self.app.view.places()
        states = [shown.state for shown in places] or [self.app.state] * len(names)
        found = (state.replica(name) for state, name in zip(states, names, strict=True))
        views = [view for view in found if view is not None]
        draining = bool(views) and all(view.edge is not None and view.edge.state == SlotState.DRAIN for view in views)
        self._on_replicas(Verb.UNDRAIN if draining else Verb.DRAIN)

    def evict(self) -> None:
        self._on_replicas(Verb.EVICT)

    def pause(self) -> None:
        """Freeze, or let go on where every chosen replica is frozen already."""
        names, places = self.app.chosen_replicas(), self.app.view.places()
        states = [shown.state for shown in places] or [self.app.state] * len(names)
        views = [view for state, name in zip(states, names, strict=True) if (view := state.replica(name)) is not None]
        frozen = bool(views) and all(view.status.reason.casefold().startswith("paused") for view in views)
        self._on_replicas(Verb.UNPAUSE if frozen else Verb.PAUSE)

    def _on_replicas(self, verb: Verb, args: dict[str, Scalar] | None = None) -> None:
        names = self.app.chosen_replicas()
        if not names:
            if not self.barred(verb, self.app.shown):
                self.app.say(f"Choose a replica first, then {verb} it.", "warn")
            return
        self.act(verb, names, args, places=self.app.view.places())

    # -- verbs on the workload -------------------------------------------------------------------------------

    def rollout(self) -> None:
        self._on_workload(lambda shown, name: self.act(Verb.ROLLOUT, [name], at_least=Risk.LOW, places=[shown]))

    def rollback(self) -> None:
        self._on_workload(lambda shown, name: self.act(Verb.ROLLBACK, [name], at_least=Risk.LOW, places=[shown]))

    def more(self) -> None:
        self._on_workload(lambda shown, name: self._scale_to(shown, name, _wanted(shown, name) + 1))

    def fewer(self) -> None:
        self._on_workload(lambda shown, name: self._scale_to(shown, name, max(0, _wanted(shown, name) - 1)))

    def scale(self) -> None:
        self._on_workload(
            lambda shown, name: None if self.barred(Verb.SCALE, shown) else self._start(self._ask_scale(shown, name))
        )

    def autoscale(self) -> None:
        self._on_workload(self._switch_autoscale)

    def maintenance(self) -> None:
        self._on_workload(self._switch_maintenance)

    def _on_workload(self, then: Callable[[Shown, str], None]) -> None:
        name = self.app.chosen_workload()
        if name is None:
            self.app.say("Choose a workload or one of its replicas first.", "warn")
        else:
            then(self.app.view.place() or self.app.shown, name)

    def _scale_to(self, shown: Shown, workload: str, replicas: int) -> None:
        self.act(Verb.SCALE, [workload], {"replicas": replicas}, places=[shown])

    async def _ask_scale(self, shown: Shown, workload: str) -> None:
        now = str(_wanted(shown, workload))
        answer = await self._ask(f"Scale {workload} to how many replicas?", now, _whole_number)
        if answer is not None:
            self._scale_to(shown, workload, int(answer))

    def _switch_autoscale(self, shown: Shown, workload: str) -> None:
        if self.barred(Verb.AUTOSCALE, shown):
            return
        view = shown.state.scaling_of(workload)
        if view is None:
            self.app.say(f"{workload} has no scaling policy.", "warn")
            return
        self.act(Verb.AUTOSCALE, [workload], {"on": not view.enabled}, at_least=Risk.LOW, places=[shown])

    def _switch_maintenance(self, shown: Shown, workload: str) -> None:
        view = shown.state.workload(workload)
        on = view is None or not view.maintenance
        self.act(Verb.MAINTENANCE, [workload], {"on": on}, at_least=Risk.LOW, places=[shown])

    # -- verbs on the fleet ----------------------------------------------------------------------------------

    def load(self) -> None:
        snapshot = self.app.state.snapshot
        if snapshot is not None and snapshot.load.running:
            self.act(Verb.LOAD_STOP, [""])
        elif not self.barred(Verb.LOAD_START, self.app.shown):
            self._start(self._ask_load())

    async def _ask_load(self) -> None:
        if self.app.read_only:
            self.act(Verb.LOAD_START, [""])
            return
        answer = await self._ask("Demo load: how many requests a second?", f"{DEMO_RATE:g}", _positive)
        if answer is not None:
            args: dict[str, Scalar] = {"rate": float(answer), "duration_s": None, "max_tokens": DEMO_TOKENS}
            self.act(Verb.LOAD_START, [""], args)

    def note(self) -> None:
        self._start(self._ask_note())

    async def _ask_note(self) -> None:
        answer = await self._ask(
            "Note for the events, e.g. deploy 42", "", lambda text: "" if text else "Write a word."
        )
        if answer is not None:
            self.act(Verb.NOTE, [""], {"text": answer})

    def acknowledge(self) -> None:
        unseen = self.app.state.unacknowledged()
        if not unseen:
            self.app.say("There is nothing to acknowledge.", "muted")
            return
        self.act(Verb.ACKNOWLEDGE, [""], {"seq": unseen[-1].seq})

    def undo(self) -> None:
        row = self.app.state.last_undoable()
        if row is None:
            self.app.say("There is no action left that can be undone.", "muted")
            return
        self.act(Verb.UNDO, [row.target], {"id": row.id}, at_least=Risk.LOW)

    # -- drills ----------------------------------------------------------------------------------------------

    def run_drill(self, name: str) -> None:
        """Run it after a look at its plan; then its timeline is shown."""
        self.act(Verb.DRILL_RUN, [""], {"name": name}, at_least=Risk.LOW, then=self._drill_began)

    async def _drill_began(self, row: ActionRow) -> None:
        if row.outcome in (ActionOutcome.OK, ActionOutcome.RUNNING):
            await self.app.watch_drill(row.result)

    def panic(self) -> None:
        """`X`: stop every drill at once. What makes things safe asks no question, and acts now from any instant."""
        if self.app.replay and self._refused_by_time():
            return
        if self.app.read_only:
            self.app.say("Read-only, so X stops nothing here. `trinity drill panic` stops every drill.", "warn")
            return
        request = ActionRequest(
            verb=Verb.DRILL_STOP, args={"panic": True}, actor=self.app.actor, reason="X in the console"
        )
        self._start(self._panic(request))

    async def _panic(self, request: ActionRequest) -> None:
        self.app.say("◔ X: stopping every drill and undoing its faults …", "warn b")
        try:
            row = await self.app.link.source.perform(request)
        except (TrinityError, OSError) as error:
            self.app.say(f"✗ X did not get through: {error} Try `trinity drill panic`.", "error b")
            return
        self.app.link.state.add_actions([row])
        said = f"⊘ X: {row.result} P lets drills start again."
        self.app.say(said if row.outcome == ActionOutcome.OK else f"✗ X: {row.result}", "warn b")
        self.app.refresh_panels()

    def allow(self) -> None:
        """`P`: drills may start again."""
        self.act(Verb.DRILL_STOP, [""], {"allow": True}, at_least=Risk.LOW)

    async def _ask(self, question: str, initial: str, check: Callable[[str], str]) -> str | None:
        if self._refused_by_time():
            return None
        if self.app.read_only:
            self.app.say("Read-only: start without --read-only to act.", "warn")
            return None
        from console.tui.dialogs import AskDialog

        return await self.app.push_screen_wait(AskDialog(question, initial, check))


def _wanted(shown: Shown, workload: str) -> int:
    view = shown.state.workload(workload)
    return view.wanted if view is not None else 0


def _outcome(words: str, row: ActionRow, preview: ActionPreview) -> tuple[str, str]:
    """A sentence and its style."""
    tail = f": {row.result}" if row.result else ""
    match row.outcome:
        case ActionOutcome.OK:
            undo = "   u undoes it" if row.undoable and preview.undo else ""
            return f"✓ {words}{tail}{undo}", "ok"
        case ActionOutcome.RUNNING:
            return f"◔ {words} is under way{tail}", "accent"
        case ActionOutcome.REFUSED:
            return f"⊘ {words}{tail}", "warn"
        case _:
            return f"✗ {words}{tail}", "error"


def _whole_number(text: str) -> str:
    return "" if text.isdecimal() and int(text) <= 1000 else "A whole number from 0 to 1000."


def _positive(text: str) -> str:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    return "" if 0 < value <= 100_000 else "A number above 0, e.g. 2 or 0.5."
