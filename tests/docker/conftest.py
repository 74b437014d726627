"""One engine for all tests of this folder, and an image of busybox in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docker.busybox import make_busybox
from tests.docker.engine import Engine

HERE = Path(__file__).parent
LONG_S = 300
"""For a test that names no limit of its own: the engine's start counts too, and other tests share the machine."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests of this folder need an engine: `make test` leaves them out, `make test-docker` runs them."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("docker")
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(LONG_S))


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """It runs while the tests of this folder do. $DOCKER_HOST is left alone."""
    own = Engine()
    try:
        yield own.start()
    finally:
        own.stop()


@pytest.fixture(scope="session")
def busybox(engine: Engine) -> str:
    """The reference of a small image with a shell, made from this machine's own busybox."""
    return make_busybox(engine)
