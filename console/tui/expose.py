"""`p`: which port of what is chosen shall be reached from here. Asks, then acts through console.tui.verbs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.screen import ModalScreen

from backend.contract.words import Risk, Verb
from console.render.expose_form import expose_lines
from console.state.expose_form import EVERYWHERE, ExposeForm, Exposure
from console.tui.dialogs import Words
from console.tui.link import Shown
from console.tui.polling import later

if TYPE_CHECKING:
    from console.tui.app import TrinityApp


class Expose:
    """The part behind `p` and `:expose`."""

    def __init__(self, app: TrinityApp) -> None:
        self.app = app

    def ask(self) -> None:
        """For what is chosen: a port's row, a workload or a replica."""
        app = self.app
        shown = (app.view.places() or [app.view.place() or app.shown])[0]
        chosen = app.view.exposes()
        if chosen is None:
            names = app.chosen_replicas()
            chosen = (names[0], None) if names else None
        if not app.verbs.may(Verb.FORWARD, shown):
            return
        if chosen is None:
            app.say("Choose a replica, a workload or a port first.", "warn")
            return
        target, port = chosen
        known = ports_of(shown, target)
        ports = known if port is None else [port, *known]
        app.run_worker(later(self._ask, shown, target, ports), exit_on_error=False, group="expose", exclusive=True)

    def of(self, target: str, port: int | None, here: int | None) -> None:
        """`:expose`: at once where the port is named."""
        shown = self.app.shown
        if port is not None:
            self.do(shown, Exposure(target=target, port=port, local_port=here))
        elif self.app.verbs.may(Verb.FORWARD, shown):
            form = ports_of(shown, target)
            self.app.run_worker(later(self._ask, shown, target, form), exit_on_error=False, group="expose")

    async def _ask(self, shown: Shown, target: str, ports: Sequence[int]) -> None:
        answer = await self.app.push_screen_wait(ExposeDialog(ExposeForm(target, ports)))
        if answer is not None:
            self.do(shown, answer)

    def do(self, shown: Shown, wanted: Exposure) -> None:
        """Preview and forward; one that everybody can reach is asked about once more."""
        self.app.verbs.act(
            Verb.FORWARD,
            [wanted.target],
            {"port": wanted.port, "local_port": wanted.local_port, "bind": wanted.bind},
            at_least=Risk.LOW if wanted.bind == EVERYWHERE else Risk.NONE,
            places=[shown],
        )


def ports_of(shown: Shown, target: str) -> list[int]:
    """The ports that a replica or a workload is known to have, its own first."""
    replica = shown.state.replica(target)
    workload = replica.status.workload if replica is not None else target
    own = replica.status.port if replica is not None else None
    listed = [port.container_port for port in shown.state.ports if port.workload == workload]
    return list(dict.fromkeys(port for port in (own, *listed) if port is not None))


class ExposeDialog(ModalScreen[Exposure | None]):
    """Three fields. Answers with what was asked for, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,ctrl+c", "cancel", "cancel", show=False)]

    def __init__(self, form: ExposeForm) -> None:
        super().__init__(classes="dialog")
        self.form = form

    def compose(self) -> ComposeResult:
        with Container(classes="box"):
            yield Words(lambda width: expose_lines(self.form, width), id="expose-lines")

    def on_key(self, event: events.Key) -> None:
        if event.key == "enter":
            answer = self.form.answer()
            if answer is not None:
                self.dismiss(answer)
        elif not self.form.press(event.key):
            return
        event.stop()
        event.prevent_default()
        if self.is_current:
            self.query_one(Words).refresh(layout=True)
            self.query_one(Words).sync()

    def action_cancel(self) -> None:
        self.dismiss(None)

    def on_click(self, event: events.Click) -> None:
        if event.widget is self:
            self.dismiss(None)
