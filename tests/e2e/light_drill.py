"""A fleet for drills that costs nothing: two engines that only embed, behind the real edge, under the real daemon."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.e2e.light_fleet import LightFleet

ENGINE = Path(__file__).with_name("light_engine.py")
YAML = f"""\
trinity: 1
workloads:
  toy:
    command: [{sys.executable}, {ENGINE}, "{{port}}"]
    routes: [/v1/embeddings]
    replicas: 2
    slots: 16
    stop_grace: 1s
    drain_deadline: 30s
    probes:
      startup: {{http: /health, period: 100ms, failure_threshold: 100}}
      readiness: {{http: /health, period: 250ms}}
"""


def scenario(
    inject: str,
    *,
    name: str = "light",
    ttl: str = "60s",
    lease: str = "20s",
    hold: str = "2s",
    longest: str = "240s",
    rate: str = "20/s",
    expect: str = "[]",
) -> str:
    """A drill of a baseline, one injection (`inject`: the inside of a flow mapping) and a recovery.

    Nothing of it is judged by time: how long its limits are is no matter where all goes well."""
    return f"""\
drill: 1
name: {name}
title: A short drill on a light fleet
targets:
  pool: {{workload: toy, replicas: 2}}
  victim: {{from: pool, index: 0}}
safety:
  environments: [dev]
  blast_radius: {{max_down: 1, keep_healthy: 1}}
  max_runtime: {longest}
  fault_ttl: {ttl}
  lease: {{heartbeat: 250ms, expires: {lease}}}
  max_generator_lag: 60s
load:
  embed:
    kind: embeddings
    arrival: {{model: constant, rate: "{rate}"}}
    request: {{deadline: 60s, slow_over: 60s}}
phases:
  - name: baseline
    hold: {{for: 300ms, min_requests: {{embed: 3}}}}
    gate: true
    expect: ["ok_ratio(embed) == 1.0"]
  - name: fault
    inject:
      - {{id: it, {inject}}}
    hold: {{for: {hold}}}
    expect: {expect}
  - name: recovery
    heal: [it]
    until: {{expr: "healthy(pool) == size(pool)", within: 60s}}
    hold: {{for: 300ms}}
report: {{formats: [json]}}
"""


@contextlib.contextmanager
def light_drill_fleet(**env: str) -> Iterator[LightFleet]:
    """Such a fleet, up, both engines Ready."""
    with LightFleet(YAML, **env) as fleet:
        fleet.up()
        fleet.until_ready(2, "toy")
        yield fleet
