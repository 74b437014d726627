"""Fixtures of the end-to-end tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.console_pty import RUN, Console, Start
from tests.e2e.harness import RealFleet, real_fleet

HERE = Path(__file__).parent
LONG_S = 300
"""For a test that names no limit of its own: its fleet's start counts too, and a busy machine makes each step long."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(LONG_S))


@pytest.fixture(scope="module")
def fleet() -> Iterator[RealFleet]:
    """A running fleet (2 llm replicas), one for each test module."""
    with real_fleet() as running:
        yield running


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts consoles on terminals of their own and waits until they show the fleet."""
    opened: list[Console] = []

    def begin(before: str = "", extra: str = "", size: tuple[int, int] = (80, 24), **env: str) -> Console:
        code = RUN.format(before=before, log=str(tmp_path / "console.log"), extra=extra)
        console = Console(code, size=size, env=env)
        opened.append(console)
        console.until(lambda: console.shows("llm-1"), "the replicas are shown")
        return console

    yield begin
    for console in opened:
        console.close()
