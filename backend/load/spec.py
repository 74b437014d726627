"""What a load run is: one frozen struct, and the sentences for a wrong one. Sends nothing."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

import msgspec

from backend.contract.errors import UsageError

RequestKind = Literal["completion", "chat", "embeddings", "get"]
Arrival = Literal["poisson", "constant"]

PATHS: dict[RequestKind, str] = {
    "completion": "/v1/completions",
    "chat": "/v1/chat/completions",
    "embeddings": "/v1/embeddings",
    "get": "",
}


class LoadSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One open-loop run. With neither `count` nor `duration_s` it goes on until it is stopped."""

    url: str
    """`http://host:port`, with a path to use instead of the kind's own."""
    kind: RequestKind = "completion"
    rate: float = 1.0
    """Arrivals per second."""
    arrival: Arrival = "poisson"
    count: int | None = None
    duration_s: float | None = None
    """Length of the schedule; requests in flight at its end are waited for."""
    concurrency: int = 1000
    """Most requests in flight. An arrival above it is not sent, is counted, and marks the run as overloaded."""
    prompt_tokens_min: int = 10
    prompt_tokens_max: int = 200
    """Built-in prompts have log-uniform lengths in this range. Embeddings take sentences of a fixed corpus instead."""
    prompts_file: str | None = None
    """One prompt a line, or JSON lines: a string, or an object with `prompt`. Used in turn."""
    model: str = ""
    max_tokens: int = 32
    temperature: float = 0.0
    stream_fraction: float = 1.0
    """Share of completion and chat requests that stream."""
    deadline_s: float = 600.0
    """From the send; later answers are failures (`timeout`)."""
    slow_over_s: float | None = None
    """A good answer slower than this (from its intended send) is `slow`."""
    retries: int = 0
    """How often the client itself sends a failed or shed request again, at once. Each is a request of its own: a row
    with the arrival's intended time, an id of its own and `attempt` 2, 3, ..."""
    golden: bool = False
    """Embeddings: a vector that differs from the first answer for the same text makes the answer `wrong`."""
    cosine_min: float = 0.9999
    """Least cosine to the first answer that still counts as the same."""
    dimensions: int | None = None
    """Of each vector; null takes those of the first answer."""
    grace_s: float = 30.0
    """After a stop: how long requests in flight may still finish."""
    seed: int = 0
    keepalive: bool = False
    """Reuse connections; otherwise one connection a request."""
    headers: dict[str, str] = {}
    api_key: str | None = None
    run_id: str = ""
    """Part of each request id; a random one where empty."""
    fleet: str = "local"
    workload: str = "llm"
    drill_run: str | None = None


class Target(msgspec.Struct, frozen=True):
    """Where a spec's requests go."""

    host: str
    port: int
    path: str
    tls: bool
    authority: str
    """For the Host header."""


def target_of(spec: LoadSpec) -> Target:
    """Split and complete the URL. Raises UsageError."""
    try:
        parts = urlsplit(spec.url)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"The URL {spec.url!r} is wrong: {error}.", "Write it like http://127.0.0.1:8080.") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"The URL {spec.url!r} is not an HTTP URL.", "Write it like http://127.0.0.1:8080.")
    path = parts.path if parts.path not in ("", "/") else PATHS[spec.kind] or "/"
    if parts.query:
        path += f"?{parts.query}"
    if any(character <= " " or character == "\x7f" for character in path):
        raise UsageError(f"The URL {spec.url!r} holds a space or control character.", "Percent-encode it.")
    tls = parts.scheme == "https"
    return Target(parts.hostname, port or (443 if tls else 80), path, tls, parts.netloc.rpartition("@")[2])


def check_spec(spec: LoadSpec) -> None:
    """Raise UsageError for values no run can have."""
    target_of(spec)
    wrong = ""
    if not 0.0 < spec.rate <= 100_000.0:
        wrong = f"rate is {spec.rate:g}, it must be above 0 and at most 100000 a second"
    elif spec.count is not None and spec.count < 1:
        wrong = f"count is {spec.count}, it must be at least 1"
    elif spec.duration_s is not None and not 0.0 < spec.duration_s < float("inf"):
        wrong = f"duration_s is {spec.duration_s:g}, it must be above 0"
    elif spec.concurrency < 1:
        wrong = f"concurrency is {spec.concurrency}, it must be at least 1"
    elif not 1 <= spec.prompt_tokens_min <= spec.prompt_tokens_max:
        wrong = f"prompt lengths {spec.prompt_tokens_min} to {spec.prompt_tokens_max} are not a range"
    elif spec.max_tokens < 1:
        wrong = f"max_tokens is {spec.max_tokens}, it must be at least 1"
    elif not 0.0 <= spec.stream_fraction <= 1.0:
        wrong = f"stream_fraction is {spec.stream_fraction:g}, it must be from 0 to 1"
    elif not spec.deadline_s > 0.0 or not spec.grace_s >= 0.0:
        wrong = "deadline_s must be above 0 and grace_s at least 0"
    elif not 0 <= spec.retries <= 100:
        wrong = f"retries is {spec.retries}, it must be from 0 to 100"
    elif not -1.0 <= spec.cosine_min <= 1.0:
        wrong = f"cosine_min is {spec.cosine_min:g}, it must be from -1 to 1"
    elif spec.dimensions is not None and spec.dimensions < 1:
        wrong = f"dimensions is {spec.dimensions}, it must be at least 1"
    else:
        texts = [*spec.headers, *spec.headers.values(), spec.api_key or "", spec.run_id]
        if any(character < " " or character > "~" for text in texts for character in text):
            wrong = "a header, the API key or run_id holds a character that may not stand in a header"
    if wrong:
        raise UsageError(f"The load cannot run: {wrong}.", "Correct it and start again.")
