"""The explorer without a screen: following, pausing, moving, filters as they are typed, searches near and far."""

from __future__ import annotations

from collections.abc import Callable

from console.state.log_explorer import LEVELS, Filter, LogExplorer
from console.state.log_finder import LogFinder, text_pattern
from console.state.log_line import LogKey
from console.state.log_query import LogQuery
from tests.unit.console.log_samples import chunk, holding, numbered

HEIGHT = 5


def settled(log: LogExplorer, height: int = HEIGHT) -> None:
    """Look until there is nothing to wait for."""
    for _ in range(1000):
        done = log.look(height) and log.finder.wanted is None
        if done:
            return
        if log.finder.search is not None:
            log.finder.search.wait(0.05)
    raise AssertionError("it never settles")


def shown(log: LogExplorer, height: int = HEIGHT) -> list[str]:
    settled(log, height)
    lines, _ = log.shown(height)
    return [line.message.decode() for line in lines]


def at(log: LogExplorer) -> str:
    line = log.current()
    return "" if line is None else line.message.decode()


def until(met: Callable[[], bool], log: LogExplorer) -> None:
    for _ in range(1000):
        log.look(HEIGHT)
        if met():
            return
        if log.finder.search is not None:
            log.finder.search.wait(0.05)
    raise AssertionError("never")


def test_it_follows_what_comes_from_all_replicas_by_time() -> None:
    log = LogExplorer(holding(chunk("a", [(1, "one"), (3, "three")])))
    log.store.append(chunk("b", [(2, "two")]))
    assert shown(log) == ["one", "two", "three"]
    log.store.append(chunk("a", [(4, "four"), (5, "five"), (6, "six")]))
    assert shown(log) == ["two", "three", "four", "five", "six"]
    assert (log.shown(HEIGHT)[1], at(log)) == (-1, "six")


def test_an_empty_store_shows_nothing_and_moves_nowhere() -> None:
    log = LogExplorer(holding())
    for move in (log.pause, log.follow, log.oldest):
        move()
    log.move(-1, HEIGHT)
    log.next_match(1, HEIGHT)
    assert (shown(log), at(log), log.sample()) == ([], "", [])


def test_paused_it_stands_still_counts_what_comes_and_loses_nothing() -> None:
    log = LogExplorer(holding(chunk("a", numbered(8))))
    settled(log)
    log.toggle(HEIGHT)
    before = shown(log)
    log.store.append(chunk("a", numbered(3, start=8)))
    assert shown(log) == before
    assert (log.below(), log.following) == (3, False)
    log.toggle(HEIGHT)
    assert shown(log)[-1] == "line 10"
    assert log.below() == 0


def test_it_pauses_also_right_after_other_replicas_were_chosen() -> None:
    log = LogExplorer(holding(chunk("a", numbered(8))))
    log.choose(["a"])
    log.toggle(HEIGHT)
    assert (at(log), log.following) == ("line 7", False)
    log.choose(None)
    log.move(-1, HEIGHT)
    assert at(log) == "line 6"


def test_newer_lines_of_others_are_not_counted_where_one_is_chosen() -> None:
    log = LogExplorer(holding(chunk("a", numbered(3)), chunk("b", numbered(3, word="other"))))
    log.choose(["a"])
    assert shown(log) == ["line 0", "line 1", "line 2"]
    log.pause(HEIGHT)
    log.store.append(chunk("b", numbered(9, start=3)))
    log.store.append(chunk("a", numbered(1, start=3)))
    assert log.below() == 1
    counts = log.counts()
    assert (counts.held, counts.dropped, counts.lost) == (4, 0, 0)


def test_the_cursor_moves_by_line_and_page_and_follows_again_past_the_end() -> None:
    log = LogExplorer(holding(chunk("a", numbered(20))))
    settled(log)
    assert [line.message for line in log.sample(2)] == [b"line 18", b"line 19"]
    log.move(1, HEIGHT)
    assert log.following
    log.move(-1, HEIGHT)
    assert (at(log), log.following) == ("line 18", False)
    assert shown(log) == [f"line {n}" for n in range(15, 20)]
    for _ in range(5):
        log.move(-1, HEIGHT)
        settled(log)
    assert (at(log), shown(log)[0]) == ("line 13", "line 13")
    log.page(-1, HEIGHT)
    settled(log)
    assert (at(log), shown(log)[0]) == ("line 9", "line 9")
    log.page(1, HEIGHT)
    assert shown(log)[0] == "line 13"
    log.oldest()
    assert (shown(log)[0], at(log)) == ("line 0", "line 0")
    log.page(-1, HEIGHT)
    assert at(log) == "line 0"
    for _ in range(40):
        log.move(1, HEIGHT)
        settled(log)
    assert log.following


