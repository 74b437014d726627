"""Logs of the selection, or of every replica together, followed live."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from console.state.logs import LogRing
from console.tui.log_follow import LogFollower
from console.tui.panels import LogPane
from console.tui.views.base import View


class LogsView(View):
    """`/` keeps the lines that contain a text; `0` shows all replicas, `l` elsewhere brings a selection here."""

    DEFAULT_CSS = "LogsView { padding: 0 1; }"
    label = "Logs"
    keys = (("w", "wrap"), ("0", "all"), ("end", "follow"))
    BINDINGS: ClassVar[list[BindingType]] = [Binding("0", "everyone", "all replicas", id="log.all", show=False)]

    def __init__(self) -> None:
        super().__init__(id="view-logs")
        self.ring = LogRing()
        self.chosen: list[str] | None = None
        self._follower: LogFollower | None = None

    def compose(self) -> ComposeResult:
        yield LogPane(self.ring, id="log-explorer")

    def on_mount(self) -> None:
        self._follower = LogFollower(self.trinity, self.pane, window=2000)

    @property
    def pane(self) -> LogPane:
        return self.query_one(LogPane)

    def show(self, replicas: list[str] | None) -> None:
        """Follow these replicas; None means all."""
        self.chosen = replicas
        if self._follower is not None:
            self._follower.follow(replicas)
        self.pane.sync()

    def activate(self) -> None:
        super().activate()
        self.pane.focus()
        self.show(self.chosen)

    def forget(self) -> None:
        if self._follower is not None:
            self._follower.stop()
            if self.trinity.view is self:
                self.show(self.chosen)

    def deactivate(self) -> None:
        if self._follower is not None:
            self._follower.stop()

    def set_filter(self, text: str) -> None:
        self.ring.set_find(text)
        self.pane.back = 0
        self.pane.sync()

    def filter_text(self) -> str:
        return self.ring.find

    def action_everyone(self) -> None:
        self.show(None)

    def subject(self) -> str:
        names = self.chosen or []
        return f"{names[0]} +{len(names) - 1}" if len(names) > 1 else "".join(names)

    def replicas(self) -> list[str]:
        return list(self.chosen or [])

    def workload(self) -> str | None:
        for name in self.chosen or []:
            view = self.trinity.state.replica(name)
            if view is not None:
                return view.status.workload
        return None
