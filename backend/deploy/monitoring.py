"""Prometheus and Grafana for a rendered deployment: scrape configuration, alert rules, provisioning, dashboard.

Owns what is scraped. Names of metrics are the exporter's (backend/telemetry/exporter.py); the dashboard and the rules
are files of the Helm chart, so that both ways of deploying show and say the same.
"""

from __future__ import annotations

from typing import Any

from backend.deploy.places import HELM
from backend.deploy.values import Values
from backend.deploy.yaml_text import to_yaml


def render(_: Values) -> dict[str, str]:
    """All of it, for a Prometheus and a Grafana of one's own."""
    return {**prometheus_files(), **grafana_files()}


def prometheus_files() -> dict[str, str]:
    """prometheus.yml and the rules beside it."""
    return {
        "prometheus/prometheus.yml": to_yaml(prometheus(), "What Prometheus scrapes, by names of the compose network."),
        "prometheus/alerts.yaml": (HELM / "files" / "alerts.yaml").read_text("utf-8"),
    }


def prometheus() -> dict[str, Any]:
    """prometheus.yml as data. Replicas are found by DNS: each address of a service is a target."""

    def by_name(name: str, port: int) -> dict[str, Any]:
        return {"names": [name], "type": "A", "port": port}

    return {
        "global": {"scrape_interval": "15s", "evaluation_interval": "15s"},
        "rule_files": ["alerts.yaml"],
        "scrape_configs": [
            {"job_name": "trinity", "static_configs": [{"targets": ["daemon:9090"]}]},
            {"job_name": "trinity-edge", "dns_sd_configs": [by_name("edge", 9090)]},
            {"job_name": "trinity-llm", "dns_sd_configs": [by_name("llm", 8080)]},
            {"job_name": "trinity-embedding", "dns_sd_configs": [by_name("embedding", 8080)]},
        ],
    }


def grafana_files() -> dict[str, str]:
    """Provisioning: a data source, a folder of dashboards, and the dashboard."""
    source = {"name": "Prometheus", "uid": "prometheus", "type": "prometheus", "access": "proxy"}
    source |= {"url": "http://prometheus:9090", "isDefault": True}  # type: ignore[dict-item]  # YAML's own types
    provider = {
        "name": "trinity",
        "folder": "Trinity",
        "type": "file",
        "options": {"path": "/var/lib/grafana/dashboards"},
    }
    return {
        "grafana/provisioning/datasources/prometheus.yaml": to_yaml({"apiVersion": 1, "datasources": [source]}),
        "grafana/provisioning/dashboards/folder.yaml": to_yaml({"apiVersion": 1, "providers": [provider]}),
        "grafana/dashboards/trinity.json": (HELM / "files" / "dashboard.json").read_text("utf-8"),
    }