def test_a_late_line_takes_its_place_without_moving_the_cursor() -> None:
    log = LogExplorer(holding(chunk("a", [(1, "one"), (3, "three"), (4, "four")])))
    settled(log)
    log.move(-1, HEIGHT)
    settled(log)
    log.store.append(chunk("b", [(2, "two")]))
    assert shown(log) == ["one", "two", "three", "four"]
    assert at(log) == "three"


def test_a_time_is_gone_to() -> None:
    log = LogExplorer(holding(chunk("a", numbered(50))))
    settled(log)
    log.go_to_time(1020.5, HEIGHT)
    settled(log)
    assert at(log) == "line 21"
    assert log.shown(HEIGHT)[1] == HEIGHT // 3
    log.go_to_time(5000.0, HEIGHT)
    settled(log)
    assert at(log) == "line 49"
    assert log.sample(4)[-1].message == b"line 49"


def test_levels_go_round() -> None:
    lines = [(1.0, "D debug"), (2.0, "plain"), (3.0, "W warn"), (4.0, "E error")]
    log = LogExplorer(holding(chunk("a", lines)))
    seen = []
    for _ in LEVELS:
        seen.append(len(shown(log)))
        log.next_level()
    assert seen == [4, 3, 2, 1]
    assert log.level == 0


def test_filters_stack_and_esc_takes_back_one_thing_at_a_time() -> None:
    lines = [(1.0, "E slot 1 bad"), (2.0, "E slot 2 bad"), (3.0, "slot 1 good"), (4.0, "E other")]
    log = LogExplorer(holding(chunk("a", lines)))
    log.filters = [Filter("include", "slot")]
    log.choose(["a"])
    log.begin("exclude")
    log.type_in("slot 2")
    assert log.apply() == ""
    assert shown(log) == ["E slot 1 bad", "slot 1 good"]
    log.next_level()
    log.next_level()
    assert shown(log) == ["E slot 1 bad"]
    log.finder.name("bad")
    steps = []
    while log.take_back():
        steps.append(len(shown(log)))
    assert steps == [1, 2, 3, 4]
    assert not log.filtered


def test_a_filter_shows_its_effect_while_it_is_typed_and_bad_patterns_keep_the_last() -> None:
    log = LogExplorer(holding(chunk("a", [(1.0, "slot 1"), (2.0, "other")])))
    settled(log)
    slot, other = log.shown(HEIGHT)[0]
    log.begin("include")
    assert log.tone(slot) == "plain"
    log.type_in("SLOT")
    assert (log.tone(slot), log.tone(other)) == ("gone", "gone")
    log.type_in("slot")
    assert (log.tone(slot), log.tone(other)) == ("kept", "gone")
    assert [(pattern.pattern, style) for pattern, style in log.marks()] == [("slot", "u b")]
    log.type_in("slot(")
    assert "no regular expression" in log.apply()
    assert (log.tone(slot), log.tone(other)) == ("kept", "gone")
    log.cancel()
    assert (log.draft, log.filters, log.tone(other)) == (None, [], "plain")
    log.begin("exclude")
    log.type_in("slot")
    assert (log.tone(slot), log.tone(other)) == ("gone", "plain")
    log.type_in("")
    assert log.apply() == ""
    assert (log.apply(), log.filters) == ("", [])


def test_a_search_goes_to_the_nearest_match_while_it_is_typed_and_esc_goes_back() -> None:
    log = LogExplorer(holding(chunk("a", [*numbered(30), (2000.0, "needle"), (2001.0, "hay"), (2002.0, "hay")])))
    settled(log)
    log.begin("search")
    log.type_in("need")
    assert (at(log), log.following) == ("needle", False)
    assert log.finder.progress(log.cursor) is None
    log.type_in("needles")
    assert log.following
    log.type_in("line 2\\d")
    log.type_in("")
    log.type_in("ne+dle")
    log.cancel()
    assert (log.following, log.finder.pattern) == (True, "")
    log.begin("search")
    log.type_in("needle")
    log.apply()
    assert at(log) == "needle"
    log.begin("search")
    assert log.draft is not None
    assert log.draft.text == "needle"


