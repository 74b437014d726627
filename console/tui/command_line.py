"""The line that `:` opens over the strip, with what may follow listed above it. Acts through console.tui.commands.

Owns keys and drawing; grammar, cycling and history live in console.state.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final, cast

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.suggester import Suggester
from textual.widget import Widget
from textual.widgets import Input, Static

from backend.contract.errors import TrinityError
from backend.contract.platform import Neighbours
from console.render.command_line import LISTED, option_lines
from console.render.spans import Line
from console.state.command_line import CommandLine, History
from console.state.commands import Completion, Parsed, parse
from console.tui.canvas import Canvas
from console.tui.polling import later
from console.tui.strip import UNNUMBERED, VIEWS

if TYPE_CHECKING:
    from console.tui.app import TrinityApp

PATHS: Final = 200
ROOM_KEPT: Final = 4
"""Lines of the view that the list never covers."""


class CommandMode:
    """The part behind `:`: opens and closes the line, knows the names there are, carries lines out."""

    def __init__(self, app: TrinityApp) -> None:
        self.app = app
        self.history = History.read(app.history_path) if app.history_path is not None else History()
        self._drills: list[str] = []
        self._neighbours = Neighbours()
        self._before: Widget | None = None
        """What had the keys when the line was opened."""

    async def open(self, text: str = "") -> None:
        """`:`: the line, with `text` in it."""
        if not self.app.screen.query(CommandBar):
            self._before = self.app.screen.focused or self.app.view
            bar = CommandBar(self, text)
            await self.app.screen.mount(bar)
            self.app.screen.set_focus(bar.query_one(CommandInput))
            self.app.run_worker(later(self._ask_drills), exit_on_error=False, group="drill-names", exclusive=True)
            if self.app.state.driver == "kubernetes":
                self.app.run_worker(
                    later(self._ask_neighbours), exit_on_error=False, group="neighbours", exclusive=True
                )

    def close(self) -> None:
        """Give the keys back to what had them. Losing the keys closes it again: nothing is left to do then."""
        before, self._before = self._before, None
        if before is not None:
            self.app.screen_stack[0].query(CommandBar).remove()
            self.app.view.activate()
            if before.is_attached:
                self.app.screen_stack[0].set_focus(before)

    async def enter(self, text: str) -> str:
        """Carry a line out. Returns what is wrong with it, and does nothing then."""
        if not text.strip():
            self.close()
            return ""
        try:
            parsed = parse(text, self.names)
        except TrinityError as error:
            return str(error)
        self.close()
        self._remember(text)
        await self.perform(parsed)
        return ""

    async def perform(self, parsed: Parsed) -> None:
        part, method = parsed.command.does.split(".")
        await self.app.action_on(part, method, *parsed.values)

    def _remember(self, text: str) -> None:
        try:
            self.history.add(text)
        except OSError as error:
            self.history.path = None
            self.app.say(f"The history of commands cannot be kept: {error}", "warn")

    async def _ask_drills(self) -> None:
        """Names for `:drill run`; until they are there nothing is offered."""
        self._drills = [info.name for info in await self.app.source.drills(plans=False)]

    async def _ask_neighbours(self) -> None:
        """Names for `:ns` and `:ctx`."""
        self._neighbours = Neighbours()
        self._neighbours = await self.app.part("fleets").ask_neighbours()

    def names(self, kind: str) -> Sequence[str]:
        """What there is now of a kind."""
        state = self.app.state
        match kind:
            case "replica":
                return [view.status.name for view in state.replicas]
            case "workload":
                return [view.name for view in state.workloads]
            case "node":
                return [node.name for node in state.nodes]
            case "forward":
                return [one.id for one in state.forwards]
            case "target":
                return [*(view.name for view in state.workloads), *(view.status.name for view in state.replicas)]
            case "view":
                return list(view_names())
            case "theme":
                return self.app.theming.shelf.names()
            case "fleet":
                return [link.name for link in self.app.links]
            case "drill":
                return self._drills
            case "namespace":
                return self._neighbours.parts
            case "context":
                return self._neighbours.contexts
            case "address":
                return ["docker", *(f"k8s:{name}{'/' * ('/' in name)}" for name in self._neighbours.contexts)]
            case "column":
                table = self.app.view.table()
                return [column.key for column in table.model.every] if table is not None else []
            case "filter":
                table = self.app.view.table()
                return [f"{column.key}:" for column in table.model.every] if table is not None else []
        return []


def view_names() -> dict[str, str]:
    """What people call the views, to what the code calls them."""
    return {label.casefold(): name for _, name, label in VIEWS} | {name: name for name in UNNUMBERED}


def paths(typed: str) -> list[str]:
    """Files and folders that begin so; a folder ends in a slash."""
    before, slash, begin = typed.rpartition("/")
    try:
        folder = Path(before + slash or ".").expanduser()
        found = sorted(
            f"{before}{slash}{entry.name}{'/' if entry.is_dir() else ''}"
            for entry in folder.iterdir()
            if entry.name.startswith(begin) and (begin or not entry.name.startswith("."))
        )
    except (OSError, RuntimeError):
        return []
    return found[:PATHS]


class Ghost(Suggester):
    """The rest of the line that is probably meant, faint behind the cursor; right takes it."""

    def __init__(self, line: CommandLine) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self.line = line

    async def get_suggestion(self, value: str) -> str | None:
        return self.line.ghost(value)


class Options(Canvas):
    """What may follow, above the line. No taller than what it says."""

    DEFAULT_CSS = "Options { height: auto; background: $panel; }"
    surface = "panel"

    def __init__(self, line: CommandLine) -> None:
        super().__init__(id="command-options")
        self.line = line
        self.found = Completion(0)
        self.problem = ""

    def show(self, text: str, problem: str = "") -> None:
        """What may follow `text`; or what is wrong with it."""
        self.found, self.problem = self.line.look(text), problem
        self.styles.height = len(self._lines(self.app.size.width))
        self.sync()

    def _lines(self, width: int) -> list[Line]:
        room = max(1, min(LISTED, self.app.size.height - ROOM_KEPT))
        return option_lines(
            self.found,
            self.line.chosen,
            width,
            problem=self.problem,
            room=room,
            limit=cast("TrinityApp", self.app).state.limit,
        )

    def paint(self, width: int, height: int) -> Sequence[Line]:
        return self._lines(width)[:height]


class CommandInput(Input):
    """Tab takes the next option, up and down walk through the history, right takes the ghost, escape leaves."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "tab(1)", "next option", id="line.tab", show=False, priority=True),
        Binding("shift+tab", "tab(-1)", "option before", id="line.untab", show=False, priority=True),
        Binding("up", "older", "line before", id="line.older", show=False, priority=True),
        Binding("down", "newer", "line after", id="line.newer", show=False, priority=True),
        Binding("escape,ctrl+c", "leave", "leave the line", id="line.leave", show=False, priority=True),
    ]

    def __init__(self, mode: CommandMode, line: CommandLine, text: str) -> None:
        super().__init__(text, suggester=Ghost(line), compact=True, select_on_focus=False, id="command-input")
        self.cursor_blink = False
        self.mode, self.line = mode, line

    @property
    def options(self) -> Options:
        return self.screen.query_one(Options)

    def on_mount(self) -> None:
        self.options.show(self.value)

    @on(Input.Changed)
    def changed(self, event: Input.Changed) -> None:
        event.stop()
        self.options.show(self.value)

    @on(Input.Submitted)
    async def submitted(self, event: Input.Submitted) -> None:
        event.stop()
        problem = await self.mode.enter(event.value)
        if problem:
            self.options.show(self.value, problem)

    def on_key(self, _: events.Key) -> None:
        self.line.typed()

    def on_blur(self) -> None:
        """A click elsewhere leaves the line."""
        if self.screen.is_current and not self.has_focus:
            self.mode.close()

    def _put(self, text: str) -> None:
        self.value = text
        self.cursor_position = len(text)

    # These keys come ahead of what was typed before them and waits here yet: so they wait behind it.

    def action_tab(self, step: int) -> None:
        self.call_later(self._tab, step)

    def action_older(self) -> None:
        self.call_later(lambda: self._put(self.line.older(self.value)))

    def action_newer(self) -> None:
        self.call_later(lambda: self._put(self.line.newer(self.value)))

    def action_leave(self) -> None:
        self.call_later(self.mode.close)

    def _tab(self, step: int) -> None:
        self._put(self.line.tab(self.value, step))
        self.options.show(self.value)


class CommandBar(Container):
    """Lies over the strip and the lines above it, so that nothing else moves."""

    DEFAULT_CSS = """
    CommandBar { layer: line; dock: bottom; height: auto; background: $panel; }
    CommandBar #command-row { height: 1; layout: horizontal; }
    CommandBar #command-colon { width: 2; height: 1; padding: 0 0 0 1; color: $accent; text-style: bold; }
    CommandBar Input, CommandBar Input:focus {
        width: 1fr; height: 1; border: none; padding: 0; background: $panel; color: $foreground;
    }
    CommandBar Input > .input--suggestion { color: $foreground-muted; text-style: dim; }
    """

    def __init__(self, mode: CommandMode, text: str) -> None:
        super().__init__()
        self.line = CommandLine(mode.names, mode.history)
        self.mode, self.text = mode, text

    @property
    def trinity(self) -> TrinityApp:
        return cast("TrinityApp", self.app)

    def compose(self) -> ComposeResult:
        yield Options(self.line)
        with Container(id="command-row"):
            yield Static(":", id="command-colon")
            yield CommandInput(self.mode, self.line, self.text)

    def on_mount(self) -> None:
        self.query_one(CommandInput).focus()
