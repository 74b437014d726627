"""The corpus of malformed drill files: 200 of them, each with one error, its place and its remedy, and exit code 64."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from backend.contract import exit_codes
from backend.contract.errors import FileError
from backend.drills import check, library
from tests.fuzz.scenario_corpus import BASE, CORPUS, SIZE, corpus

FILES = sorted(CORPUS.glob("*.yaml"))


def error_of(path: Path) -> FileError:
    with pytest.raises(FileError) as caught:
        library.load(str(path))
    return caught.value


def test_corpus_is_what_its_program_writes() -> None:
    assert {path.name: path.read_bytes() for path in FILES} == corpus()
    assert len(FILES) == SIZE


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_malformed_file_gives_one_error_with_place_and_remedy(path: Path) -> None:
    error = error_of(path)
    lines = path.read_bytes().count(b"\n") + path.read_bytes().count(b"\r") + 2
    assert error.exit_code == exit_codes.USAGE
    assert 1 <= error.line <= lines
    assert error.column >= 1
    assert str(error).startswith(f"{path}:{error.line}:{error.column}: ")
    assert error.next_step, "what to do about it"
    assert "\n" not in str(error)
    assert len(str(error)) < 2000


def test_a_check_reads_the_file_a_bounded_number_of_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `trinity drill check` costs, in the count of its costly step; the time is the benchmark's to measure."""
    import yaml

    passes: list[str] = []
    for name in ("parse", "compose"):
        original = getattr(yaml, name)

        def counted(*args: object, _original: object = original, _name: str = name, **kwargs: object) -> object:
            passes.append(_name)
            return _original(*args, **kwargs)  # type: ignore[operator]

        monkeypatch.setattr(yaml, name, counted)
    check.load_scenario(BASE, "base")
    assert len(passes) <= 4, passes


@pytest.mark.parametrize("name", ["unknown-top-key", "nul-byte", "not-utf8", "expr-python"])
def test_command_prints_that_error_and_nothing_else(name: str) -> None:
    path = next(path for path in FILES if path.stem.endswith(name))
    done = subprocess.run(
        [sys.executable, "-m", "console.cli", "drill", "check", str(path)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == exit_codes.USAGE
    assert done.stdout == ""
    assert done.stderr == f"trinity: {error_of(path)}\n"
