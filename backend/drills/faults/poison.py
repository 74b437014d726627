"""Requests of the drill's own: the one poisoned request, and canaries sent straight to a victim. Effects only."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

from backend.contract.faults import POISON_HEADER
from backend.contract.fleet import WorkloadSpec
from backend.drills.faults.orders import marker_of
from backend.drills.faults.victims import Setting
from backend.load.http1 import Client, Exchange

POISON_DEADLINE_S = 30.0


async def send(setting: Setting) -> str:
    """Send the one request that kills each replica it reaches, through the public URL; what came of it."""
    url = urlsplit(setting.host.edge().public_url)
    marker = marker_of(setting.run_id, setting.injection.id)
    headers = {POISON_HEADER: marker, "X-Request-ID": f"{marker}:poison"}
    if setting.host.api_key:
        headers["Authorization"] = f"Bearer {setting.host.api_key}"
    began = setting.clock.mono()
    exchange = await ask(url.hostname or "127.0.0.1", url.port or 80, post(setting.spec, headers), POISON_DEADLINE_S)
    seen = exchange.seen
    said = f"status {seen.status}" if seen.status > 0 else f"no answer ({seen.error or 'closed'})"
    return f"the poisoned request got {said} after {setting.clock.mono() - began:.2f} s"


async def ask(host: str, port: int, request: bytes, timeout_s: float) -> Exchange:
    """One exchange on a connection of its own; failures are in `seen.error`."""
    client = Client(host, port, tls=None, server_name=host, keepalive=False)
    try:
        return await client.request(request, stream=False, keep_body=False, timeout_s=timeout_s)
    finally:
        client.close()


def post(spec: WorkloadSpec, headers: dict[str, str]) -> bytes:
    """A small, valid request for the workload."""
    body: dict[str, object]
    if any(route.startswith(("/v1/embeddings", "/embed")) for route in spec.routes):
        path, body = "/v1/embeddings", {"model": spec.model_alias, "input": "one sentence of the drill's own"}
    else:
        path = "/v1/chat/completions"
        body = {
            "model": spec.model_alias,
            "messages": [{"role": "user", "content": "Say one word."}],
            "max_tokens": 4,
        }
    payload = json.dumps(body).encode()
    lines = [f"POST {path} HTTP/1.1", "Host: trinity", "Content-Type: application/json"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, f"Content-Length: {len(payload)}", "", ""]).encode() + payload


def get(path: str) -> bytes:
    """A GET of `path`."""
    return f"GET {path} HTTP/1.1\r\nHost: trinity\r\n\r\n".encode()
