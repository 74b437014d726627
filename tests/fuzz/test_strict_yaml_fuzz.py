"""Damaged trinity.yaml files: bytes flipped, cut, doubled. The reader never fails but by a FileError."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from backend.config.fleet_file import FleetFile, read_fleet_file
from backend.contract.errors import FileError
from tests.fuzz.work import counted

GOOD = """\
trinity: 1
listen: 127.0.0.1
edge: {port: 8080, stats_port: 8404, retries: true, max_body: 1MiB}
settings:
  MAX_INSTANCES: "4"
profiles:
  production: {LOG_LEVEL: INFO}
workloads:
  llm:
    builtin: llm
    replicas: 2
  web:
    command: [python, -m, http.server, "{port}"]
    env: {A: b}
    routes: [/web]
    probes:
      readiness: {http: /, period: 500ms}
    resources: {memory: 256MiB, nice: 5}
"""
MOST_CALLS = 100_000
"""The undamaged file takes 8,000."""
_TOKENS = [
    b"\t",
    b"\x00",
    b"\xff",
    b"&a ",
    b"*a",
    b"!!python/object:os.system ",
    b"<<: ",
    b"[",
    b"{",
    b"'",
    b"\r",
    b"- ",
]


def damaged(rng: random.Random) -> bytes:
    raw = bytearray(GOOD.encode())
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(raw) + 1)
        match rng.randrange(5):
            case 0 if raw:
                raw[at % len(raw)] = rng.randrange(256)
            case 1:
                raw[at:at] = rng.choice(_TOKENS)
            case 2:
                del raw[at : at + rng.randint(1, 40)]
            case 3:
                raw = raw[:at]
            case _:
                raw[at:at] = raw[at : at + rng.randint(1, 80)]
    return bytes(raw)


def outcome(path: Path) -> FleetFile | FileError:
    """What was read, or the refusal; anything else fails the test."""
    try:
        return read_fleet_file(path)
    except FileError as error:
        return error


def test_the_undamaged_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "trinity.yaml"
    path.write_text(GOOD)
    assert set(read_fleet_file(path).workloads) == {"llm", "web"}


@pytest.mark.parametrize("seed", range(20))
def test_damaged_files_are_read_or_refused_with_a_sentence(seed: int, tmp_path: Path) -> None:
    rng, path = random.Random(seed), tmp_path / "trinity.yaml"
    refused = 0
    for _ in range(60):
        path.write_bytes(damaged(rng))
        got, calls = counted(lambda: outcome(path))
        assert calls <= MOST_CALLS
        if isinstance(got, FileError):
            refused += 1
            assert str(got).startswith(str(path))
            assert str(got).endswith(".")
    assert refused > 0


_NONSENSE = ("a" * 200_000, "[" * 5000, "- " * 3000, "? " * 2000, "a: " * 2000, "{" * 3000, "'" * 9999)


@pytest.mark.parametrize("text", _NONSENSE)
def test_deep_and_long_nonsense_is_refused_soon(text: str, tmp_path: Path) -> None:
    path = tmp_path / "trinity.yaml"
    path.write_text(text)
    got, calls = counted(lambda: outcome(path))
    assert isinstance(got, FileError)
    assert calls <= MOST_CALLS
