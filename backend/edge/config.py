"""haproxy.cfg as a pure function of settings, files and slots.

Owns the two-layer shape: a public frontend and one edge backend per workload (queue, retries, balance), and one
inner proxy per slot (health checks, first-byte wait) on a unix socket. Writes nothing and starts nothing.

Only failures that HAProxy makes are retried. The inner layer marks them with status 425, the only status the
outer layer retries; what an engine itself answers passes through, its 503 as 429. The inner layer also ends the
mercy: a request that lost two replicas is given up, and extra attempts beyond the retry budget are not made
(`X-Trinity-End` tells the outer layer which). Both layers log one JSON line a request, joined on `u`. The file always
says what every slot should be, so a respawned HAProxy needs no replay.

No connection between the layers is used twice: a request that fails on a used one may be closed without an answer
and without a log line (HAProxy then leaves the retry to the client), so nobody would know of it.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from typing import Final

import msgspec

from backend.contract.edge import SlotAssignment
from backend.contract.mercy import EXTRA_SHARE, budget_reserve
from backend.contract.words import SlotState
from backend.edge.settings import EdgeSettings
from backend.edge.slots import EdgeBackend, SlotTable

PUBLIC_FD: Final = 11
STATS_FD: Final = 12
LOG_FD: Final = 13
PUBLIC: Final = "edge-public"
STATS: Final = "edge-stats"
ATTEMPTS: Final = "edge-attempts"
BUDGET: Final = "edge-budget"
BUDGET_WINDOW_S: Final = 10
END_KILLS: Final = "request_kills_replicas"
END_BUDGET: Final = "retry_budget_spent"
KILLS_PER_REQUEST: Final = 2
DYING_US: Final = 5000
"""A broken attempt shorter than this met a process that was already dying: not a kill of this request's own."""
EMPTY: Final = "-"
SECTIONS: Final = (
    "backend",
    "cache",
    "defaults",
    "fcgi-app",
    "frontend",
    "global",
    "http-errors",
    "listen",
    "mailers",
    "peers",
    "program",
    "resolvers",
    "ring",
    "userlist",
)
_HEADROOM_BYTES: Final = 64 * 1024
_UNUSED_PORT: Final = 9
SSE: Final = "{ res.hdr(content-type) -m beg text/event-stream }"
CHECKS: Final = (
    "inter 250ms fastinter 50ms downinter 250ms fall 2 rise 1 observe layer4 error-limit 2 on-error mark-down"
    " on-marked-down shutdown-sessions"
)
"""How a slot's server is looked after."""

OUTER_LOG: Final = (
    '{"k":"end","u":"%ID","id":"%[var(txn.rid)]","t0":"%[var(txn.t0,0)]","t1":"%[var(txn.t1,0)]","now":"%[date(0,us)]"'
    ',"pid":%pid,"be":"%b","srv":"%s","rep":"%[var(txn.rep)]","m":"%HM","p":"%[var(txn.path),json(utf8s)]"'
    ',"st":%ST,"ts":"%ts","sse":"%[var(txn.sse)]","TR":%TR,"Tw":%Tw,"Tc":%Tc,"Tr":%Tr,"Ta":%Ta,"rc":"%rc"'
    ',"bi":%U,"bo":%B,"why":"%[var(txn.why)]"}'
)
INNER_LOG: Final = (
    '{"k":"first","u":"%[var(txn.u)]","id":"%[var(txn.rid)]","t0":"%[var(txn.t0,0)]","now":"%[date(0,us)]"'
    ',"pid":%pid,"be":"%f","rep":"%[var(txn.rep)]","p":"%[var(txn.path),json(utf8s)]"'
    ',"st":%ST,"ts":"%ts","sse":"%[var(txn.sse)]","eng":"%[var(txn.engine)]"}'
)


class EdgeFiles(msgspec.Struct, frozen=True, kw_only=True):
    """Where the configuration refers to."""

    admin_socket: str
    slots_map: str
    """`<inner proxy> <replica>` per slot: the replica's name at the time of a request."""
    switches_map: str
    """`retries on|off`."""
    inner_socket_prefix: str
    """Start of the path of the inner proxies' unix sockets; short."""
    public_bind: str = f"fd@{PUBLIC_FD}"
    stats_bind: str = f"fd@{STATS_FD}"
    log: str = f"fd@{LOG_FD}"
    """By default what the shim hands over; where there is no shim, addresses."""


