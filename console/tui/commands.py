"""What each command of the command line does. Verbs leave through console.tui.verbs: preview, confirmation, gateway."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from backend.contract.rows import Scalar
from backend.contract.words import Risk, Verb
from console.state.command_table import find
from console.tui.command_line import view_names
from console.tui.verbs import DEMO_TOKENS

if TYPE_CHECKING:
    from console.tui.app import TrinityApp


class Commands:
    """One method a command; the values have been checked by the grammar."""

    def __init__(self, app: TrinityApp) -> None:
        self.app = app

    # -- getting around --------------------------------------------------------------------------------------

    async def go(self, view: str) -> None:
        await self.app.action_view(view_names()[view])

    async def logs(self, replicas: Sequence[str]) -> None:
        await self.app.show_logs(list(replicas) or self.app.chosen_replicas())

    async def workloads(self) -> None:
        from console.tui.views.fleet import FleetView

        await self.app.action_view("fleet")
        if isinstance(self.app.view, FleetView):
            self.app.call_after_refresh(self.app.view.show_workloads)

    async def describe(self, replica: str | None) -> None:
        await self._detail(replica, raw=False)

    async def raw(self, replica: str | None) -> None:
        await self._detail(replica, raw=True)

    async def _detail(self, replica: str | None, *, raw: bool) -> None:
        if replica is None:
            await self.app.run_action("raw" if raw else "describe")
        else:
            await self.app.show_replica(replica, raw=raw)

    async def find(self, replica: str) -> None:
        await self.app.action_go_to(replica)

    def filter(self, words: str | None) -> None:
        self.app.view.set_filter(words or "")

    def sort(self, column: str, order: str | None) -> None:
        table = self.app.view.table()
        if table is None:
            self.app.say("There is no table in this view to sort.", "warn")
            return
        problem = table.sort_by(column, descending=order == "desc")
        if problem:
            self.app.say(problem, "warn")

    def theme(self, name: str | None) -> None:
        if name is None:
            self.app.theming.next()
        else:
            self.app.theming.use(name)

    def mute(self) -> None:
        self.app.action_mute()

    def redraw(self) -> None:
        self.app.action_redraw()

    async def help(self, topic: str | None) -> None:
        from console.tui.views.help import HelpView

        await self.app.action_view("help")
        if isinstance(self.app.view, HelpView):
            self.app.view.explain(topic or "")

    def quit(self) -> None:
        self.app.action_leave()

    async def watch(self) -> None:
        await self.app.watch_drill("")

    # -- verbs -----------------------------------------------------------------------------------------------

    def _act(self, name: str, verb: Verb, targets: Sequence[str], args: dict[str, Scalar] | None = None) -> None:
        command = find(name)
        self.app.verbs.act(verb, targets, args, at_least=command.risk if command is not None else Risk.LOW)

    def _on_replicas(self, name: str, verb: Verb, replicas: Sequence[str], args: dict[str, Scalar] | None) -> None:
        targets = list(dict.fromkeys(replicas)) or self.app.chosen_replicas()
        if targets:
            self._act(name, verb, targets, args)
        else:
            self.app.say(f"Name a replica: {name} REPLICA.", "warn")

    def restart(self, replicas: Sequence[str]) -> None:
        self._on_replicas("restart", Verb.RESTART, replicas, None)

    def kill(self, replicas: Sequence[str]) -> None:
        self._on_replicas("kill", Verb.KILL, replicas, {"signal": 9})

    def drain(self, replicas: Sequence[str]) -> None:
        self._on_replicas("drain", Verb.DRAIN, replicas, None)

    def undrain(self, replicas: Sequence[str]) -> None:
        self._on_replicas("undrain", Verb.UNDRAIN, replicas, None)

    def evict(self, replicas: Sequence[str]) -> None:
        self._on_replicas("evict", Verb.EVICT, replicas, None)

    def pause(self, replicas: Sequence[str]) -> None:
        self._on_replicas("pause", Verb.PAUSE, replicas, None)

    def unpause(self, replicas: Sequence[str]) -> None:
        self._on_replicas("unpause", Verb.UNPAUSE, replicas, None)

    def cordon(self, node: str) -> None:
        self._act("cordon", Verb.CORDON, [node])

    def uncordon(self, node: str) -> None:
        self._act("uncordon", Verb.UNCORDON, [node])

    def drain_node(self, node: str) -> None:
        self._act("node drain", Verb.NODE_DRAIN, [node])

    def rollback(self, workload: str | None) -> None:
        target = workload or self.app.chosen_workload()
        if target is None:
            self.app.say("Name a workload: rollback WORKLOAD.", "warn")
        else:
            self._act("rollback", Verb.ROLLBACK, [target])

    def expose(self, target: str, port: int | None, here: int | None) -> None:
        self.app.part("expose").of(target, port, here)

    def unforward(self, forward: str) -> None:
        self._act("unforward", Verb.UNFORWARD, [forward])

    def scale(self, workload: str, replicas: int) -> None:
        self._act("scale", Verb.SCALE, [workload], {"replicas": replicas})

    def rollout(self, workload: str | None) -> None:
        target = workload or self.app.chosen_workload()
        if target is None:
            self.app.say("Name a workload: rollout WORKLOAD.", "warn")
        else:
            self._act("rollout", Verb.ROLLOUT, [target])

    def autoscale(self, workload: str, switch: str) -> None:
        self._act("autoscale", Verb.AUTOSCALE, [workload], {"on": switch == "on"})

    def maintenance(self, workload: str, switch: str) -> None:
        self._act("maintenance", Verb.MAINTENANCE, [workload], {"on": switch == "on"})

    def load(self, rate: float | None) -> None:
        if rate:
            self._act("load", Verb.LOAD_START, [""], {"rate": rate, "duration_s": None, "max_tokens": DEMO_TOKENS})
        else:
            self._act("load", Verb.LOAD_STOP, [""])

    def note(self, words: str) -> None:
        self._act("note", Verb.NOTE, [""], {"text": words})
