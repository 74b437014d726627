"""Counters over restarts, and progress."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from backend.telemetry.counters import CounterMemory, Progress


def test_first_reading_of_an_old_process_is_history() -> None:
    memory = CounterMemory()
    assert memory.increase(1000.0, 1.0, fresh=False) == 0.0
    assert memory.increase(1010.0, 1.0, fresh=False) == 10.0


def test_first_reading_of_a_new_process_is_all_new() -> None:
    assert CounterMemory().increase(64.0, 1.0, fresh=True) == 64.0


def test_restart_is_seen_by_the_process_even_when_the_counter_did_not_fall() -> None:
    memory = CounterMemory()
    memory.increase(10.0, 1.0, fresh=True)
    assert memory.increase(12.0, 2.0, fresh=True) == 12.0


def test_fallen_counter_is_a_restart_even_when_the_process_looks_the_same() -> None:
    memory = CounterMemory()
    memory.increase(10.0, None, fresh=True)
    assert memory.increase(3.0, None, fresh=True) == 3.0


def test_tokens_of_running_requests_are_counted_once() -> None:
    memory = CounterMemory()
    added = [
        memory.increase(0.0, 1.0, fresh=True, ahead=30.0),
        memory.increase(0.0, 1.0, fresh=True, ahead=50.0),
        memory.increase(0.0, 1.0, fresh=True, ahead=0.0),  # It ended between the two questions.
        memory.increase(60.0, 1.0, fresh=True, ahead=0.0),
    ]
    assert added == [30.0, 20.0, 0.0, 10.0]


@given(st.lists(st.lists(st.integers(0, 50), min_size=1, max_size=8), max_size=8))
def test_sum_of_increases_is_what_all_processes_did(processes: list[list[int]]) -> None:
    memory, counted = CounterMemory(), 0.0
    for generation, steps in enumerate(processes):
        value = 0
        for step in steps:
            value += step
            counted += memory.increase(float(value), float(generation), fresh=True)
    assert counted == sum(map(sum, processes))


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=20))
def test_increase_is_never_negative(readings: list[tuple[int, int]]) -> None:
    memory = CounterMemory()
    for value, ahead in readings:
        assert memory.increase(float(value), 1.0, fresh=True, ahead=float(ahead)) >= 0.0


def test_busy_engine_that_stands_still_keeps_its_last_advance() -> None:
    progress = Progress(busy=False, advanced_mono_s=0.0, answered_mono_s=0.0)
    progress = progress.after(mono_s=1.0, busy=True, moved=True)
    for mono_s in (2.0, 3.0, 4.0):
        progress = progress.after(mono_s=mono_s, busy=True, moved=False)
    assert (progress.busy, progress.advanced_mono_s, progress.answered_mono_s) == (True, 1.0, 4.0)
    progress = progress.after(mono_s=5.0, busy=True, moved=True)
    assert (progress.advanced_mono_s, progress.slowest_step_s) == (5.0, 4.0)


def test_idle_engine_does_not_look_stuck_when_work_comes() -> None:
    progress = Progress(busy=False, advanced_mono_s=0.0, answered_mono_s=0.0)
    progress = progress.after(mono_s=60.0, busy=False, moved=False)
    progress = progress.after(mono_s=61.0, busy=True, moved=False)
    assert progress.advanced_mono_s == 60.0
    assert progress.slowest_step_s == 0.0


def test_silence_is_counted_and_an_answer_ends_it() -> None:
    progress = Progress(busy=True, advanced_mono_s=1.0, answered_mono_s=1.0).without_answer().without_answer()
    assert (progress.unanswered, progress.advanced_mono_s) == (2, 1.0)
    assert progress.after(mono_s=2.0, busy=True, moved=True).unanswered == 0
