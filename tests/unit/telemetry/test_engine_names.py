"""Each engine's names land on ours; what it does not export is missing, not zero."""

from __future__ import annotations

from backend.telemetry.engine_names import ENGINES, EngineMetric, read_values
from backend.telemetry.exposition import parse
from tests.unit.telemetry.scenes import SCRAPES


def test_llamacpp() -> None:
    values = read_values("llamacpp", parse((SCRAPES / "llamacpp.txt").read_text()))
    assert values == {
        EngineMetric.RUNNING: 0.0,
        EngineMetric.WAITING: 0.0,
        EngineMetric.TOKENS_OUT: 64.0,
        EngineMetric.TOKENS_IN: 3.0,
        EngineMetric.TOKENS_CACHED: 0.0,
        EngineMetric.PROGRESS: 64.0,
    }


def test_vllm_sums_its_engines_and_takes_the_fullest_cache() -> None:
    values = read_values("vllm", parse((SCRAPES / "vllm.txt").read_text()))
    assert values == {
        EngineMetric.RUNNING: 5.0,
        EngineMetric.WAITING: 4.0,
        EngineMetric.TOKENS_OUT: 620.0,
        EngineMetric.TOKENS_IN: 100.0,
        EngineMetric.TOKENS_CACHED: 32.0,
        EngineMetric.PROGRESS: 500.0,
        EngineMetric.KV_USAGE: 0.3721,
        EngineMetric.PREEMPTIONS: 1.0,
    }


def test_vllm_under_an_older_name() -> None:
    text = 'vllm:gpu_cache_usage_perc{model_name="m"} 0.7\nvllm:generation_tokens{model_name="m"} 9\n'
    values = read_values("vllm", parse(text))
    assert values == {EngineMetric.KV_USAGE: 0.7, EngineMetric.TOKENS_OUT: 9.0}


def test_the_newer_name_wins_where_both_are_exported() -> None:
    text = "vllm:gpu_cache_usage_perc 0.7\nvllm:kv_cache_usage_perc 0.1\n"
    assert read_values("vllm", parse(text)) == {EngineMetric.KV_USAGE: 0.1}


def test_nan_is_missing() -> None:
    assert read_values("llamacpp", parse("llamacpp:requests_processing NaN\n")) == {}


def test_every_engine_has_a_heartbeat_and_the_engine_none_has_nothing() -> None:
    assert all(EngineMetric.PROGRESS in table for engine, table in ENGINES.items() if engine != "none")
    assert ENGINES["none"] == {}
