from __future__ import annotations

from backend.contract.fleet import ExitRecord
from backend.fleet.supervision.cause import cause_line, exit_phrase

LLAMA = (
    "llama_model_loader: loading /m/x.gguf",
    "gguf_init_from_file_impl: invalid magic characters: 'nope', expected 'GGUF'",
    "llama_model_load: error loading model: llama_model_loader: failed to load model from /m/x.gguf",
    "srv    load_model: failed to load model, '/m/x.gguf'",
    "main: exiting due to model loading error",
    "",
)


def test_the_root_of_a_run_of_complaints_is_the_cause() -> None:
    assert cause_line(LLAMA) == LLAMA[1]


def test_the_end_of_a_traceback_is_the_cause() -> None:
    lines = ("Traceback (most recent call last):", '  File "x.py", line 1', "ValueError: no weights")
    assert cause_line(lines) == "ValueError: no weights"


def test_without_complaints_the_last_line_counts() -> None:
    assert cause_line(("one", "two", "  ")) == "two"
    assert cause_line(()) == ""


def test_exit_phrases() -> None:
    assert exit_phrase(ExitRecord(ts=0, code=1, last_lines=LLAMA)) == f"exit code 1: {LLAMA[1]}"
    assert exit_phrase(ExitRecord(ts=0, signal=9, reason="Killed", last_lines=("serving",))) == "killed by SIGKILL"
    assert exit_phrase(ExitRecord(ts=0, signal=11)) == "killed by SIGSEGV"
    assert exit_phrase(ExitRecord(ts=0, signal=9, reason="OOMKilled")) == "OOMKilled"
    assert exit_phrase(ExitRecord(ts=0, reason="Unknown")) == "Unknown"


def test_one_other_line_between_complaints_does_not_hide_the_root() -> None:
    lines = (
        "0.00.003.485 I srv    load_model: loading model '/m/x.gguf'",
        "0.00.045.892 E llama_model_load: error loading model: unknown model architecture: 'xlama'",
        "0.00.045.918 E srv    load_model: failed to load model, '/m/x.gguf'",
        "0.00.045.923 I srv    operator(): operator(): cleaning up before exit...",
        "0.00.046.668 E srv          init: exiting due to model loading error",
    )
    assert cause_line(lines) == "llama_model_load: error loading model: unknown model architecture: 'xlama'"
