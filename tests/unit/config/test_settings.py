"""Settings: every variable from text, ranges kept, mistakes in words; and no heavy library for it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from backend.config.settings import NAMES, BadSetting, load_settings


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def test_text_becomes_numbers_and_what_was_set_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("target_ttft_ms", " 250 ")
    settings = load_settings({"INFERENCE_PORT": "0", "model_path": " a b.gguf", "LOG_FORMAT": "json"})
    assert (settings.inference_port, settings.target_ttft_ms, settings.model_path) == (0, 250.0, " a b.gguf")
    assert settings.given == {"inference_port", "target_ttft_ms", "model_path", "log_format"}
    monkeypatch.delenv("target_ttft_ms")
    assert load_settings().given == frozenset()


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("METRICS_PORT", "65536", "at most 65535 is wanted"),
        ("METRICS_PORT", "-1", "at least 0 is wanted"),
        ("METRICS_PORT", "8.5", "a whole number is wanted"),
        ("NUM_THREADS", "", "a whole number is wanted"),
        ("NUM_THREADS", "0", "at least 1 is wanted"),
        ("TARGET_QUEUE_DEPTH", "0", "more than 0 is wanted"),
        ("TARGET_QUEUE_DEPTH", "nan", "more than 0 is wanted"),
        ("TARGET_CPU_PERCENT", "100.1", "at most 100 is wanted"),
        ("TARGET_CPU_PERCENT", "much", "a number is wanted"),
        ("LOG_PROFILE", "loud", "allowed: 'development', 'production', 'testing'"),
    ],
)
def test_what_does_not_fit_is_told_in_words(name: str, text: str, words: str) -> None:
    with pytest.raises(BadSetting) as caught:
        load_settings({name: text})
    assert caught.value.message == f"{name}: `{text}` does not fit: {words}."
    assert caught.value.next_step == "Correct it in trinity.yaml."


def test_minimum_above_maximum_is_told() -> None:
    with pytest.raises(BadSetting, match=r"MIN_INSTANCES \(4\) is larger than MAX_INSTANCES \(3\)"):
        load_settings({"MIN_INSTANCES": "4", "MAX_INSTANCES": "3"})


def test_the_daemon_loads_no_validation_library() -> None:
    """It cost a quarter of trinityd's start, and so of a crashed daemon's absence."""
    code = "import sys, backend.daemon.main; sys.exit(any(n.split('.')[0] == 'pydantic' for n in sys.modules))"
    subprocess.run([sys.executable, "-P", "-c", code], check=True)
