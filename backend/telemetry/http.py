"""The fleet's own HTTP endpoints: health on one port, monitoring on another, both on the daemon's loop.

Owns the two small applications and a uvicorn server that is a guest: it takes no signals, configures no logging
and says who holds a port that is taken. Never computes a number; everything comes from the provider.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Iterator, Sequence
from typing import Final, Protocol

import msgspec
import psutil
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from backend.contract.control import SeriesPoint, Snapshot
from backend.contract.errors import PortTaken, UsageError
from backend.telemetry.exporter import CONTENT_TYPE, Exposition, dashboard_json, metrics_text, status_json

JSON: Final = "application/json"
DASHBOARD_SECONDS: Final = 600
CLOSE_GRACE_S: Final = 1


class Provider(Protocol):
    """Where the endpoints get their truth; all of it is in memory and immediate."""

    def snapshot(self) -> Snapshot: ...

    def exposition(self) -> Exposition: ...

    def series(self, seconds: int) -> Sequence[SeriesPoint]: ...


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """The body of every health answer; 200 if `ok`, else 503."""

    ok: bool
    status: str
    """`live`, `ready`, `not ready`, `started` or `starting`."""
    reason: str = ""
    workloads: dict[str, str] = {}
    """Per workload, `ready/wanted`."""


def readiness(snapshot: Snapshot) -> Health:
    """Ready: the edge is up and every workload that should have replicas has one that is Ready."""
    short = [view.name for view in snapshot.workloads if view.wanted > 0 and view.ready == 0]
    reasons = [] if snapshot.edge_up or not snapshot.has_edge else ["the edge is down"]
    if short:
        reasons.append(f"no replica is Ready in {', '.join(short)}")
    return Health(
        ok=not reasons,
        status="not ready" if reasons else "ready",
        reason="; ".join(reasons),
        workloads={view.name: f"{view.ready}/{view.wanted}" for view in snapshot.workloads},
    )


def health_app(provider: Provider) -> ASGIApp:
    """`/health/live` (the loop answers), `/health/ready`, `/health/startup` (was ready once)."""
    started = False

    async def live(_: Request) -> Response:
        return _health(Health(ok=True, status="live"))

    async def ready(_: Request) -> Response:
        return _health(readiness(provider.snapshot()))

    async def startup(_: Request) -> Response:
        nonlocal started
        now = readiness(provider.snapshot())
        started = started or now.ok
        status = "started" if started else "starting"
        return _health(Health(ok=started, status=status, reason="" if started else now.reason, workloads=now.workloads))

    routes = [Route("/health/live", live), Route("/health/ready", ready), Route("/health/startup", startup)]
    return Starlette(routes=[*routes, _index("Trinity fleet health", routes)])


def monitoring_app(provider: Provider) -> ASGIApp:
    """`/metrics` (Prometheus text), `/status` and `/dashboard?seconds=` (JSON), `/` (what there is)."""

    async def metrics(_: Request) -> Response:
        return Response(metrics_text(provider.exposition()), media_type=CONTENT_TYPE)

    async def status(_: Request) -> Response:
        return Response(status_json(provider.snapshot()), media_type=JSON)

    async def dashboard(request: Request) -> Response:
        asked = request.query_params.get("seconds", str(DASHBOARD_SECONDS))
        if not asked.isascii() or not asked.isdigit() or not 1 <= int(asked[:6]) <= 3600:
            body = {"kind": "usage", "message": f"seconds={asked} is not a whole number from 1 to 3600."}
            return Response(msgspec.json.encode(body), status_code=400, media_type=JSON)
        return Response(dashboard_json(provider.snapshot(), provider.series(int(asked))), media_type=JSON)

    routes = [Route("/metrics", metrics), Route("/status", status), Route("/dashboard", dashboard)]
    return Starlette(routes=[*routes, _index("Trinity monitoring", routes)])


def _index(title: str, routes: Sequence[Route]) -> Route:
    paths = [route.path for route in routes]
    body = f"<!doctype html><title>{title}</title><h1>{title}</h1><ul>" + "".join(
        f'<li><a href="{path}">{path}</a></li>' for path in paths
    )

    async def index(_: Request) -> Response:
        return Response(body + "</ul>\n", media_type="text/html")

    return Route("/", index)


def _health(health: Health) -> Response:
    return Response(
        msgspec.json.encode(health),
        status_code=200 if health.ok else 503,
        media_type=JSON,
        headers={"Cache-Control": "no-store"},
    )


class _Guest(uvicorn.Server):
    """uvicorn without its signal handlers: signals belong to the daemon."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Server:
    """A running endpoint. `port` is the real one where 0 was asked for; on a unix socket `host` is its path."""

    def __init__(self, guest: uvicorn.Server, task: asyncio.Task[None], host: str, port: int) -> None:
        self._guest, self._task = guest, task
        self.host, self.port = host, port

    @property
    def url(self) -> str:
        """Its root, without a slash at the end."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    async def close(self) -> None:
        """Stop listening, let answers under way end (up to a second), close. Idempotent."""
        self._guest.should_exit = True
        await asyncio.gather(self._task, return_exceptions=True)


async def serve(app: ASGIApp, host: str, port: int, *, purpose: str = "monitoring") -> Server:
    """Serve on the running loop. Raises PortTaken (with the owner's name where it can be known), or UsageError
    where the address does not exist or may not be used."""
    return await serve_on(app, await listen(host, port, purpose), purpose=purpose)


async def serve_on(app: ASGIApp, listener: socket.socket, *, purpose: str = "monitoring") -> Server:
    """Serve on a socket that listens already (TCP or unix); it is closed with the server."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=CLOSE_GRACE_S,
        server_header=False,
    )
    guest = _Guest(config)
    task = asyncio.create_task(guest.serve(sockets=[listener]), name=f"http {purpose}")
    while not guest.started and not task.done():  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.002)
    if task.done():
        listener.close()
        await task
    name = listener.getsockname()
    return Server(guest, task, *((name[0], name[1]) if isinstance(name, tuple) else (str(name), 0)))


async def listen(host: str, port: int, purpose: str) -> socket.socket:
    """A socket that listens there. Raises PortTaken and UsageError, as `serve` does."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setblocking(False)
    try:
        listener.bind((host, port))
        listener.listen(128)
    except OSError as failure:
        listener.close()
        if failure.errno == errno.EADDRINUSE:
            raise PortTaken(host, port, await asyncio.to_thread(port_owner, port), purpose) from failure
        raise UsageError(
            f"Cannot listen on {host}:{port} ({purpose}): {failure.strerror or failure}.",
            "Choose another port or address; ports below 1024 need a privileged user.",
        ) from failure
    return listener


def port_owner(port: int) -> str:
    """Who listens on a TCP port: `haproxy (pid 4711)`, or `another program` where that may not be known.

    Reads every process's descriptors: tens of milliseconds, so not on an event loop.
    """
    try:
        connections = psutil.net_connections(kind="tcp")
        holder = next(
            (c.pid for c in connections if c.status == psutil.CONN_LISTEN and c.laddr and c.laddr.port == port), None
        )
        return f"{psutil.Process(holder).name()} (pid {holder})" if holder is not None else "another program"
    except psutil.Error:
        return "another program"
