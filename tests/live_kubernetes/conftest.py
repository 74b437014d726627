"""The cluster that a test gets: the emulated one, or with `-m live_kubernetes` the one that KUBECONFIG names."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from backend.contract.errors import TrinityError
from tests.live_kubernetes.place import Cluster, admin_of, emulated
from tests.live_kubernetes.real import Unusable, set_up, tear_down

_MARK = "live_kubernetes"
_REAL_TEST_S = 900
_REAL_PATIENCE_S = 180.0


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The real cluster is only touched when asked for by its marker's name; then it must be there."""
    live = [item for item in items if item.get_closest_marker(_MARK)]
    if _MARK not in re.sub(rf"not\s+{_MARK}", "", str(config.option.markexpr)):
        config.hook.pytest_deselected(items=live)
        items[:] = [item for item in items if item not in live]
        return
    for item in live:
        item.add_marker(pytest.mark.timeout(_REAL_TEST_S))
    missing = [name for name in ("KUBECONFIG", "TRINITY_TEST_IMAGE") if not os.environ.get(name)]
    if live and missing:
        raise pytest.UsageError(
            f"{' and '.join(missing)} must be set for -m {_MARK}: KUBECONFIG to a kubeconfig whose current context may "
            "make namespaces, TRINITY_TEST_IMAGE to an image with /bin/sh that the cluster has or can pull."
        )


@pytest.fixture(scope="session")
def real_namespace() -> Iterator[str]:
    """One namespace for all tests, removed at the end whatever happens, with nodes as they were."""
    name = f"trinity-test-{secrets.token_hex(4)}"
    nodes: set[str] = set()
    with ThreadPoolExecutor(1) as elsewhere:  # the test's own loop runs here
        try:
            nodes = elsewhere.submit(asyncio.run, set_up(name, os.environ["TRINITY_TEST_IMAGE"])).result()
            yield name
        except (Unusable, TrinityError) as error:
            pytest.fail(f"The cluster of KUBECONFIG cannot be used: {error}", pytrace=False)
        finally:
            elsewhere.submit(asyncio.run, tear_down(name, nodes)).result()


@pytest.fixture(params=["emulated", pytest.param("real", marks=pytest.mark.live_kubernetes)])
async def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Cluster]:
    """A cluster with an empty namespace."""
    if request.param == "emulated":
        async with emulated(tmp_path) as place:
            yield place
        return
    namespace = request.getfixturevalue("real_namespace")
    admin = admin_of(None, namespace)
    try:
        place = Cluster(None, namespace, os.environ["TRINITY_TEST_IMAGE"], _REAL_PATIENCE_S, admin)
        yield place
        await place.clear()
    finally:
        await admin.close()
