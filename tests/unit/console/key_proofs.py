"""Proofs of what keys do: ways to see an effect, and the keys that work everywhere, in tables, texts and logs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from backend.contract.words import Phase, Severity, Verb
from console.state.log_explorer import LogExplorer
from console.tui.columns import ColumnsDialog
from console.tui.command_line import CommandBar
from console.tui.dialogs import AskDialog, ConfirmDialog, PickDialog
from console.tui.exec import SHELL
from console.tui.expose import ExposeDialog
from console.tui.filter_bar import FilterBar
from console.tui.jump import JumpScreen
from console.tui.keymap import table
from console.tui.log_bar import LogBar
from console.tui.log_pane import LogPane
from console.tui.palette import Palette
from console.tui.scroll import ScrollPanel
from tests.unit.console.test_tui import Screen

Proof = Callable[[Any, str], Awaitable[None]]

KEYS_OF = {bound.id: (bound.scope, bound.keys) for bound in table()}


# -- ways to see an effect -----------------------------------------------------------------------------------


def shows(view: str, *, after: str = "overview") -> Proof:
    """The key shows a view."""

    async def proof(screen: Screen, key: str) -> None:
        await screen.press(key)
        await screen.until(lambda: screen.app.view_name == view, f"{key} shows {view}")
        await screen.app.action_view(after)
        await screen.until(lambda: screen.app.view_name == after, "back")

    return proof


def opens(kind: type[Any], words: str = "") -> Proof:
    """The key opens a dialog or a line; esc closes it and nothing has happened."""

    async def proof(screen: Screen, key: str) -> None:
        done = screen.verbs_done()
        await screen.press(key)
        await screen.until(
            lambda: isinstance(screen.app.screen, kind) or screen.app.screen.query(kind), f"{key} opens {kind.__name__}"
        )
        if words:
            await screen.shows(words)
        await screen.press("escape")
        await screen.until(
            lambda: len(screen.app.screen_stack) == 1 and not screen.app.screen.query(kind),
            f"esc closes it: {key}",
        )
        assert screen.verbs_done() == done

    return proof


def asks_for(verb: Verb) -> Proof:
    """The key previews a verb; nothing happens until it is confirmed."""

    async def proof(screen: Screen, key: str) -> None:
        await opens(ConfirmDialog, str(verb))(screen, key)

    return proof


def moves(
    value: Callable[[Screen], Any], was: Any, now: Callable[[Any], bool], put: Callable[[Screen, Any], Any]
) -> Proof:
    """The key takes a value from `was` to one that `now` accepts."""

    async def proof(screen: Screen, key: str) -> None:
        put(screen, was)
        await screen.until(lambda: value(screen) == was, f"{was} before {key}")
        await screen.press(key)
        await screen.until(lambda: now(value(screen)), f"{key} moves it from {was}, not to {value(screen)}")
        put(screen, was)

    return proof


# -- everywhere ----------------------------------------------------------------------------------------------


async def back(screen: Screen, key: str) -> None:
    await screen.app.action_view("fleet")
    await screen.press(key)
    await screen.until(lambda: screen.app.view_name == "overview", f"{key} goes back")


async def forward(screen: Screen, key: str) -> None:
    await screen.app.action_view("fleet")
    await screen.app.navigator.back()
    await screen.press(key)
    await screen.until(lambda: screen.app.view_name == "fleet", f"{key} goes forward")
    await screen.app.navigator.back()


async def other_panel(screen: Screen, key: str) -> None:
    before = screen.app.focused
    await screen.press(key)
    await screen.until(lambda: screen.app.focused not in (None, before), f"{key} goes to another panel")
    screen.app.view.table().focus()
    await screen.until(lambda: screen.app.focused is before, "the table has the keys again")


async def other_fleet(screen: Screen, key: str) -> None:
    first = screen.app.link
    await screen.press(key)
    await screen.until(lambda: screen.app.link is not first, f"{key} shows the other fleet")
    await screen.app.part("fleets").choose(first)


async def travels(screen: Screen, key: str) -> None:
    travel = screen.app.part("travel")
    await screen.press(key)
    await screen.until(lambda: travel.held is not None, f"{key} shows the past")
    await screen.press(key)
    await screen.until(lambda: travel.held is None, f"{key} again is live")
    screen.app.view.activate()


async def raw(screen: Screen, key: str) -> None:
    await screen.press(key)
    await screen.until(lambda: screen.app.view_name == "detail" and screen.app.view.raw, f"{key} shows raw data")
    await screen.app.navigator.back()


async def says(screen: Screen, key: str, words: str) -> None:
    await screen.press(key)
    await screen.until(lambda: words in screen.message, f"{key} says {words!r}, not {screen.message!r}")


async def copies(screen: Screen, key: str) -> None:
    await says(screen, key, "✓ copied the row llm-0")


async def redraws(screen: Screen, key: str) -> None:
    drawn: list[int] = []
    screen.app.frames.redraw = lambda: drawn.append(1)  # type: ignore[method-assign]
    await screen.press(key)
    await screen.until(lambda: drawn, f"{key} draws the screen again")


async def switches_theme(screen: Screen, key: str) -> None:
    before = screen.app.theming.spec.name
    await screen.press(key)
    await screen.until(lambda: screen.app.theming.spec.name != before, f"{key} switches the theme")


async def quits(screen: Screen, key: str) -> None:
    left: list[Any] = []
    screen.app.exit = lambda result=None, **_: left.append(result)  # type: ignore[method-assign]
    await screen.press(key)
    await screen.until(lambda: left == [0], f"{key} quits")


async def one_more(screen: Screen, key: str) -> None:
    world = screen.source.world
    before = world.wanted["llm"]
    await screen.press(key)
    await screen.until(lambda: world.wanted["llm"] == before + 1, f"{key} adds one")
    await screen.until(lambda: screen.app.state.last_undoable() is not None, "the console knows")


async def panics(screen: Screen, key: str) -> None:
    await screen.press(key)
    await screen.until(lambda: screen.source.world.drills.blocked, f"{key} stops drills without a question")
    await screen.until(lambda: screen.app.state.snapshot.drills_blocked, "the console knows")  # type: ignore[union-attr]


async def acknowledges(screen: Screen, key: str) -> None:
    screen.source.world.event("test", Severity.ERROR, "llm-0", "llm-0 is on fire")
    await screen.until(screen.app.state.unacknowledged, "an alarm")
    await screen.press(key)
    await screen.until(lambda: not screen.app.state.unacknowledged(), f"{key} acknowledges")


EVERYWHERE: dict[str, Proof] = {
    "view.fleet": shows("fleet"),
    "view.requests": shows("requests"),
    "view.logs": shows("logs"),
    "view.journal": shows("journal"),
    "view.drills": shows("drills"),
    "view.charts": shows("charts"),
    "view.nodes": shows("nodes"),
    "view.ports": shows("ports"),
    "view.help": shows("help"),
    "view.overview": back,
    "go.back": back,
    "go.backward": back,
    "go.forward": forward,
    "go.line": opens(CommandBar),
    "go.palette": opens(Palette),
    "go.jump": opens(JumpScreen),
    "go.filter": opens(FilterBar),
    "go.travel": travels,
    "go.next": other_panel,
    "go.before": other_panel,
    "fleet.before": other_fleet,
    "fleet.next": other_fleet,
    "fleet.all": shows("everywhere"),
    "go.describe": shows("detail"),
    "go.raw": raw,
    "go.copy": copies,
    "go.export": opens(AskDialog, "Export overview to which file"),
    "go.redraw": redraws,
    "go.theme": switches_theme,
    "act.restart": asks_for(Verb.RESTART),
    "act.rollout": asks_for(Verb.ROLLOUT),
    "act.kill": asks_for(Verb.KILL),
    "act.drain": asks_for(Verb.DRAIN),
    "act.autoscale": asks_for(Verb.AUTOSCALE),
    "act.maintenance": asks_for(Verb.MAINTENANCE),
    "act.fewer": asks_for(Verb.SCALE),
    "act.more": one_more,
    "act.undo": asks_for(Verb.UNDO),
    "act.scale": opens(AskDialog, "to how many replicas"),
    "act.load": opens(AskDialog, "how many requests a second"),
    "act.note": opens(AskDialog, "Note for the events"),
    "act.panic": panics,
    "act.allow": asks_for(Verb.DRILL_STOP),
    "act.acknowledge": acknowledges,
    "go.quit": quits,
}


async def freezes(screen: Screen, key: str) -> None:
    """Asks, freezes; and lets go on what is frozen."""
    name = screen.app.chosen_replicas()[0]
    await screen.press(key)
    await screen.until(lambda: isinstance(screen.app.screen, ConfirmDialog), f"{key} asks first")
    await screen.press("y")
    await screen.until(lambda: screen.app.state.replica(name).status.reason == "paused", f"{key} freezes")  # type: ignore[union-attr]
    await screen.press(key)
    await screen.until(lambda: screen.app.state.replica(name).status.phase == Phase.READY, f"{key} lets it go on")  # type: ignore[union-attr]


async def lends(screen: Screen, key: str) -> None:
    """The terminal goes to a shell in the chosen replica; what it then does is proven on a real terminal."""
    lent: list[tuple[Any, ...]] = []
    screen.app.part("exec").lend = lambda shown, *what: lent.append(what)
    await screen.press(key)
    await screen.until(lambda: lent, f"{key} lends the terminal")
    assert lent == [(screen.app.chosen_replicas()[0], SHELL)]


KUBERNETES: dict[str, Proof] = {
    "act.exec": lends,
    "act.evict": asks_for(Verb.EVICT),
    "act.rollback": asks_for(Verb.ROLLBACK),
    "act.expose": opens(ExposeDialog, "Expose chat"),
}
NODES: dict[str, Proof] = {"nodes.cordon": asks_for(Verb.CORDON), "nodes.drain": asks_for(Verb.NODE_DRAIN)}
DOCKER: dict[str, Proof] = {"act.pause": freezes}


async def stops_forward(screen: Screen, key: str) -> None:
    await screen.press(key)
    await screen.until(lambda: not screen.app.state.forwards, f"{key} stops the forward")


PORTS: dict[str, Proof] = {"ports.stop": stops_forward}


# -- tables, texts, logs -------------------------------------------------------------------------------------


def _cursor(screen: Screen) -> int:
    return screen.app.view.table().model.cursor  # type: ignore[union-attr, no-any-return]


def _put_cursor(screen: Screen, at: int) -> None:
    screen.app.view.table().model.move_to(at)  # type: ignore[union-attr]


def _left(screen: Screen) -> int:
    return screen.app.view.table().left  # type: ignore[union-attr]


def _put_left(screen: Screen, at: int) -> None:
    screen.app.view.table().left = at  # type: ignore[union-attr]


def marks(count: int) -> Proof:
    async def proof(screen: Screen, key: str) -> None:
        model = screen.app.view.table().model  # type: ignore[union-attr]
        model.marks.clear()
        model.move_to(0)
        if count == 4:
            await screen.press("space")
            model.move_to(3)
        await screen.press(key)
        await screen.until(lambda: len(model.marks) == count, f"{key} marks {count}")
        model.marks.clear()
        screen.app.view.table().sync()  # type: ignore[union-attr]

    return proof


async def sorts(screen: Screen, key: str) -> None:
    model = screen.app.view.table().model  # type: ignore[union-attr]
    before = (model.sort_key, model.descending)
    await screen.press(key)
    await screen.until(lambda: (model.sort_key, model.descending) != before, f"{key} sorts in another way")


TABLES: dict[str, Proof] = {
    "table.down": moves(_cursor, 0, lambda at: at == 1, _put_cursor),
    "table.up": moves(_cursor, 5, lambda at: at == 4, _put_cursor),
    "table.pagedown": moves(_cursor, 0, lambda at: at > 2, _put_cursor),
    "table.pageup": moves(_cursor, 30, lambda at: at < 28, _put_cursor),
    "table.home": moves(_cursor, 30, lambda at: at == 0, _put_cursor),
    "table.end": moves(_cursor, 5, lambda at: at == 39, _put_cursor),
    "table.left": moves(_left, 1, lambda at: at == 0, _put_left),
    "table.right": moves(_left, 0, lambda at: at == 1, _put_left),
    "table.mark": marks(1),
    "table.range": marks(4),
    "table.all": marks(40),
    "table.sort": sorts,
    "table.reverse": sorts,
    "table.columns": opens(ColumnsDialog),
    "table.open": shows("detail"),
}


def _top(screen: Screen) -> int:
    return screen.app.view.query_one(ScrollPanel).top


def _put_top(screen: Screen, at: int) -> None:
    panel = screen.app.view.query_one(ScrollPanel)
    panel.top = at
    panel.sync()


TEXTS: dict[str, Proof] = {
    "scroll.down": moves(_top, 0, lambda at: at == 1, _put_top),
    "scroll.up": moves(_top, 5, lambda at: at == 4, _put_top),
    "scroll.pagedown": moves(_top, 0, lambda at: at > 2, _put_top),
    "scroll.pageup": moves(_top, 30, lambda at: at < 28, _put_top),
    "scroll.home": moves(_top, 30, lambda at: at == 0, _put_top),
    "scroll.end": moves(_top, 0, lambda at: at > 40, _put_top),
}


def explorer(screen: Screen) -> LogExplorer:
    return screen.app.view.query_one(LogPane).explorer


def reads(value: Callable[[LogExplorer], Any], *before: str) -> Proof:
    """The key changes where the reader of the logs is, or what is read; from the newest lines and `before`."""

    async def proof(screen: Screen, key: str) -> None:
        log = explorer(screen)
        await screen.press("end", *before)
        was = value(log)
        await screen.press(key)
        await screen.until(lambda: value(log) != was, f"{key} does nothing to {was}")

    return proof


async def previous_life(screen: Screen, key: str) -> None:
    await screen.press(key)
    await screen.until(lambda: "No earlier life of llm-" in screen.message, f"{key} says that there is none")


async def shows_all(screen: Screen, key: str) -> None:
    explorer(screen).choose(["llm-0"])
    await screen.press(key)
    await screen.until(lambda: explorer(screen).replicas is None, f"{key} shows all replicas")


async def finds(screen: Screen, key: str) -> None:
    """`n` and `N` walk through the matches."""
    log = explorer(screen)
    screen.app.view.set_filter("slot")
    await screen.until(lambda: log.finder.settled, "searched")
    await screen.press("N")
    await screen.until(lambda: log.cursor is not None, "a match")
    was = log.cursor
    await screen.press(key)
    await screen.until(lambda: log.cursor != was, f"{key} goes to another match")
    log.take_back()


async def correlates(screen: Screen, key: str) -> None:
    await screen.press("end", "up", key)
    await screen.until(
        lambda: screen.app.view_name == "correlation" or "names no request" in screen.message, f"{key} asks who it was"
    )
    await screen.app.action_view("logs")
    await screen.until(lambda: isinstance(screen.app.focused, LogPane), "the lines have the keys again")


LOGS: dict[str, Proof] = {
    "log.up": reads(lambda log: log.cursor, "up"),
    "log.down": reads(lambda log: log.cursor, "pageup"),
    "log.pageup": reads(lambda log: log.cursor, "up"),
    "log.pagedown": reads(lambda log: log.cursor, "home"),
    "log.home": reads(lambda log: log.cursor, "up"),
    "log.end": reads(lambda log: log.following, "up"),
    "log.pause": reads(lambda log: log.following),
    "log.right": reads(lambda log: log.x),
    "log.left": reads(lambda log: log.x, "right"),
    "log.wrap": reads(lambda log: log.wrap),
    "log.open": correlates,
    "log.search": opens(LogBar),
    "log.next": finds,
    "log.before": finds,
    "log.include": opens(LogBar),
    "log.exclude": opens(LogBar),
    "log.level": reads(lambda log: log.level),
    "log.fields": opens(PickDialog, "Fields as columns"),
    "log.time": opens(AskDialog, "Go to"),
    "log.life": previous_life,
    "log.save": opens(AskDialog),
    "log.all": shows_all,
}
