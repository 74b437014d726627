"""Scenario files: the shipped ones are sound, every mistake has a place and a remedy, the digest is of the meaning."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from backend.contract.errors import FileError, UsageError
from backend.drills import library
from backend.drills.check import load_scenario
from backend.drills.scenario import (
    Lease,
    Scenario,
    scenario_digest,
    schema,
)
from tests.unit.drills.samples import MINIMAL


@pytest.mark.parametrize("name", sorted(library.library()))
def test_shipped_drills_are_sound(name: str) -> None:
    compiled = library.load(name)
    assert compiled.scenario.name == name
    assert compiled.scenario.about
    assert compiled.scenario.phases[0].gate
    assert len(compiled.digest) == 64


def test_the_kill_drill_asks_for_at_least_sixty_requests_a_phase() -> None:
    for phase in library.load("llm-replica-kill").scenario.phases:
        assert sum(phase.hold.min_requests.values()) >= 60


def test_the_digest_is_of_the_meaning() -> None:
    one = load_scenario(MINIMAL, "a.yaml")
    two = load_scenario("# a comment\n" + MINIMAL.replace("name: tiny", "name:   'tiny'"), "b.yaml")
    other = load_scenario(MINIMAL.replace("5/s", "6/s"), "a.yaml")
    assert one.digest == two.digest != other.digest


class WiderLease(Lease, frozen=True, kw_only=True):
    """A later version of the format: one key more, deep inside."""

    grace: float = 3.0


class WiderScenario(Scenario, frozen=True, kw_only=True):
    """And one at the top, with parts of its own."""

    owners: WiderLease = msgspec.field(default_factory=WiderLease)


def test_a_new_key_of_the_format_leaves_the_digests_of_older_runs() -> None:
    scenario = load_scenario(MINIMAL.replace("title: a", "safety: {lease: {expires: 2s}}\ntitle: a"), "a.yaml").scenario
    fields = {name: getattr(scenario, name) for name in Scenario.__struct_fields__}
    later = WiderScenario(
        **fields | {"safety": msgspec.structs.replace(scenario.safety, lease=WiderLease(expires=2.0))}
    )
    assert scenario_digest(later) == scenario_digest(scenario)
    used = msgspec.structs.replace(later, owners=WiderLease(grace=4.0))
    assert scenario_digest(used) != scenario_digest(scenario)


def test_the_digest_sees_deep_changes() -> None:
    texts = [MINIMAL, *(MINIMAL.replace(old, new, 1) for old, new in _DEEP)]
    assert len({load_scenario(text, "a.yaml").digest for text in texts}) == len(texts)


_DEEP = [
    ("process.kill, target: victim", "process.kill, target: victim, signal: TERM"),
    ("for: 1s", "for: 2s"),
    ("min_requests: {chat: 2}", "min_requests: {chat: 3}"),
    ("title: a tiny drill", "title: a tiny drill\nsafety: {lease: {expires: 2s}}"),
    ("pick: busiest", "pick: random"),
]


MISTAKES = [
    ("failed(chat) == 0", "faild(chat) == 0", "unknown function `faild`", 12, 21),
    ("ok_ratio(chat)", "ok_ratio(chta)", "unknown load `chta`", 19, 24),
    ("{from: pool, pick", "{from: pol, pick", "unknown pool `pol`", 6, 18),
    ("target: victim", "target: pool", "unknown replica `pool`", 22, 51),
    ("verify: [pid_gone]", "verify: [proc_state_T]", "proves nothing about process.kill", 22, 100),
    (", verify: [pid_gone]", "", "no verify step", 22, 9),
    ("gate: true", "gaet: true", "unknown key `gaet`", 18, 5),
    ("min_requests: {chat: 2}}\n    gate", "min_requests: {chat: 2, chat: 3}}\n    gate", "duplicate key", 17, 45),
    ("min_requests: {chat: 2}}\n    gate", "min_requests: {plain: 2}}\n    gate", "unknown load `plain`", 17, 43),
    ("for: 1s", "for: 1", "does not fit", 17, 17),
    ("drill: 1", "drill: 2", "does not fit", 1, 8),
    ("process.kill", "process.kil", "does not fit", 22, 29),
    ("name: one-down", "name: baseline", "two of the name", 20, 11),
    ("name: tiny", "name: 1tiny", "not a usable name", 2, 7),
    ("{workload: llm, replicas: 2}", "{workload: llm, role: inference}", "exactly one", 5, 9),
    ("{workload: llm, replicas: 2}", "{workload: llm, index: 1}", "is a pool", 5, 9),
    ("pick: busiest", "pick: busiest, index: 1", "one of index", 6, 11),
    ('until: {expr: "healthy(pool)', 'heal: [kill-b]\n    until: {expr: "healthy(pool)', "no fault `kill-b`", 26, 12),
    ("recovery\n", "recovery\n    gate: true\n", "first phase can be the gate", 26, 11),
    ("detect(kill-a)", "recovery.p99(chat)", "unknown phase `recovery`", 24, 75),
    ("rate: ", "model: random, rate: ", "does not fit", 10, 22),
    ("title: a tiny drill", "title: a tiny drill\nsafety: {max_runtime: 2s}", "phases alone", 4, 23),
    ("title: a tiny drill", "title: &x a tiny drill", "anchors", 3, 8),
    ("title: a tiny drill", "title: !!str a tiny drill", "tags", 3, 8),
]


FAULT_MISTAKES = [
    ("process.stop, target: victim, code: 3, verify: [proc_state_T]", "process.stop takes no `code`", "takes scope"),
    ("process.exit, target: victim, verify: [pid_gone]", "process.exit needs `code`", "Add code: 3"),
    ("process.exit, target: victim, code: 300, verify: [pid_gone]", "code must be 0 to 255", "code: 3"),
    ("process.stop, target: victim, scope: engine, verify: [proc_state_T]", "(scope: engine)", "thread_stopped"),
    ("process.stop, target: victim, verify: [thread_stopped]", "proves nothing about process.stop", "proc_state_T"),
    ("process.stop, target: victim, scope: engine, verify: [api_still_200]", "alone proves no fault", "no_progress"),
    ("process.kill, target: pool, verify: [pid_gone]", "unknown replica `pool`", "victim"),
    ("edge.kill, target: victim, verify: [edge_replaced]", "unknown pool `victim`", "pool"),
    ("net.latency, target: pool, verify: [holder_active]", "net.latency needs `latency`", "latency: 200ms"),
    ("net.latency, target: pool, latency: 0s, verify: [holder_active]", "latency must be above 0", "200ms"),
    ("net.reset, target: pool, share: 1.5, verify: [holder_active]", "share must be above 0 and at most 1", "0.5"),
    ("http.error, target: pool, status: 99, verify: [holder_active]", "100 to 599", "status: 503"),
    ("cpu.burn, target: victim, cores: 0, verify: [holder_active]", "cores must be above 0", "cores: 1.0"),
    ("workload.scale, target: pool, verify: [action_done]", "workload.scale needs `replicas`", "replicas: 2"),
    ("net.reset, target: nobody, verify: [holder_active]", "unknown target `nobody`", "pool, victim"),
    ("edge.kill, target: pool, signal: KILL, verify: [edge_replaced]", "edge.kill takes no `signal`", "Remove it"),
    ("net.reset, target: pool, verify: [pid_gone]", "proves nothing about net.reset", "requests_affected"),
    ("net.reset, target: pool, within: 0s, verify: [holder_active]", "within must be above 0", "within: 20s"),
]


@pytest.mark.parametrize(("injection", "message", "remedy"), FAULT_MISTAKES)
def test_each_fault_takes_its_own_keys_only(injection: str, message: str, remedy: str) -> None:
    old = 'process.kill, target: victim, when: "in_flight(victim) >= 1", verify: [pid_gone]'
    assert old in MINIMAL
    with pytest.raises(FileError) as caught:
        load_scenario(MINIMAL.replace(old, injection), "t.yaml")
    assert message in caught.value.message
    assert remedy in caught.value.next_step
    assert caught.value.line == 22
    assert caught.value.column >= 9


def test_a_time_limit_that_ends_a_fault_too_early_is_a_mistake() -> None:
    text = MINIMAL.replace("process.kill", "process.stop").replace("[pid_gone]", "[proc_state_T]")
    assert load_scenario(text, "t.yaml")
    with pytest.raises(FileError, match="lasts 2 s and more, fault_ttl ends it after 2 s"):
        load_scenario(text.replace("title: a tiny drill", "title: t\nsafety: {fault_ttl: 2s}"), "t.yaml")
    healed = text.replace("name: recovery\n", "name: recovery\n    heal: [kill-a]\n")
    assert load_scenario(healed.replace("title: a tiny drill", "title: t\nsafety: {fault_ttl: 2s}"), "t.yaml")


@pytest.mark.parametrize(("old", "new", "message", "line", "column"), MISTAKES)
def test_each_mistake_has_its_place(old: str, new: str, message: str, line: int, column: int) -> None:
    assert old in MINIMAL
    with pytest.raises(FileError) as caught:
        load_scenario(MINIMAL.replace(old, new, 1), "t.yaml")
    assert message in caught.value.message
    assert (caught.value.line, caught.value.column) == (line, column)


def test_a_minus_between_hyphenated_names_is_no_trap() -> None:
    text = MINIMAL.replace("in_flight(victim) >= 1", "in_flight(pool) - in_flight(victim) >= 0")
    assert load_scenario(text, "t.yaml").whens["kill-a"]


def test_drills_are_found_by_name_or_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(MINIMAL)
    assert library.load(str(path)).scenario.name == "tiny"
    assert library.find("llm-replica-kill").name == "llm-replica-kill.yaml"
    with pytest.raises(UsageError, match="Did you mean `llm-replica-kill`"):
        library.find("llm-replica-kil")
    with pytest.raises(UsageError, match="no drill file"):
        library.find(str(tmp_path / "none.yaml"))
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="UTF-8"):
        library.load(str(path))


def test_the_schema_names_every_key_of_the_format() -> None:
    shape = json.loads(json.dumps(schema()))
    fields = shape["$defs"]["Scenario"]["properties"]
    assert set(fields) == set(Scenario.__struct_fields__)
    assert shape["$defs"]["Hold"]["properties"]["for"]["pattern"]
    assert shape["$defs"]["Target"]["properties"]["from"]
    assert shape["$defs"]["Scenario"]["additionalProperties"] is False
