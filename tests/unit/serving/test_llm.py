"""A replica's settings and its reading of the engine."""

from __future__ import annotations

import pytest

from backend.contract.errors import UsageError
from backend.serving.llm.engine import count_in_progress
from backend.serving.llm.settings import LlmSettings, read_settings
from backend.serving.startup import engine_cause


def test_an_empty_environment_gives_the_documented_defaults() -> None:
    assert read_settings({}) == LlmSettings()
    assert read_settings({"SLOTS": "", "MODEL_PATH": " ".strip()}) == LlmSettings()
    assert (LlmSettings().max_batch_size, LlmSettings().num_threads, LlmSettings().max_sequence_length) == (
        32,
        16,
        4096,
    )


def test_what_the_daemon_says_is_taken() -> None:
    settings = read_settings(
        {"PORT": "9001", "HEALTH_PORT": "9002", "SLOTS": "4", "THREADS": "1", "CONTEXT": "4096", "STOP_GRACE": "2.5"}
    )
    assert (settings.port, settings.health_port, settings.slots, settings.threads) == (9001, 9002, 4, 1)
    assert (settings.context, settings.stop_grace_s) == (4096, 2.5)


@pytest.mark.parametrize(
    ("name", "value"),
    [("PORT", "0"), ("PORT", "65536"), ("SLOTS", "x"), ("THREADS", "-1"), ("CONTEXT", "1"), ("STOP_GRACE", "nan"),
     ("STOP_GRACE", "-1"), ("PORT", "٣"), ("NUM_THREADS", "9" * 30)],
)  # fmt: skip
def test_a_wrong_value_is_named(name: str, value: str) -> None:
    with pytest.raises(UsageError, match=name):
        read_settings({name: value})


def test_work_is_what_runs_and_what_waits() -> None:
    metrics = "# HELP x\nllamacpp:requests_processing 3\nllamacpp:requests_deferred 2\nllamacpp:other 9\n"
    assert count_in_progress(metrics) == 5
    with pytest.raises(ValueError, match="do not say"):
        count_in_progress("llamacpp:other 9\n")


def test_the_cause_is_an_error_line_without_its_stamp() -> None:
    line = "0.00.044.993 E llama_model_load: error loading model: data is not within the file bounds"
    assert engine_cause(line) == "llama_model_load: error loading model: data is not within the file bounds"
    assert engine_cause("0.00.002.321 E srv         start: couldn't bind") == "srv start: couldn't bind"
    assert engine_cause("0.00.002.009 W srv          init: security") is None
    assert engine_cause("") is None
