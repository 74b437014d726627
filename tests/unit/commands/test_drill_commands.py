"""`trinity drill …` on stored runs, without a daemon: exit codes and what is printed."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from backend.commands.drill import drill
from backend.commands.drill_repeat import repetitions, worst
from backend.commands.drill_reports import spark
from backend.contract.errors import UsageError
from backend.drills.check import load_scenario
from tests.unit.drills.samples import MINIMAL
from tests.unit.drills.test_reports import MANY, stored


def call(state: Path, *words: str) -> Result:
    return CliRunner().invoke(drill, [*words, "--state", str(state)])


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("state")
    drills = top / "drills"
    drills.mkdir()
    stored(drills, "tiny-1", MANY, 1000.0)
    stored(drills, "tiny-2", [msgspec.structs.replace(r, ended_s=r.ended_s + 0.2) for r in MANY], 1001.0)
    return top


def test_compare_ends_with_six_when_it_is_worse(state: Path) -> None:
    worse = call(state, "compare", "tiny-1", "tiny-2")
    assert worse.exit_code == 6
    assert "worse" in worse.output
    assert call(state, "compare", "tiny-1", "tiny-1").exit_code == 0
    assert call(state, "compare", "tiny-2", "last").exit_code == 0


def test_history_tells_detection(state: Path) -> None:
    told = call(state, "history", "tiny")
    assert told.exit_code == 0
    assert "tiny: 1 of 2 passed; detection" in told.output
    assert "median 50 ms, max 50 ms of 2 (bounds p22 at 95 %)" in told.output
    found = json.loads(call(state, "history", "--json").output)
    assert [run["outcome"] for run in found["runs"]] == ["pass", "regression"]
    assert found["detection"]["tiny"]["count"] == 2
    assert json.loads(call(state, "history", "other", "--json").output) == {"runs": [], "detection": {}}


@pytest.mark.parametrize(
    ("option", "begins"), [("--html", "<!doctype html>"), ("--md", "# tiny"), ("--junit", "<?xml"), ("--json", "{")]
)
def test_a_report_in_each_form(state: Path, option: str, begins: str) -> None:
    told = call(state, "report", "tiny-1", option)
    assert told.exit_code == 0
    assert told.output.startswith(begins)


def test_report_open_gives_a_page_that_is_there(state: Path) -> None:
    (state / "drills" / "tiny-1" / "report.html").unlink(missing_ok=True)
    assert Path(call(state, "report", "tiny-1", "--open").output.strip()).is_file()


def test_verify_says_the_same(state: Path) -> None:
    told = call(state, "verify", "tiny-2")
    assert told.exit_code == 0
    assert "regression, the same when recomputed" in told.output


def test_an_unknown_run_is_a_usage_error(state: Path) -> None:
    assert isinstance(call(state, "report", "nothing").exception, UsageError)


def test_repeat_takes_a_number_or_a_word_of_the_drill() -> None:
    compiled = load_scenario(MINIMAL + "repeat: {ci: 5, certify: 59}\n", "t.yaml")
    assert [repetitions(compiled, word) for word in (None, "3", "ci", "certify")] == [None, 3, 5, 59]
    for wrong in ("0", "nightly", "-1", "1.5"):
        with pytest.raises(UsageError):
            repetitions(compiled, wrong)


@pytest.mark.parametrize(
    ("codes", "wanted"), [((0, 0), 0), ((0, 2), 2), ((2, 1, 0), 1), ((1, 5, 6), 5), ((6, 0), 6), ((0, 7), 7)]
)
def test_the_worst_exit_code_counts_and_dirty_outranks_all(codes: tuple[int, ...], wanted: int) -> None:
    assert worst(codes) == wanted


def test_spark_of_equal_values_is_level() -> None:
    assert spark([1.0, 1.0]) == "██"
    assert spark([0.0, 1.0]) == "▁█"
    assert spark([0.0]) == "▁"
