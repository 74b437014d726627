"""A target of an index is one seat of the pool for the whole run, whatever name the platform gives to its holder."""

from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.contract.clock import SystemClock
from backend.contract.fleet import ReplicaStatus
from backend.contract.words import Phase
from backend.drills import guards
from backend.drills.check import load_scenario
from backend.drills.records import FaultStamps
from backend.drills.watch import Watch
from tests.unit.drills.samples import MINIMAL

TEXT = MINIMAL.replace("replicas: 2", "replicas: 3").replace(
    "  victim: {from: pool, pick: busiest}\n",
    "  victim: {from: pool, index: 0}\n  second: {from: pool, index: 1}\n  third: {from: pool, index: 2}\n",
)
TARGETS = ("victim", "second", "third")


def ready(name: str) -> ReplicaStatus:
    return ReplicaStatus(name=name, fleet="pods", workload="llm", phase=Phase.READY, restarts=0, created_ts=0.0, pid=1)


class Pool:
    """Three pods whose controller replaces a dead one under a new name; listed by name, as drivers do."""

    def __init__(self) -> None:
        self.names = ["pod-d", "pod-h", "pod-m"]
        self.host: Any = SimpleNamespace(
            replicas=lambda _workload: [ready(name) for name in sorted(self.names)],
            on_event=lambda _listener: lambda: None,
            edge=lambda: SimpleNamespace(up=False, servers=()),
        )
        self.scenario = load_scenario(TEXT, "t.yaml")
        self.watch = Watch(self.host, SystemClock(), self.scenario, {"pool": "llm"}, Path())

    def picked(self, target: str) -> str:
        """Whom a fault of that target would hit now."""
        spec = self.scenario.scenario.targets[target]
        return guards.pick_replica(
            spec, self.watch.ready_replicas("pool"), {}, random.Random(1), seat=self.watch.seat(target)
        ).name

    def kill(self, target: str, heir: str) -> str:
        """A drill's kill of what the target means; the controller makes `heir`. Who died."""
        name, fault = self.picked(target), f"kill-{len(self.watch.stamps)}"
        self.watch.choose(target, name)
        self.watch.remember(fault, dict.fromkeys(self.names, 1), None)
        self.watch.stamps[fault] = FaultStamps(
            id=fault, fault="process.kill", target=target, workload="llm", replica=name, t_command=1.0
        )
        self.names[self.names.index(name)] = heir
        self.watch.look()
        return name


@pytest.mark.parametrize("heir", ["pod-a", "pod-f", "pod-k", "pod-z"])
def test_the_second_kill_hits_the_second_pod_and_not_whoever_came_for_the_first(heir: str) -> None:
    pool = Pool()
    assert pool.kill("victim", heir) == "pod-d"
    assert pool.watch.seat("victim") == heir
    assert pool.kill("second", "pod-y") == "pod-h"
    members = pool.watch.members()
    assert (set(members["victim"]), set(members["second"])) == ({"pod-d", heir}, {"pod-h", "pod-y"})


@given(order=st.lists(st.sampled_from(TARGETS), max_size=8), names=st.permutations([f"pod-{n}" for n in "abcefgij"]))
def test_each_seat_stays_one_pods_own(order: list[str], names: list[str]) -> None:
    pool = Pool()
    expected = dict(zip(TARGETS, sorted(pool.names), strict=True))
    for target, heir in zip(order, names, strict=False):
        assert pool.kill(target, heir) == expected[target]
        expected[target] = heir
    assert {target: pool.picked(target) for target in TARGETS} == expected
    assert len(set(expected.values())) == 3