def inner_name(workload: str, slot: int) -> str:
    """The inner proxy of a slot, as `show stat` and the log name it."""
    return f"{workload}:{slot}"


def slot_of(inner: str) -> tuple[str, int] | None:
    """The workload and slot of an inner proxy's name; None for any other name."""
    workload, colon, number = inner.rpartition(":")
    return (workload, int(number)) if colon and number.isdigit() else None


def inner_socket(files: EdgeFiles, workload: str, slot: int) -> str:
    """A short path: the workload enters as a digest, because a unix socket path holds ~100 characters."""
    return f"{files.inner_socket_prefix}{hashlib.sha256(workload.encode()).hexdigest()[:6]}-{slot}"


def buffer_bytes(settings: EdgeSettings) -> int:
    """One request with its headers must fit one buffer, or HAProxy cannot try it again."""
    return settings.max_body_bytes + _HEADROOM_BYTES


def max_requests(settings: EdgeSettings) -> int:
    """Client connections admitted at once, so that their buffers stay within the memory limit."""
    return max(16, int(settings.memory_limit_bytes / (1.6 * buffer_bytes(settings))))


def slots_map(table: SlotTable) -> str:
    """The text of the slots map: every declared slot has a line, because `set map` cannot add one."""
    names = {(a.workload, a.slot): a.replica for a in table.filled}
    lines = [
        f"{inner_name(b.workload, n)} {names.get((b.workload, n), EMPTY)}"
        for b in table.backends
        for n in range(b.slots)
    ]
    return "".join(f"{line}\n" for line in lines)


def switches_map(table: SlotTable) -> str:
    """The text of the switches map: one line a workload."""
    lines = (f"{b.workload} {'on' if table.retries_of(b.workload) else 'off'}\n" for b in table.backends)
    return "".join(lines) or "- on\n"


def split_snippet(text: str) -> tuple[str, str]:
    """The user's lines for the public frontend, and the whole sections that follow them."""
    lines = text.splitlines()
    for index, line in enumerate(lines):
        if line.split(maxsplit=1)[:1] and line.split(maxsplit=1)[0] in SECTIONS and not line[0].isspace():
            return "\n".join(lines[:index]), "\n".join(lines[index:])
    return text, ""


def render(settings: EdgeSettings, files: EdgeFiles, table: SlotTable, snippet: str = "") -> str:
    """The whole of haproxy.cfg. Holds no secret in the clear: keys and passwords enter as digests."""
    rules, sections = split_snippet(snippet)
    parts = [
        global_section(settings, files),
        defaults_section(settings),
        attempts_section(),
        stats_section(settings, files),
        public_section(settings, files, table, rules),
    ]
    for backend in table.backends:
        filled = {a.slot: a for a in table.filled if a.workload == backend.workload}
        parts.append(outer_section(settings, files, backend, filled))
        parts.extend(_inner(settings, files, backend, n, filled.get(n)) for n in range(backend.slots))
    if sections:
        parts.append(sections)
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def structure_digest(settings: EdgeSettings, files: EdgeFiles, backends: tuple[EdgeBackend, ...], snippet: str) -> str:
    """Digest of what only a reload can change: everything but the slots' contents."""
    empty = SlotTable(backends=backends)
    return hashlib.sha256(render(settings, files, empty, snippet).encode()).hexdigest()[:16]


def json_error(status: int, kind: str, code: str, message: str, *, retry_after: bool = True) -> str:
    """`status ... content-type ... lf-string ...` of an OpenAI-shaped error, with the request's id in it."""
    body = (
        f'{{"error":{{"message":"{message}","type":"{kind}","param":null,"code":"{code}",'
        f'"request_id":"%[var(txn.rid)]"}}}}'
    )
    retry = " hdr Retry-After 1" if retry_after and status in (429, 503) else ""
    return f"status {status} content-type application/json{retry} lf-string '{body}'"


