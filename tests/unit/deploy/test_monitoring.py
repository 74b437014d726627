"""Dashboard and rules ask for metrics that the exporter has, and Prometheus for services that exist."""

from __future__ import annotations

import json
import re
from typing import Any

import yaml

from backend.deploy import compose, monitoring
from backend.deploy.values import Values
from backend.telemetry.exporter import metrics_text
from tests.unit.telemetry.test_exporter import exposition

TREE = monitoring.render(Values())
DASHBOARD: dict[str, Any] = json.loads(TREE["grafana/dashboards/trinity.json"])
ALERTS: list[dict[str, Any]] = yaml.safe_load(TREE["prometheus/alerts.yaml"])["groups"][0]["rules"]
FAMILIES = re.findall(r"^# TYPE (\w+) (\w+)", metrics_text(exposition([0.1])), re.MULTILINE)
EXPORTED = {name for name, _ in FAMILIES} | {
    f"{name}_{part}" for name, kind in FAMILIES if kind == "histogram" for part in ("bucket", "sum", "count")
}


def asked(expression: str) -> set[str]:
    """Our metrics in a PromQL expression."""
    return set(re.findall(r"\btrinity_\w+", expression))


def test_every_panel_asks_for_what_is_exported() -> None:
    expressions = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    unknown = {name for expression in expressions for name in asked(expression)} - EXPORTED
    assert not unknown
    shown = " ".join(panel["title"] for panel in DASHBOARD["panels"])
    for word in ("Request rate", "Tokens", "TTFT p50", "TTFT p99", "CPU", "Memory", "Instances", "Error rate"):
        assert word in shown


def test_panels_do_not_overlap_and_have_ids_of_their_own() -> None:
    cells: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        area = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not area & cells and at["x"] + at["w"] <= 24, panel["title"]
        cells |= area
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_every_rule_asks_for_what_is_exported_and_says_what_to_do() -> None:
    assert len(ALERTS) >= 8
    for rule in ALERTS:
        assert asked(rule["expr"]) <= EXPORTED, rule["alert"]
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"].endswith(".") and rule["annotations"]["description"].endswith(".")


def test_prometheus_scrapes_services_of_the_compose_file_at_ports_they_have() -> None:
    services = compose.project(Values())["services"]
    config = yaml.safe_load(TREE["prometheus/prometheus.yml"])
    found: set[str] = set()
    for job in config["scrape_configs"]:
        found |= {name for entry in job.get("dns_sd_configs", []) for name in entry["names"]}
        found |= {target.split(":")[0] for entry in job.get("static_configs", []) for target in entry["targets"]}
    assert found == {"daemon", "edge", "llm", "embedding"} <= set(services)
    assert all(f"prometheus/{name}" in TREE for name in config["rule_files"])


def test_grafana_finds_its_dashboard_and_its_data() -> None:
    provider = yaml.safe_load(TREE["grafana/provisioning/dashboards/folder.yaml"])["providers"][0]
    volumes = compose.project(Values())["services"]["grafana"]["volumes"]
    assert f"./grafana/dashboards:{provider['options']['path']}:ro" in volumes
    source = yaml.safe_load(TREE["grafana/provisioning/datasources/prometheus.yaml"])["datasources"][0]
    assert source["url"] == "http://prometheus:9090"
    chosen = DASHBOARD["templating"]["list"][0]["current"]["value"]
    assert chosen == source["uid"]
