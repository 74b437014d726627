"""Each key of the help screen is pressed and its effect is seen. A key without a proof here fails the first test.

A proof gets the screen, with what the keys act on in front, and one of the keys of an id. It presses the key and
waits for the effect. Keys of one scope share a console; what each leaves behind is put back before the next.
"""

from __future__ import annotations

from typing import Any

import pytest

from backend.contract.words import Severity
from console.state.simulator import SimulatorSource
from console.tui.command_line import CommandBar, CommandInput
from console.tui.dialogs import AskDialog, PickDialog
from console.tui.expose import ExposeDialog
from tests.unit.console.key_proofs import (
    DOCKER,
    EVERYWHERE,
    KEYS_OF,
    KUBERNETES,
    LOGS,
    NODES,
    PORTS,
    TABLES,
    TEXTS,
    Proof,
    explorer,
    opens,
)
from tests.unit.console.sample import FixedClock
from tests.unit.console.test_drill_screens import DRILL, DrillScreen, drills
from tests.unit.console.test_tui import Screen, console

pytestmark = pytest.mark.timeout(600)

# -- the other views -----------------------------------------------------------------------------------------


def turns(flag: str) -> Proof:
    async def proof(screen: Screen, key: str) -> None:
        view = screen.app.view
        before = getattr(view, flag)
        await screen.press(key)
        await screen.until(lambda: getattr(view, flag) != before, f"{key} turns {flag}")

    return proof


REQUESTS: dict[str, Proof] = {"requests.sides": turns("apart")}
JOURNAL: dict[str, Proof] = {"journal.verbose": turns("verbose")}


def _lens(screen: Screen) -> Any:
    return screen.app.view.stage.lens  # type: ignore[attr-defined]


def cursor(start: str, step: float) -> Proof:
    """The charts' cursor goes back for a negative step, on for a positive one; from an edge."""

    async def proof(screen: Screen, key: str) -> None:
        await screen.press(start)
        await screen.until(lambda: _lens(screen).at is not None, "a cursor")
        before = _lens(screen).at
        await screen.press(key)
        await screen.until(lambda: (_lens(screen).at - before) * step > 0, f"{key} moves the cursor")

    return proof


def zooms(less: bool) -> Proof:
    async def proof(screen: Screen, key: str) -> None:
        before = _lens(screen).window_s
        await screen.press(key)
        await screen.until(lambda: _lens(screen).window_s != before, f"{key} zooms")
        assert (_lens(screen).window_s < before) == less

    return proof


async def charts_travel(screen: Screen, key: str) -> None:
    travel = screen.app.part("travel")
    await screen.press("end", "left", "left")
    await screen.press(key)
    await screen.until(lambda: travel.held is not None, f"{key} travels to the cursor")
    travel.leave()
    screen.app.view.activate()


async def heat_map(screen: Screen, key: str) -> None:
    await screen.press(key)
    await screen.until(lambda: screen.app.query_one("HeatPanel").display, f"{key} shows the heat map")


CHARTS: dict[str, Proof] = {
    "charts.left": cursor("end", -1),
    "charts.right": cursor("home", 1),
    "charts.minute-back": cursor("end", -1),
    "charts.minute-on": cursor("home", 1),
    "charts.home": cursor("end", -1),
    "charts.end": cursor("home", 1),
    "charts.in": zooms(less=True),
    "charts.out": zooms(less=False),
    "charts.travel": charts_travel,
    "charts.heat": heat_map,
}


def chooses(first: str, step: int) -> Proof:
    async def proof(screen: Screen, key: str) -> None:
        panel: Any = screen.app.query_one("HeatPanel")
        names = [row.name for row in panel._rows]
        panel.chosen = names[0 if first == "top" else 1]
        await screen.press(key)
        await screen.until(
            lambda: panel.chosen == names[(0 if first == "top" else 1) + step], f"{key} chooses a replica"
        )

    return proof


HEAT: dict[str, Proof] = {"heat.up": chooses("second", -1), "heat.down": chooses("top", 1)}


def held(start: float, step: float) -> Proof:
    """The playhead goes from `start` seconds before the newest instant, back or on."""

    async def proof(screen: Screen, key: str) -> None:
        scrub = screen.app.part("travel").scrub
        screen.app.part("travel").go_to(scrub.last - start)
        before = scrub.ts
        await screen.press(key)
        await screen.until(lambda: (scrub.ts - before) * step > 0, f"{key} moves the playhead")

    return proof


def steps(start: float, direction: int) -> Proof:
    """The playhead goes to what happened before, or next, once that is known."""

    async def proof(screen: Screen, key: str) -> None:
        travel = screen.app.part("travel")
        travel.go_to(travel.scrub.last - start)
        before = travel.scrub.ts
        await screen.until(
            lambda: any(
                (one.ts - before) * direction > 0 and travel.scrub.first <= one.ts <= travel.scrub.last
                for one in travel.found
            ),
            "something happened",
        )
        await screen.press(key)
        await screen.until(lambda: (travel.scrub.ts - before) * direction > 0, f"{key} goes to what happened")

    return proof