def global_section(settings: EdgeSettings, files: EdgeFiles) -> str:
    """Process-wide limits, the runtime socket and the access log."""
    requests = max_requests(settings)
    return f"""\
# Written by Trinity at every change of a slot; edits are lost. Add lines of your own through edge.snippet.
global
  nbthread {settings.threads}
  maxconn {2 * requests + 128}
  no strict-limits
  tune.bufsize {buffer_bytes(settings)}
  tune.memory.hot-size 33554432
  stats socket {files.admin_socket} mode 600 level admin
  stats timeout 1h
  log {files.log} len 16384 format raw local0
"""


def defaults_section(settings: EdgeSettings) -> str:
    """Time-outs, and the edge's own errors in the API's shape."""
    errors = "\n".join(
        f"  http-error {json_error(*error)}"
        for error in (
            (400, "invalid_request_error", "bad_request", "The request is not valid HTTP."),
            (408, "invalid_request_error", "request_timeout", "The request did not arrive in time."),
            (
                413,
                "invalid_request_error",
                "request_too_large",
                f"The body exceeds {settings.max_body_bytes} bytes (edge.max_body).",
            ),
            (500, "server_error", "edge_error", "The edge could not handle the request."),
            (502, "server_error", "replica_failed", "The replica failed before it answered."),
            (503, "server_error", "no_replica", "No replica could take the request in time."),
            (504, "server_error", "deadline_exceeded", "The replica did not answer within the deadline."),
        )
    )
    return f"""\
defaults
  mode http
  log global
  timeout connect 1s
  timeout client 600s
  timeout server 600s
  timeout queue 600s
  timeout http-request 60s
  timeout http-keep-alive 60s
  timeout check {milliseconds(settings.check_timeout_s)}
  option http-no-delay
  option abortonclose
  retries 0
{errors}
"""


def attempts_section() -> str:
    """The tables that count a request's kills and a workload's extra attempts."""
    return f"""\
backend {ATTEMPTS}
  stick-table type string len 64 size 100k expire 20m store gpc0

backend {BUDGET}
  stick-table type string len 64 size 1k expire 1h store gpc0_rate({BUDGET_WINDOW_S}s),gpc1_rate({BUDGET_WINDOW_S}s)
"""


def stats_section(settings: EdgeSettings, files: EdgeFiles) -> str:
    """The statistics page and HAProxy's own metrics, behind a password."""
    basic = base64.b64encode(f"{settings.stats_user}:{settings.stats_password}".encode()).decode()
    return f"""\
frontend {STATS}
  no log
  bind {files.stats_bind}
  maxconn 64
  http-request auth realm Trinity unless {{ req.fhdr(authorization),sha2(256),hex -m str {_digest(f"Basic {basic}")} }}
  http-request use-service prometheus-exporter if {{ path /metrics }}
  stats enable
  stats uri /
  stats refresh 2s
  stats show-legends
"""


