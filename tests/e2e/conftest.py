"""Fixtures of the end-to-end tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.harness import RealFleet, real_fleet


@pytest.fixture(scope="module")
def fleet() -> Iterator[RealFleet]:
    """A running fleet (2 llm replicas), one for each test module."""
    with real_fleet() as running:
        yield running
