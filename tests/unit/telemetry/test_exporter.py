"""The exposition: every documented name, parsed by the official parser, true to the rows."""

from __future__ import annotations

import math

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from backend.contract.control import FleetInfo, Snapshot
from backend.contract.words import Phase
from backend.quantiles import quantile
from backend.telemetry.exporter import Dashboard, Exposition, dashboard_json, metrics_text, status_json
from backend.telemetry.looplag import LoopLag
from backend.telemetry.traffic import TrafficMeter
from tests.unit.telemetry.scenes import SettableClock, replica, request, snapshot

Key = tuple[str, tuple[tuple[str, str], ...]]

DOCUMENTED = (
    "trinity_total_requests",
    "trinity_total_tokens",
    "trinity_total_errors",
    "trinity_cpu_usage_percent",
    "trinity_memory_usage_percent",
    "trinity_queue_depth",
    "trinity_active_requests",
    "trinity_instance_count",
    "trinity_healthy_instances",
    "trinity_throughput_tokens_per_second",
)


def samples(text: str) -> dict[Key, float]:
    # As gauges: the library renames counters that do not end in _total, Prometheus itself does not.
    families = text_string_to_metric_families(text.replace(" counter\n", " gauge\n"))
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def exposition(values: list[float], **fields: object) -> Exposition:
    meter = TrafficMeter("local", SettableClock())
    for value in values:
        meter.take(request(ttft_s=value, total_s=value + 1))
    state = Exposition(
        snapshot=snapshot(replicas=[replica("llm-0"), replica("llm-1", phase=Phase.STARTING, edge=False)]),
        traffic=meter.fleet(),
        workload_traffic=meter.workloads(),
        ttft_histograms=meter.ttft_histograms(),
    )
    return msgspec.structs.replace(state, **fields)


def test_every_documented_name_is_there() -> None:
    read = samples(metrics_text(exposition([0.1])))
    assert {name for name in DOCUMENTED if (name, ()) not in read} == set()
    assert ("trinity_ttft_seconds", (("quantile", "0.5"),)) in read
    assert ("trinity_ttft_seconds", (("quantile", "0.99"),)) in read


@pytest.mark.parametrize("several_fleets", [False, True])
def test_types_are_declared_once_each_and_names_do_not_repeat(several_fleets: bool) -> None:
    text = metrics_text(several() if several_fleets else exposition([0.1]))
    types = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    helps = [line.split()[2] for line in text.splitlines() if line.startswith("# HELP")]
    assert types == helps
    assert len(types) == len(set(types))
    lines = [line.rpartition(" ")[0] for line in text.splitlines() if not line.startswith("#")]
    assert len(lines) == len(set(lines))
    declared = dict.fromkeys(types)
    for line in lines:
        name = line.partition("{")[0]
        base = {name, name.removesuffix("_sum"), name.removesuffix("_count"), name.removesuffix("_bucket")}
        assert base & declared.keys(), line


def test_counters_are_counters_for_the_official_parser() -> None:
    families = {family.name: family for family in text_string_to_metric_families(metrics_text(exposition([0.1])))}
    for name in DOCUMENTED[:3]:
        assert families[name].type == "counter"
    assert families["trinity_ttft_seconds"].type == "summary"
    assert families["trinity_request_ttft_seconds"].type == "histogram"


@pytest.mark.parametrize("count", [1, 2, 99, 100, 101])
def test_quantiles_are_those_of_the_rows(count: int) -> None:
    values = [((index * 7919) % 1000) / 997 for index in range(count)]
    read = samples(metrics_text(exposition(values)))
    for q in (0.5, 0.95, 0.99):
        assert read["trinity_ttft_seconds", (("quantile", str(q)),)] == quantile(values, q)
    assert read["trinity_ttft_seconds_count", ()] == count
    assert read["trinity_ttft_seconds_sum", ()] == pytest.approx(sum(values))
    assert read["trinity_ttft_samples", ()] == count


def test_histogram_is_cumulative_and_ends_with_its_count() -> None:
    read = samples(metrics_text(exposition([0.004, 0.1, 0.1, 3.0, 99.0])))
    buckets = {
        float(dict(labels)["le"]): value
        for (name, labels), value in read.items()
        if name == "trinity_request_ttft_seconds_bucket"
    }
    assert (buckets[0.005], buckets[0.1], buckets[5.0], buckets[math.inf]) == (1, 3, 4, 5)
    assert list(buckets.values()) == sorted(buckets.values())
    assert read["trinity_request_ttft_seconds_count", (("workload", "llm"),)] == 5


