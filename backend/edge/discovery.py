"""haproxy.cfg of an edge without a daemon: the same two layers, but a name's addresses fill the slots.

Owns how replicas are found (HAProxy's resolvers, a server template per workload) and the edge's own health and
metrics ports. Everything a request meets is config.py's: queue, retries, mercy, TTFT and log lines are the same.

One pool per workload holds the discovered servers and checks them. Slot n of the outer layer tracks server n of the
pool, and the inner proxy of slot n uses that server or none: for one that just went it makes an error of its own, which
the outer layer tries elsewhere. A health check that is answered with 404 takes a server out of the choice and lets it
finish. (The pool's servers keep their weight, though nothing balances over them: a tracked server without weight lets
no request out of the outer layer's queue.)
"""

from __future__ import annotations

from functools import partial
from typing import Final

import msgspec

from backend.config.edge_file import DiscoveredFile, EdgeAloneFile
from backend.edge import config
from backend.edge.config import CHECKS, EMPTY, EdgeFiles, milliseconds
from backend.edge.settings import EdgeSettings
from backend.edge.slots import EdgeBackend, SlotTable

RESOLVERS: Final = "trinity"
HEALTH: Final = "edge-health"
METRICS: Final = "edge-metrics"
_DRAINS: Final = "  option httpchk\n  http-check disable-on-404\n"
"""A server is tracked only by one whose proxy reads 404 in the same way."""


class Ports(msgspec.Struct, frozen=True, kw_only=True):
    """Where an edge in a container listens; 8080, 8081 and 9090 as every role does."""

    public: int = 8080
    health: int = 8081
    metrics: int = 9090
    stats: int = 8404


def backends_of(file: EdgeAloneFile) -> tuple[EdgeBackend, ...]:
    """The workloads as the two layers know them."""
    return tuple(
        EdgeBackend(
            workload=name,
            slots=workload.max_replicas,
            maxconn=workload.slots,
            routes=workload.routes,
            check_path=workload.check,
            deadline_s=workload.deadline,
        )
        for name, workload in sorted(file.workloads.items())
    )


def settings_of(file: EdgeAloneFile, ports: Ports, *, api_key: str | None, stats_password: str) -> EdgeSettings:
    """The file's settings as config.py takes them."""
    return EdgeSettings(
        host=file.listen,
        port=ports.public,
        stats_port=ports.stats,
        stats_password=stats_password,
        api_key=api_key,
        retries=file.retries,
        retry_budget=file.retry_budget,
        max_queue=file.max_queue,
        max_body_bytes=file.max_body,
        memory_limit_bytes=file.memory,
        threads=file.threads,
    )


def files_in(run_dir: str, file: EdgeAloneFile, ports: Ports) -> EdgeFiles:
    """The places of an edge whose only writable directory is `run_dir`."""
    return EdgeFiles(
        admin_socket=f"{run_dir}/admin.sock",
        slots_map=f"{run_dir}/slots.map",
        switches_map=f"{run_dir}/switches.map",
        inner_socket_prefix=f"{run_dir}/e-",
        public_bind=_bind(file, ports.public),
        stats_bind=_bind(file, ports.stats),
        log="stdout",
    )


def render(settings: EdgeSettings, files: EdgeFiles, file: EdgeAloneFile, ports: Ports) -> str:
    """The whole of haproxy.cfg. Holds no secret in the clear."""
    backends = backends_of(file)
    longest = max((b.deadline_s for b in backends), default=1.0)
    parts = [
        config.global_section(settings, files) + f"  hard-stop-after {milliseconds(longest)}\n",
        config.defaults_section(settings),
        _resolvers(file),
        config.attempts_section(),
        config.stats_section(settings, files),
        _own_ports(file, ports),
        config.public_section(settings, files, SlotTable(backends=backends), ""),
    ]
    for backend in backends:
        workload = file.workloads[backend.workload]
        also = _DRAINS if backend.check_path else ""
        parts.append(config.outer_section(settings, files, backend, {}, partial(_pooled, backend), also))
        parts.append(_pool(file, workload, backend))
        parts.extend(_inner(settings, files, backend, n) for n in range(backend.slots))
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def _bind(file: EdgeAloneFile, port: int) -> str:
    return f":::{port} v4v6" if file.listen == "::" else f"{file.listen}:{port}"


def _pooled(backend: EdgeBackend, slot: int) -> str:
    return f"{_pool_name(backend)}/s{slot}"


def _pool_name(backend: EdgeBackend) -> str:
    return f"{backend.workload}:pool"


def _resolvers(file: EdgeAloneFile) -> str:
    named = "".join(f"  nameserver n{n} {address}\n" for n, address in enumerate(file.nameservers))
    return f"""\
resolvers {RESOLVERS}
{named or "  parse-resolv-conf" + chr(10)}\
  accepted_payload_size 8192
  resolve_retries 3
  timeout resolve 1s
  timeout retry 500ms
  hold valid 1s
  hold obsolete 2s
  hold nx 3s
  hold timeout 10m
  hold refused 10m
  hold other 10m
"""


def _own_ports(file: EdgeAloneFile, ports: Ports) -> str:
    """Health without a word about replicas: an edge without any still answers, and says so in the API's shape."""
    return f"""\
frontend {HEALTH}
  no log
  bind {_bind(file, ports.health)}
  http-request return status 503 content-type text/plain string "stopping\\n" if {{ stopping }} !{{ path /health/live }}
  http-request return status 200 content-type text/plain string "ok\\n" if {{ path -m beg /health }}
  http-request return status 404

frontend {METRICS}
  no log
  bind {_bind(file, ports.metrics)}
  http-request use-service prometheus-exporter if {{ path /metrics }}
  http-request return status 404
"""


def _pool(file: EdgeAloneFile, workload: DiscoveredFile, backend: EdgeBackend) -> str:
    check = ""
    if backend.check_path:
        check = f"  option httpchk GET {backend.check_path}\n  http-check disable-on-404\n"
    uses = "".join(
        f"  use-server s{n} if {{ fe_name {config.inner_name(backend.workload, n)} }}\n" for n in range(backend.slots)
    )
    family = "ipv6" if file.listen == "::" else "ipv4"
    return f"""\
backend {_pool_name(backend)}
{check}  http-reuse never
  timeout server {milliseconds(backend.deadline_s)}
{uses}\
  server-template s 0-{backend.slots - 1} {workload.dns}:{workload.port} check port\
 {workload.health_port or workload.port} {CHECKS}\
 resolvers {RESOLVERS} resolve-prefer {family} init-addr none
"""


def _inner(settings: EdgeSettings, files: EdgeFiles, backend: EdgeBackend, slot: int) -> str:
    named = (
        "  http-after-response set-var(txn.rep) bc_dst\n"
        f"  http-after-response set-var(txn.rep) str({EMPTY}) unless {{ var(txn.rep) -m found }}\n"
    )
    return f"""\
frontend {config.inner_name(backend.workload, slot)}
{config.inner_rules(settings, files, backend, slot, named)}\
  http-request return status 503 if !{{ srv_is_up({_pooled(backend, slot)}) }}
  default_backend {_pool_name(backend)}
"""
