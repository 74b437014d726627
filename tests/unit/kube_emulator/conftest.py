"""An emulated cluster, and clients of it: the real client library and plain HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import pytest
from kubernetes.aio import client

from tests.kube_emulator import ADMIN_TOKEN, Emulator
from tests.unit.kube_emulator.talk import client_of


@pytest.fixture
async def cluster() -> AsyncIterator[Emulator]:
    """The API alone: pods do what the test says."""
    async with Emulator() as emulator:
        yield emulator


@pytest.fixture
async def living() -> AsyncIterator[Emulator]:
    """Three nodes, controllers and kubelets; a minute lasts half a second."""
    async with Emulator(nodes=3, controller=True, speed=120) as emulator:
        yield emulator


@pytest.fixture
async def api(cluster: Emulator) -> AsyncIterator[client.ApiClient]:
    async with client_of(cluster) as found:
        yield found


@pytest.fixture
async def http(cluster: Emulator) -> AsyncIterator[aiohttp.ClientSession]:
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    async with aiohttp.ClientSession(cluster.url, headers=headers) as session:
        yield session


@pytest.fixture
def place(tmp_path: Path) -> Callable[[str], Path]:
    return lambda name: tmp_path / name
