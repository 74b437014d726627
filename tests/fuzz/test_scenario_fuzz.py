"""Malformed drill files: each gives one error with a place and a remedy, and nothing else ever comes out."""

from __future__ import annotations

import random

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.contract.errors import FileError
from backend.drills.check import Compiled, load_scenario
from backend.drills.library import library
from tests.fuzz.work import counted

TEXT = library()["llm-replica-kill"].read_text(encoding="utf-8")
LINES = TEXT.splitlines()
MOST_CALLS = 500_000
"""The undamaged file takes 32,000."""


def outcome(text: str) -> Compiled | FileError:
    try:
        return load_scenario(text, "fuzz.yaml")
    except FileError as error:
        return error


def mutated(seed: int) -> str:
    """The shipped drill, damaged in one of the ways people damage files."""
    rng = random.Random(seed)
    lines = list(LINES)
    at = rng.randrange(len(lines))
    keyed = [i for i, line in enumerate(lines) if ":" in line and not line.lstrip().startswith("#")]
    at = rng.choice(keyed)
    line = lines[at]
    key, _, rest = line.partition(":")
    lines[at] = rng.choice(
        [
            f"{key}x:{rest}",
            f"{key}: &a{rest or ' x'}",
            f"{key}: *a",
            f"{key}: !!python/name:os.system{rest}",
            f"{key}: [{{}}]",
            f"{key}:{rest}]",
            f"{key}: {rest.strip()} }}",
            f"\t{line}",
            f"{line}\n{line}",
            f"{key}{rest}",
            f"{key}: 99999999999999999999999999",
            f"{key}: -1",
            f"{key}: ''",
            f"{key}: \x00",
            f"<<: {{a: 1}}\n{line}",
        ]
    )
    return "\n".join(lines) + "\n"


def test_two_hundred_malformed_files_each_give_one_placed_error() -> None:
    wrong, seed = 0, 0
    while wrong < 200:
        text = mutated(seed)
        seed += 1
        assert seed < 2000, "the mutations hardly ever break anything"
        found, calls = counted(lambda text=text: outcome(text))
        assert calls <= MOST_CALLS, text
        if isinstance(found, FileError):
            wrong += 1
            assert found.line >= 1 or "control characters" in found.next_step, (seed, str(found))
            assert found.message
            assert found.next_step or "expected" in found.message or found.line, (seed, str(found))


def test_cut_off_files_never_crash() -> None:
    for end in range(0, len(TEXT), 97):
        outcome(TEXT[:end])


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(TEXT) - 1), st.text(min_size=1, max_size=4))
def test_any_insertion_is_read_or_refused(at: int, inserted: str) -> None:
    outcome(TEXT[:at] + inserted + TEXT[at:])


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["targets", "safety", "load", "hypothesis", "abort", "phases", "report", "seed"]), _VALUES)
def test_any_value_in_any_section_is_read_or_refused(section: str, value: object) -> None:
    document = yaml.safe_load(TEXT)
    document[section] = value
    outcome(yaml.safe_dump(document))


def test_names_only_one_yaml_reader_accepts_are_placed() -> None:
    found = outcome(TEXT.replace("id: nothing-refused", "id: n?othing-refused"))
    assert isinstance(found, FileError)
    assert "not a usable name" in found.message
    assert found.line > 1


@pytest.mark.parametrize("text", ["", "drill", "[]", "drill: 1", "\x00", "a: " * 1000, "[" * 2000, "é" * 10])
def test_documents_that_are_no_drill(text: str) -> None:
    assert isinstance(outcome(text), FileError)