def test_unknown_is_nan_and_never_zero() -> None:
    read = samples(metrics_text(exposition([])))
    for key in (
        ("trinity_ttft_seconds", (("quantile", "0.99"),)),
        ("trinity_cpu_usage_percent", ()),
        ("trinity_throughput_tokens_per_second", ()),
        ("trinity_retry_share", ()),
    ):
        assert math.isnan(read[key]), key
    assert read["trinity_ttft_samples", ()] == 0


def test_replicas_workloads_and_autoscaler() -> None:
    lag = LoopLag(count=3, p50_s=0.001, p99_s=0.01, max_s=0.02)
    read = samples(metrics_text(exposition([0.2], loop_lag=lag, tokens_out_total=1234.0)))
    first = (("replica", "llm-0"), ("workload", "llm"))
    second = (("replica", "llm-1"), ("workload", "llm"))
    assert read["trinity_replica_ready", first] == 1
    assert read["trinity_replica_ready", second] == 0
    assert read["trinity_replica_restarts_total", first] == 3
    assert read["trinity_replica_active_requests", first] == 2
    assert ("trinity_replica_active_requests", second) not in read  # The edge does not know it.
    assert read["trinity_instance_count", ()] == 2
    assert read["trinity_healthy_instances", ()] == 1
    assert read["trinity_total_tokens", ()] == 1234
    assert read["trinity_workload_queue_depth", (("workload", "llm"),)] == 5
    assert read["trinity_autoscaler_maximum", (("policy", "threshold"), ("workload", "llm"))] == 4
    assert read["trinity_loop_lag_seconds", (("quantile", "0.99"),)] == 0.01
    assert read["trinity_dropped_rows_total", ()] == 7
    assert read["trinity_edge_up", ()] == 1


def several() -> Exposition:
    infos = (
        FleetInfo(name="local", driver="local", address="local", health="ok", replicas=2),
        FleetInfo(name="k8s:x", driver="kubernetes", address="k8s:x", health="down", replicas=1),
        FleetInfo(name="docker:y", driver="docker", address="docker:y", health="starting"),  # not open
    )
    other = Exposition(snapshot=snapshot(replicas=[replica("llm-0"), replica("llm-9")]), tokens_out_total=5.0)
    return exposition([0.1], fleets=infos, others={"k8s:x": other}, tokens_out_total=1.0)


def test_of_several_fleets_each_is_told_apart_and_the_machine_stands_once() -> None:
    text = metrics_text(several())
    read = samples(text)
    for fleet, tokens in (("local", 1), ("k8s:x", 5)):
        assert read["trinity_total_tokens", (("fleet", fleet),)] == tokens
        labels = (("fleet", fleet), ("replica", "llm-0"), ("workload", "llm"))
        assert read["trinity_replica_ready", labels] == 1
    assert ("trinity_replica_ready", (("fleet", "k8s:x"), ("replica", "llm-9"), ("workload", "llm"))) in read
    assert read["trinity_fleet_ok", (("driver", "docker"), ("fleet", "docker:y"))] == 0
    assert not any(("fleet", "docker:y") in labels for name, labels in read if not name.startswith("trinity_fleet_"))
    alone = {name for name, labels in read if "fleet" not in dict(labels)}
    machine = {f"trinity_{name}" for name in ("cpu_usage_percent", "memory_usage_percent", "memory_available_bytes")}
    assert alone == machine | {"trinity_loop_lag_seconds"}


def test_one_fleet_needs_no_label_that_says_which() -> None:
    assert {name for name, labels in samples(metrics_text(exposition([0.1]))) if "fleet" in dict(labels)} == {
        "trinity_build_info"
    }


def test_labels_are_escaped() -> None:
    name = 'a"b\\c\nd'
    read = samples(metrics_text(Exposition(snapshot=snapshot(replicas=[replica(name)]))))
    assert ("trinity_replica_ready", (("replica", name), ("workload", "llm"))) in read


def test_status_is_the_snapshot() -> None:
    known = snapshot(replicas=[replica()])
    assert msgspec.json.decode(status_json(known), type=Snapshot) == known


def test_dashboard_has_the_series_and_the_replicas() -> None:
    known = snapshot(replicas=[replica()])
    read = msgspec.json.decode(dashboard_json(known, [known.point, known.point]), type=Dashboard)
    assert read.queue_depth == 5
    assert read.replicas[0].in_flight == 2
    assert len(read.series) == 2
    assert read.ttft.p99_s is None