def spans(less: bool) -> Proof:
    async def proof(screen: Screen, key: str) -> None:
        scrub = screen.app.part("travel").scrub
        before = scrub.span
        await screen.press(key)
        await screen.until(lambda: scrub.span != before and (scrub.span < before) == less, f"{key} zooms")

    return proof


async def plays(screen: Screen, key: str) -> None:
    scrub = screen.app.part("travel").scrub
    screen.app.part("travel").go_to(scrub.first)  # minutes from the end, where it would stand by itself
    await screen.press(key)
    await screen.until(lambda: scrub.speed == 1, f"{key} plays")
    await screen.press(key, key, key)
    await screen.until(lambda: scrub.speed == 0, "and stands again")


async def compares(screen: Screen, key: str) -> None:
    """From another instant than A it shows what differs."""
    travel = screen.app.part("travel")
    travel.go_to(travel.scrub.last - 60)
    await screen.until(lambda: travel.held.ts != travel.marked.ts, "another instant")
    await screen.press(key)
    await screen.until(lambda: screen.app.view_name == "compare", f"{key} shows what differs")
    await screen.app.navigator.back()
    await screen.until(lambda: screen.app.view_name == "overview", "the overview is back")


async def on_the_bar(screen: Screen) -> None:
    """The bar of time travel has the keys."""
    travel = screen.app.part("travel")
    for _ in range(2):  # a view that was just shown takes them once more
        travel.focus()
        await screen.until(lambda: travel.focused, "the bar has the keys")
        await screen.pilot.pause()


async def asks_when(screen: Screen, key: str) -> None:
    await on_the_bar(screen)
    await opens(AskDialog)(screen, key)


async def leaves(screen: Screen, key: str) -> None:
    await on_the_bar(screen)
    await screen.press(key)
    await screen.until(lambda: screen.app.part("travel").held is None, f"{key} is live again")


TRAVEL: dict[str, Proof] = {
    "travel.left": held(60, -1),
    "travel.right": held(60, 1),
    "travel.far-left": held(60, -1),
    "travel.far-right": held(300, 1),
    "travel.before": steps(0, -1),
    "travel.next": steps(1700, 1),
    "travel.home": held(60, -1),
    "travel.end": held(60, 1),
    "travel.closer": spans(less=True),
    "travel.farther": spans(less=False),
    "travel.play": plays,
    "travel.compare": compares,
    "travel.ask": asks_when,
    "travel.leave": leaves,
}


async def marks_a(screen: Screen, key: str) -> None:
    travel = screen.app.part("travel")
    assert travel.marked is None
    await screen.press(key)
    await screen.until(lambda: travel.marked is not None, f"{key} marks A")


COMPARE: dict[str, Proof] = {"compare.mark": marks_a}


def goes(view: str) -> Proof:
    """From the present view to another and back, where only a way back leads to the same state."""

    async def proof(screen: Screen, key: str) -> None:
        was = screen.app.view_name
        await screen.press(key)
        await screen.until(lambda: screen.app.view_name == view, f"{key} shows {view}")
        await screen.app.show_view(was)
        await screen.until(lambda: screen.app.view_name == was, "back")

    return proof


DRILLS: dict[str, Proof] = {
    "drills.report": goes("drill-report"),
    "drills.history": opens(PickDialog, f"Earlier runs of {DRILL}"),
    "drills.timeline": goes("drill-run"),
}
RUN: dict[str, Proof] = {"run.back": goes("drills"), "run.report": goes("drill-report")}
REPORT: dict[str, Proof] = {
    "report.compare": opens(PickDialog, "Compare"),
    "report.save": opens(AskDialog, "Save the report as"),
    "report.timeline": goes("drill-run"),
    "report.history": opens(PickDialog, "Earlier runs"),
}


def fills(typed: str, found: str) -> Proof:
    """The key turns what is typed in the command line into another text."""

    async def proof(screen: Screen, key: str) -> None:
        line = screen.app.query_one(CommandInput)
        line.value = typed
        line.line.typed()
        await screen.press(key)
        await screen.until(lambda: line.value == found, f"{key} makes {found!r} of {typed!r}, not {line.value!r}")

    return proof


async def comes_back(screen: Screen, key: str) -> None:
    line = screen.app.query_one(CommandInput)
    line.value = "sc"
    line.line.typed()
    await screen.press("up", key)
    await screen.until(lambda: line.value == "sc", f"{key} comes back to what was typed")


async def leaves_line(screen: Screen, key: str) -> None:
    if not screen.app.query(CommandBar):
        await screen.press("colon")
        await screen.until(lambda: screen.app.query(CommandInput), "the line is open")
    await screen.press(key)
    await screen.until(lambda: not screen.app.query(CommandBar), f"{key} leaves the line")


LINE: dict[str, Proof] = {
    "line.tab": fills("describe llm", "describe llm-0"),
    "line.untab": fills("describe llm", "describe llm-1"),
    "line.older": fills("sc", "scale llm 3"),
    "line.newer": comes_back,
    "line.leave": leaves_line,
}

