"""Images are built from a folder with progress, and a pull that cannot be says why."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from backend.contract.errors import TrinityError, UsageError
from backend.fleet.docker_engine.client import EngineClient
from backend.fleet.docker_engine.images import build, present, pull
from tests.docker.engine import Engine

TAG = "trinity-test-built:1"


async def test_a_folder_is_built_with_progress_and_its_failure_is_named(
    engine: Engine, busybox: str, tmp_path: Path
) -> None:
    client = EngineClient(environ={"DOCKER_HOST": engine.host})
    try:
        (tmp_path / "Dockerfile").write_text(f"FROM {busybox}\nCOPY page /www/page\nRUN echo built here\n")
        (tmp_path / "page").write_text("a page")
        (tmp_path / "secret").write_text("x" * 1000)
        (tmp_path / ".dockerignore").write_text("# not needed\nsecret\n")
        steps = [step.text async for step in build(client, tmp_path, TAG)]
        assert any("Step 1/3" in step for step in steps) and any("built here" in step for step in steps)
        assert await present(client, TAG)
        assert not await present(client, "trinity-test-none:1")
        seen = await asyncio.to_thread(lambda: engine.sdk.containers.run(TAG, ["cat", "/www/page"], remove=True))
        assert seen == b"a page"
        (tmp_path / "Dockerfile").write_text(f"FROM {busybox}\nRUN exit 3\n")
        with pytest.raises(TrinityError, match=r"cannot be built .*returned a non-zero code: 3"):
            [step async for step in build(client, tmp_path, TAG)]
        with pytest.raises(UsageError, match="no Dockerfile"):
            [step async for step in build(client, tmp_path / "page", TAG)]
        with pytest.raises(TrinityError):
            [step async for step in pull(client, "127.0.0.1:9/none:1")]
    finally:
        await client.close()
        await asyncio.to_thread(lambda: engine.sdk.images.remove(TAG, force=True))
