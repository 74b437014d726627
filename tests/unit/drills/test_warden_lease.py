"""The warden's lease, in time of the test's own: what counts as silence."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from backend.drills import warden

Script = list[Callable[[], None]]


class Looks:
    """Time passes only while the warden looks: each look takes what it waits for, then the next of `script` happens."""

    def __init__(self, script: Script) -> None:
        self.now, self.script, self.looks = 1000.0, script, 0
        self.readable, self.writable = os.pipe()

    def select(self, readable: list[int], _: object, __: object, timeout: float) -> tuple[list[int], list[int], object]:
        from select import select

        self.looks += 1
        self.now += timeout
        if self.script:
            self.script.pop(0)()
        return select(readable, [], [], 0.0)

    def beat(self) -> None:
        os.write(self.writable, b".\n")

    def stand_still(self, seconds: float) -> None:
        self.now += seconds

    def done(self) -> None:
        os.write(self.writable, b"done\n")


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Iterator[Looks]:
    made = Looks([])
    monkeypatch.setattr(warden, "select", SimpleNamespace(select=made.select))
    monkeypatch.setattr(warden, "time", SimpleNamespace(monotonic=lambda: made.now, time=lambda: made.now))
    yield made
    os.close(made.readable)
    os.close(made.writable)


def quiet() -> None:
    """Nothing happens."""


def test_a_machine_that_stood_still_for_longer_than_the_lease_is_no_silence(looks: Looks, tmp_path: Path) -> None:
    looks.script = [looks.beat, lambda: looks.stand_still(5.0), quiet, quiet, looks.beat, quiet, looks.done]
    assert warden.watch(tmp_path, looks.readable, 1.0) == ""


def test_heartbeats_that_wait_for_a_warden_that_was_not_scheduled_count(looks: Looks, tmp_path: Path) -> None:
    def asleep() -> None:
        looks.beat()
        looks.stand_still(5.0)

    looks.script = [quiet, asleep, quiet, looks.done]
    assert warden.watch(tmp_path, looks.readable, 1.0) == ""


def test_silence_for_the_lease_is_cause_to_act(looks: Looks, tmp_path: Path) -> None:
    looks.script = [looks.beat]
    assert warden.watch(tmp_path, looks.readable, 1.0) == "no heartbeat for 1.00 s"
    assert looks.looks <= 13, "looked at ten times a second"