def public_section(settings: EdgeSettings, files: EdgeFiles, table: SlotTable, rules: str) -> str:
    """Where clients come in: ids, the key, limits, routes."""
    key = ""
    if settings.api_key:
        refusal = json_error(401, "invalid_request_error", "invalid_api_key", "A valid API key is required.")
        accept = f"{{ req.fhdr(authorization),sha2(256),hex -m str {_digest(f'Bearer {settings.api_key}')} }}"
        key = f"  http-request return {refusal} unless {accept}\n  http-request del-header Authorization\n"
    routes = [(route, b.workload) for b in table.backends for route in b.routes]
    routes.sort(key=lambda r: (-len(r[0]), r))
    use = "".join(f"  use_backend {workload} if {{ path -m beg -- {route} }}\n" for route, workload in routes)
    known = "".join(f"  acl trinity_routed path -m beg -- {route}\n" for route, _ in routes)
    missing = json_error(404, "invalid_request_error", "unknown_route", "No workload serves this path.")
    too_large = json_error(
        413,
        "invalid_request_error",
        "request_too_large",
        f"The body exceeds {settings.max_body_bytes} bytes (edge.max_body).",
    )
    unless = "unless trinity_routed" if routes else ""
    own = "".join(f"  {line.strip()}\n" for line in rules.splitlines() if line.strip())
    return f"""\
frontend {PUBLIC}
  bind {files.public_bind}
  maxconn {max_requests(settings)}
  option http-buffer-request
  option idle-close-on-response
  option dontlognull
  log-format '{OUTER_LOG}'
  unique-id-format %pid-%Ts-%rt
  http-request set-var(txn.t0) date(0,us)
  http-request set-var(txn.path) path,bytes(0,512)
  http-request set-var(txn.rid) req.fhdr(x-request-id),regsub([^A-Za-z0-9._:-],,g),bytes(0,128)
  http-request set-var(txn.rid) uuid if !{{ var(txn.rid) -m len gt 0 }}
  http-request set-header X-Request-ID %[var(txn.rid)]
  http-request set-header X-Trinity-Uid %[unique-id]
  http-after-response set-header X-Request-ID %[var(txn.rid)]
{own}{key}{known}  http-request return {missing} {unless}
  http-request return {too_large} if {{ req.body_size gt {settings.max_body_bytes} }}
  http-request return {too_large} if {{ req.body_len gt {settings.max_body_bytes} }}
{use}"""


def outer_section(
    settings: EdgeSettings,
    files: EdgeFiles,
    backend: EdgeBackend,
    filled: dict[int, SlotAssignment],
    tracked: Callable[[int], str] | None = None,
    also: str = "",
) -> str:
    """A workload's edge backend. `tracked(slot)`: whose health a slot has, as `proxy/server`; `also`: further lines."""
    at = tracked or (lambda slot: f"{inner_name(backend.workload, slot)}/s")
    retry = ""
    if settings.retries:
        retry = """\
  retry-on conn-failure empty-response junk-response 425
  retries 5
  option redispatch 1
"""
        off = f"{{ str({backend.workload}),map({files.switches_map},on) -m str off }}"
        retry += f"  http-request disable-l7-retry if {off}\n"
    failed = json_error(503, "server_error", "replica_failed", "The replicas failed before they answered.")
    full = json_error(
        429, "rate_limit_error", "queue_full", f"{settings.max_queue} requests wait already (edge.max_queue)."
    )
    servers = "".join(
        f"  server s{n} unix@{inner_socket(files, backend.workload, n)} track {at(n)}"
        f" maxconn {filled[n].maxconn if n in filled else backend.maxconn}"
        f"{' weight 0' if n in filled and filled[n].state is SlotState.DRAIN else ' weight 1'}\n"
        for n in range(backend.slots)
    )
    deadline = milliseconds(backend.deadline_s + 5)
    return f"""\
backend {backend.workload}
  balance leastconn
{also}  option http-server-close
  http-request return {full} if {{ queue({backend.workload}) ge {settings.max_queue} }}
{retry}  http-request track-sc1 str({backend.workload}) table {BUDGET}
  http-request sc-inc-gpc1(1)
  timeout queue {milliseconds(backend.deadline_s)}
  timeout server {deadline}
  http-response set-var(txn.t1) date(0,us)
  http-response set-var(txn.rep) res.hdr(x-trinity-replica)
  http-response set-var(txn.sse) bool(true) if {SSE}
  http-response set-var(txn.why) res.hdr(x-trinity-end)
  http-response del-header X-Trinity-End
{_mercy_ends()}  http-response return {failed} if {{ status 425 }}
{servers}"""


def _inner(
    settings: EdgeSettings, files: EdgeFiles, backend: EdgeBackend, slot: int, filled: SlotAssignment | None
) -> str:
    name = inner_name(backend.workload, slot)
    check = f"  option httpchk GET {backend.check_path}\n" if backend.check_path else ""
    address = f"{filled.host}:{filled.port}" if filled else f"127.0.0.1:{_UNUSED_PORT}"
    check_port = filled.check_port if filled else _UNUSED_PORT
    off = "" if filled and filled.state is not SlotState.MAINT else " disabled"
    named = f"  http-request set-var(txn.rep) str({name}),map({files.slots_map},{EMPTY})\n"
    return f"""\
listen {name}
{check}  http-reuse never
  timeout server {milliseconds(backend.deadline_s)}
{inner_rules(settings, files, backend, slot, named)}\
  server s {address} check port {check_port} {CHECKS}{off}
"""


