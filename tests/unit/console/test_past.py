"""An instant that is held: panels see what was known then, nothing comes after it, nothing can be done in it."""

from __future__ import annotations

import asyncio
import re

import pytest

from backend.contract.control import ActionRequest
from backend.contract.errors import Refused, UsageError
from backend.contract.log_lines import parse_piece, to_row
from backend.contract.recording import Moment
from backend.contract.rows import LogRow
from backend.contract.words import Verb
from console.render.panels import fleet_line
from console.state.past import PastShown, ago_word, ago_words, clock_words, stored_line, time_words
from console.state.simulator import SimulatorSource

from .sample import FixedClock, event, point, snapshot

NOTE = ActionRequest(verb=Verb.NOTE, args={"text": "x"}, actor="console:ada")


async def held(at: float = -60.0, **parts):
    """A fleet with a kill and a drill in its past, and the instant `at` seconds from its newest one."""
    clock = FixedClock()
    sim = SimulatorSource(clock=clock)
    await sim.perform(ActionRequest(verb=Verb.KILL, target="llm-0", args={"signal": 9}, actor="console:ada"))
    await sim.perform(ActionRequest(verb=Verb.DRILL_RUN, args={"name": "llm-replica-kill"}, actor="console:ada"))
    clock.at += 60
    moment = await sim.moment(clock.at + at)
    return PastShown(sim, moment, clock, **parts), sim, clock


async def test_the_state_is_filled_as_the_panels_need_it():
    past, _, _ = await held(-30)
    state = past.state
    assert state.snapshot.ts == past.ts == past.clock.now()
    assert state.link == "live"
    assert state.points[-1].ts == past.ts
    assert state.events[-1].ts <= past.ts
    assert [row.verb for row in state.actions] == ["kill", "drill-run"]
    assert past.clock.mono() > 0


async def test_another_instant_is_taken_in_place():
    past, sim, _ = await held(-30)
    source = past.source
    moment = await sim.moment(past.ts - 100)
    past.take(moment)
    assert past.source is source
    assert (await source.snapshot()) == moment.snapshot == past.state.snapshot
    assert past.clock.now() == moment.ts
    assert not past.state.actions


async def test_rows_and_logs_end_at_the_instant():
    past, sim, _ = await held(-60)
    for table in ("requests", "events"):
        rows = await past.source.rows(table)
        assert rows
        assert max(row.ts for row in rows) <= past.ts
        assert len(await past.source.rows(table, until_ts=past.ts - 100)) < len(rows)
        assert await past.source.rows(table, until_ts=9e9) == rows
    at_once = await past.source.rows("events", where={"kind": "replica.died"})
    assert at_once[-1].ts == past.ts, "what happened at the instant itself had happened"
    assert (await past.source.logs(None)).rows[-1].ts <= past.ts
    assert (await past.source.series(10))[-1].ts == past.ts
    assert (await past.source.raw("llm-0"))["status"]["phase"] == "Failed"
    with pytest.raises(UsageError, match="no replica llm-9"):
        await past.source.raw("llm-9")
    assert (await past.source.version()) == await sim.version()
    assert (await past.source.extent()) == await sim.extent()
    assert (await past.source.moment(past.ts)).ts == past.ts


async def test_nothing_comes_after_an_instant():
    past, _, _ = await held()
    stream = past.source.stream()
    assert (await anext(stream)).snapshot is past.moment.snapshot
    chunks = past.source.log_chunks(["llm-0"], lines=5)
    (chunk,) = await anext(chunks)
    assert chunk.replica == "llm-0"
    assert len(chunk.data.splitlines()) == 5
    for source in (stream, chunks):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(source), 0.01)


def test_a_line_is_written_as_its_file_has_it():
    row = LogRow(ts=1_700_000_000.25, replica="llm-0", level="info", message="two\nlines")
    line = stored_line(row)
    assert line.endswith(b"two lines\n")
    parsed = to_row("llm-0", parse_piece(line.rstrip(b"\n")))
    assert parsed.ts == pytest.approx(row.ts)
    assert parsed.message == "two lines"


async def test_drills_are_those_that_had_ended():
    past, sim, clock = await held(-60)
    now = {view.run_id for view in await sim.drill_runs()}
    then = {view.run_id for view in await past.source.drill_runs()}
    assert then < now
    last = {info.name: info.last for info in await past.source.drills()}
    assert last["llm-replica-kill"].ended_ts <= past.ts
    one = await past.source.drill("llm-replica-kill")
    assert one.plan[0].startswith("Refused: You are looking at")
    with pytest.raises(UsageError, match="no drill"):
        await past.source.drill("nothing")
    run = one.last.run_id
    assert await past.source.drill_report(run) == await sim.drill_report(run)
    assert await past.source.drill_file(run, "json") == await sim.drill_file(run, "json")
    other = next(view.run_id for view in await sim.drill_runs() if view.name == one.name and view.run_id != run)
    assert await past.source.drill_compare(other, run) == await sim.drill_compare(other, run)
    await past.source.aclose()
    assert not sim.closed
    assert clock.at > past.ts


async def test_verbs_are_refused_with_the_way_back():
    past, sim, _ = await held(-59)
    for call in (past.source.preview, past.source.perform):
        with pytest.raises(Refused, match=r"You are looking at \d\d:\d\d:\d\d \(50 s ago\)\. Press t to go back to"):
            await call(NOTE)
    assert "note" not in [row.verb for row in sim.world.actions]


async def test_a_recording_says_that_it_is_one():
    past, _, _ = await held(-60, replay=True)
    assert past.refusal() == "This is a recording: nothing can be done in it."
    assert past.badge().startswith("REPLAY ")


async def test_the_fleet_line_says_past_with_glyph_and_word():
    past, _, clock = await held(-60)
    text = "".join(part for part, _ in fleet_line(past.state, 120, clock.at))
    assert re.match(r"  ◷ PAST \d\d:\d\d:\d\d · 1m ago ", text)
    assert "STALE" not in text


@pytest.mark.parametrize(
    ("seconds", "words", "word"),
    [
        (-1, "just now", "just now"),
        (9, "just now", "just now"),
        (25, "20 s ago", "20s ago"),
        (185, "3 m ago", "3m ago"),
        (7380, "2 h 3 m ago", "2h ago"),
        (7200, "2 h ago", "2h ago"),
        (353_000, "4 d 2 h ago", "4d ago"),
    ],
)
def test_how_long_ago(seconds, words, word):
    assert (ago_words(seconds), ago_word(seconds)) == (words, word)


def test_another_day_is_told_with_its_date():
    now = 1_000_000.0
    assert re.fullmatch(r"\d\d:\d\d:\d\d", time_words(now, now))
    assert re.fullmatch(r"1970-01-\d\d \d\d:\d\d:\d\d", time_words(now - 200_000, now))
    assert clock_words(now - 60, now) == f"{time_words(now - 60, now)} (1 m ago)"


def test_a_moment_without_history_is_still_shown():
    past = PastShown(None, Moment(ts=1000.0, snapshot=snapshot(), points=(point(),), events=(event(1),)), FixedClock())
    assert past.state.replica("llm-0") is not None
    assert len(past.state.events) == 1
