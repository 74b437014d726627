"""What a driver lacks is one fact: the reason that greys a key out is the one with which the verb is refused."""

from __future__ import annotations

from backend.contract.needs import lacks, refusal_of
from backend.contract.words import Verb
from tests.fakes.fleet import FakeFleet


def test_the_reason_and_the_refusal_are_the_same_words() -> None:
    fleet = FakeFleet()
    said = {verb: refusal_of(fleet, Verb(verb)) for verb in lacks(fleet)}
    assert said == {verb: f"Fleet {why}." for verb, why in lacks(fleet).items()}
    assert said[Verb.EXEC] == "Fleet local cannot run programs in replicas."


def test_what_needs_nothing_special_is_never_refused_by_it() -> None:
    others = {verb for verb in Verb if not refusal_of(FakeFleet(), verb)}
    assert {Verb.SCALE, Verb.KILL, Verb.RESTART, Verb.UNFORWARD, Verb.NOTE} <= others