PROOFS: dict[str, Proof] = {
    name: proof
    for part in (
        *(EVERYWHERE, TABLES, TEXTS, LOGS, REQUESTS, JOURNAL, CHARTS, HEAT),
        *(TRAVEL, COMPARE, DRILLS, RUN, REPORT, LINE),
        *(KUBERNETES, NODES, PORTS, DOCKER),
    )
    for name, proof in part.items()
}


# -- the promise ---------------------------------------------------------------------------------------------


def test_every_key_of_the_help_has_a_proof() -> None:
    assert set(KEYS_OF) - set(PROOFS) == set(), "these keys have no proof"
    assert set(PROOFS) - set(KEYS_OF) == set(), "these proofs are of keys that are gone"


async def front(screen: Screen, view: str) -> None:
    """Show a view and wait until it has the keys."""
    await screen.app.action_view(view)
    await screen.until(
        lambda: screen.app.focused and screen.app.view in screen.app.focused.ancestors, f"{view} has them"
    )


async def prove(screen: Screen, proofs: dict[str, Proof]) -> None:
    """Every key of every id, in the order of the table of proofs."""
    for name, proof in proofs.items():
        for key in KEYS_OF[name][1]:
            await proof(screen, key)


async def test_keys_that_work_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRINITY_CLIPBOARD", raising=False)
    async with console(replicas=3, size=(80, 24), others=[("other", SimulatorSource(replicas=2))]) as screen:
        await prove(screen, EVERYWHERE)


async def test_keys_of_tables() -> None:
    async with console(replicas=40, size=(80, 24)) as screen:
        await prove(screen, TABLES)


async def test_keys_of_texts_requests_and_events() -> None:
    async with console(size=(80, 24)) as screen:
        await front(screen, "help")
        await prove(screen, TEXTS)
        for view, proofs in (("requests", REQUESTS), ("journal", JOURNAL)):
            await front(screen, view)
            await prove(screen, proofs)


async def test_keys_of_logs() -> None:
    async with console(size=(80, 24)) as screen:
        await screen.press("4", "0")
        await screen.until(lambda: screen.app.view_name == "logs", "the logs")
        await screen.until(lambda: explorer(screen).store.received > 100 and "following" in screen.text, "many lines")
        await prove(screen, LOGS)


async def test_keys_of_charts_and_the_heat_map() -> None:
    async with console(replicas=4, clock=FixedClock()) as screen:  # no reading comes that sorts the heat map anew
        await front(screen, "charts")
        await prove(screen, CHARTS)
        await screen.until(lambda: len(screen.app.query_one("HeatPanel")._rows) > 1, "rows")  # type: ignore[attr-defined]
        screen.app.query_one("HeatPanel").focus()
        await prove(screen, HEAT)


async def test_keys_of_time_travel_and_comparison() -> None:
    async with console() as screen:
        await front(screen, "compare")
        await prove(screen, COMPARE)
        await front(screen, "overview")
        screen.source.world.event("test", Severity.INFO, "llm-0", "something happened")
        happened = screen.app.clock.now()
        for _ in range(200):
            if ((await screen.source.extent()).last_ts or 0.0) > happened:
                break
            await screen.pilot.pause(0.05)
        await screen.press("t")
        travel = screen.app.part("travel")
        await screen.until(lambda: travel.held is not None and travel.found, "the bar, and what happened")
        await on_the_bar(screen)
        await prove(screen, TRAVEL)


async def test_keys_of_platforms() -> None:
    async with console(replicas=12, driver="kubernetes", edge=False) as screen:
        await prove(screen, KUBERNETES)
        await front(screen, "nodes")
        await prove(screen, NODES)
        await front(screen, "ports")
        await screen.press("p")
        await screen.until(lambda: isinstance(screen.app.screen, ExposeDialog), "asks which port")
        await screen.press("enter")
        await screen.until(lambda: screen.app.state.forwards, "a forward")
        await prove(screen, PORTS)
    async with console(replicas=6, driver="docker", edge=False) as screen:
        await prove(screen, DOCKER)


async def test_keys_of_drills() -> None:
    async with drills() as screen:
        await proved_drills(screen)


async def proved_drills(screen: DrillScreen) -> None:
    await screen.run()
    screen.clock.ahead_s = 40.0
    await screen.until(lambda: screen.app.view_name == "drill-report", "the report follows")
    await screen.choose()
    await prove(screen, DRILLS)
    await screen.app.watch_drill("")
    await screen.until(lambda: screen.app.view_name == "drill-run", "the run")
    screen.app.navigator.behind = ["drills"]
    await prove(screen, RUN)
    await screen.app.show_report("")
    await screen.choose()
    await screen.press("p")
    await screen.shows("What users felt")
    await prove(screen, REPORT)


async def test_keys_of_the_command_line() -> None:
    async with console() as screen:
        mode = screen.app.part("line")
        mode.history.add("scale llm 3")
        await mode.open()
        await screen.until(lambda: screen.app.query(CommandInput), "the line is open")
        await prove(screen, LINE)