def test_matches_far_away_are_found_in_the_background_both_ways() -> None:
    lines = [(float(n), "needle" if n in (3, 5, 9990) else f"line {n}") for n in range(10_000)]
    log = LogExplorer(holding(chunk("a", lines)))
    settled(log)
    log.begin("search")
    log.type_in("needle")
    log.apply()
    settled(log)
    assert log.cursor is not None
    assert log.cursor[0] == 9990
    for direction, second in ((-1, 5), (-1, 3), (1, 5), (1, 9990)):
        log.next_match(direction, HEIGHT)
        settled(log)
        assert log.cursor[0] == second
    until(lambda: log.finder.settled, log)  # the last match is told before the lines behind it are searched
    progress = log.finder.progress(log.cursor)
    assert progress is not None
    assert (progress["at"], progress["found"], progress["scanned"], progress["done"]) == (1, 3, 10_000, True)
    log.next_match(1, HEIGHT)
    settled(log)
    assert (log.cursor[0], log.finder.missed, log.finder.error) == (9990, 1, "")
    assert not log.finder.behind(log.store)
    assert log.finder.seen_to == 9999.0
    log.store.append(chunk("a", [*[(10_000.0 + n, "hay") for n in range(3000)], (20_000.0, "a needle")]))
    log.next_match(1, HEIGHT)
    settled(log)
    assert log.cursor[0] == 20_000
    log.next_level()
    until(lambda: log.finder.settled, log)
    assert log.finder.pattern == "needle"
    log.finder.stop()


def test_a_nearer_match_is_waited_for_while_only_farther_ones_are_known() -> None:
    class Halfway:
        done, error = False, ""

        def next(self, key: LogKey, direction: int) -> LogKey | None:
            return (9.0, 0, 9) if direction > 0 else None

    finder = LogFinder()
    finder.name("x")
    finder.search = Halfway()  # type: ignore[assignment] # a search that has seen the newest lines only
    finder.want(1, (1.0, 0, 1))
    assert finder.arrived() is None
    assert finder.wanted is not None
    Halfway.done = True
    assert finder.arrived() == (9.0, 0, 9)


def test_what_came_since_is_searched_once_for_each_time_one_asks() -> None:
    store = holding(chunk("a", numbered(3)))
    finder = LogFinder()
    finder.name("needle")
    finder.begin(store, LogQuery())
    finder.want(1, (0.0, 0, 0))
    searches = []
    for number in range(3, 6):
        assert finder.search is not None
        assert finder.search.wait(60)
        assert finder.arrived() is None
        searches.append(finder.search)
        store.append(chunk("a", numbered(1, start=number)))
        finder.look_again(store, LogQuery())
    assert len({id(search) for search in searches}) == 2


def test_patterns_ignore_case_unless_they_hold_a_capital() -> None:
    small, capital = text_pattern("slot"), text_pattern("Slot")
    assert small is not None
    assert capital is not None
    assert (bool(small.search("SLOT")), bool(capital.search("slot"))) == (True, False)
    assert (text_pattern("("), text_pattern("")) == (None, None)


def test_the_life_before_the_last_restart() -> None:
    store = holding(chunk("a", [(1.0, "old")], life=1), chunk("b", [(1.0, "b")]), chunk("a", [(2.0, "new")], life=2))
    log = LogExplorer(store)
    assert "No earlier life of b" in log.toggle_life("b")
    assert log.toggle_life("a") == ""
    assert (shown(log), log.lives("a"), log.filtered) == (["old"], [1, 2], True)
    assert log.toggle_life("a") == ""
    assert len(shown(log)) == 3
    log.toggle_life("a")
    assert log.take_back()
    log.toggle_life("a")
    log.choose(None)
    assert len(shown(log)) == 3


def test_another_store_is_looked_at_from_its_end_with_the_same_filters() -> None:
    log = LogExplorer(holding(chunk("a", numbered(9))))
    log.filters = [Filter("include", "7|8")]
    log.pause()
    log.use(holding(chunk("a", numbered(9, word="past"))), until_ts=1008.0)
    assert shown(log) == ["past 7"]
    assert log.following


def test_fields_sideways_and_wrapping() -> None:
    log = LogExplorer(holding())
    for name in ("a", "b", "a"):
        log.toggle_field(name)
    assert log.fields == ("b",)
    log.toggle_field("")
    assert log.fields == ()
    log.scroll(30)
    log.scroll(-10)
    assert log.x == 20
    log.toggle_wrap()
    log.scroll(30)
    assert (log.wrap, log.x) == (True, 0)


def test_since_when_every_chosen_replica_is_held() -> None:
    store = holding(chunk("a", numbered(3), life=1), chunk("b", [(1010.0, "b")]), chunk("a", [(1020.0, "x")], life=2))
    log = LogExplorer(store)
    assert log.whole_from() == 1010.0
    log.choose(["a"])
    assert log.whole_from() == 1000.0
    assert LogExplorer(holding()).whole_from() is None


def test_matches_are_marked_and_what_is_chosen_already_is_not_asked_for_again() -> None:
    explorer = LogExplorer(holding(chunk("a", numbered(5)), chunk("b", numbered(5))))
    explorer.begin("search")
    explorer.type_in("line 3")
    explorer.apply()
    ((pattern, style),) = explorer.marks()
    assert (pattern.pattern, style) == ("line 3", "r")
    explorer.choose(["a"])
    before = explorer._reach
    explorer.choose(["a"])
    assert explorer._reach is before
