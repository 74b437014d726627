"""Heads and chunks out of noise and mutated real ones: read or `Malformed`, never anything else, never much work."""

from __future__ import annotations

import contextlib
import random

import pytest

from backend.drills.proxy.framing import Body, Malformed, may_be_request, parse_answer, parse_request
from tests.fuzz.work import counted

SEEDS = [
    b"GET /v1/models?limit=1 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST /v1/chat/completions HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 17\r\n\r\n",
    b"POST /v1/embeddings HTTP/1.1\r\nTransfer-Encoding: chunked\r\nX-Trinity-Poison: m\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    b"5\r\nhello\r\n1a;x=y\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\nX: y\r\n\r\n",
]
JOINTS = [
    b"\r\n",
    b"\n",
    b"\r",
    b":",
    b" ",
    b"\x00",
    b"\xff",
    b"0",
    b"-1",
    b"HTTP/1.1",
    b"chunked",
    b"99999999999999999999",
]


def mutated(rng: random.Random) -> bytes:
    data = bytearray(rng.choice(SEEDS))
    for _ in range(rng.randrange(1, 6)):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(4):
            case 0:
                data[at : at + rng.randrange(8)] = b""
            case 1:
                data[at:at] = rng.choice(JOINTS)
            case 2:
                data[at : at + 1] = bytes([rng.randrange(256)])
            case _:
                data += rng.choice(SEEDS)[at:]
    return bytes(data)


def read_all(data: bytes, rng: random.Random) -> None:
    """As a head of either kind, and as chunks that come in pieces."""
    may_be_request(data)
    for parse in (parse_request, lambda head: parse_answer(head, b"GET")):
        with contextlib.suppress(Malformed):
            parse(data)
    body = Body("chunked")
    with contextlib.suppress(Malformed):
        while data and not body.complete:
            taken = body.take(data[: rng.randrange(1, 20)])
            assert taken > 0 or body.complete
            data = data[taken:]


@pytest.mark.parametrize("seed", range(4))
def test_heads_and_chunks_from_noise(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(2500):
        data = mutated(rng)
        _, calls = counted(lambda data=data: read_all(data, rng))
        assert calls <= 5000 + 20 * len(data), data