def inner_rules(settings: EdgeSettings, files: EdgeFiles, backend: EdgeBackend, slot: int, named: str) -> str:
    """What the inner proxy of a slot does to a request and its answer; `named`: the rule that sets `txn.rep`."""
    deadline = milliseconds(backend.deadline_s)
    made_here = "!{ var(txn.engine) -m found }"
    failed = f"{made_here} {{ status 500 502 503 }}"
    killer = f"{{ sc0_get_gpc0 ge {KILLS_PER_REQUEST} }}"
    budget = _budget_rules(settings, backend, f"{failed} !{killer}")
    return f"""\
  bind unix@{inner_socket(files, backend.workload, slot)} mode 600
  option logasap
  log-format '{INNER_LOG}'
  timeout http-keep-alive 2s
  http-request set-var(txn.t0) date(0,us)
  http-request set-var(txn.u) req.hdr(x-trinity-uid)
  http-request set-var(txn.rid) req.hdr(x-request-id)
  http-request set-var(txn.path) path,bytes(0,512)
{named}  http-request track-sc0 var(txn.u) table {ATTEMPTS}
  http-request track-sc1 str({backend.workload}) table {BUDGET}
  http-request del-header X-Trinity-Uid
  http-response set-var(txn.sse) bool(true) if {SSE}
  http-response wait-for-body time {deadline} at-least 16 if {SSE}
  http-response return status 502 if {SSE} !{{ res.body_len gt 0 }}
  http-response set-var(txn.engine) bool(true)
  http-response del-header X-Trinity-End
  http-response set-header Retry-After 1 if {{ status 503 }} !{{ res.hdr(retry-after) -m found }}
  http-response set-status 429 if {{ status 503 }}
  http-after-response set-header X-Trinity-Replica %[var(txn.rep)]
  http-after-response set-var(txn.took) date(0,us),sub(txn.t0)
  http-after-response sc-inc-gpc0(0) if {made_here} {{ status 502 }} {{ var(txn.took) -m int gt {DYING_US} }}
  http-after-response set-header X-Trinity-End {END_KILLS} if {failed} {killer}
{budget}"""


def _mercy_ends() -> str:
    """What a caller is told whose request is not tried again. No Retry-After where trying again does harm."""
    kills = json_error(
        503,
        "server_error",
        END_KILLS,
        f"{KILLS_PER_REQUEST} replicas died or hung with this request, so it is not tried on another one: it may be"
        " its cause, or it met two failures by chance.",
        retry_after=False,
    )
    budget = json_error(
        503,
        "server_error",
        END_BUDGET,
        "The replica failed, and too many requests were tried twice already: this one was not.",
    )
    return f"""\
  http-response return {kills} if {{ var(txn.why) -m str {END_KILLS} }}
  http-response return {budget} if {{ var(txn.why) -m str {END_BUDGET} }}
"""


def _budget_rules(settings: EdgeSettings, backend: EdgeBackend, failed: str) -> str:
    """A failed attempt becomes a 425, for another try, while the workload's extra attempts are within its budget."""
    if not settings.retry_budget:
        return f"  http-after-response set-status 425 if {failed}\n"
    reserve = budget_reserve(backend.maxconn)
    spent = "{ var(txn.over) -m int ge 0 }"
    return f"""\
  http-after-response set-var(txn.budget) sc1_gpc1_rate,div({round(1 / EXTRA_SHARE)}),add({reserve})
  http-after-response set-var(txn.over) sc1_gpc0_rate,sub(txn.budget)
  http-after-response set-header X-Trinity-End {END_BUDGET} if {failed} {spent}
  http-after-response sc-inc-gpc0(1) if {failed} !{spent}
  http-after-response set-status 425 if {failed} !{spent}
"""


def milliseconds(seconds: float) -> str:
    """As HAProxy writes a length of time."""
    return f"{max(1, round(seconds * 1000))}ms"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest().upper()
