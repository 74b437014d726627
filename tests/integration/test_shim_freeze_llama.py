"""The hang of a real llama.cpp engine behind its live API, held by a shim: tokens stop, health does not."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from backend.contract.faults import FaultOrder
from backend.shim.client import ShimClient
from tests.integration.shim_rig import free_port, log_text, processes_about, short_dir, spec, until

base = pytest.fixture(short_dir, name="base")
QUESTION = {
    "messages": [{"role": "user", "content": "Count from one to fifty in words."}],
    "max_tokens": 64,
    "temperature": 0.0,
    "stream": True,
    "cache_prompt": False,
}


@pytest.fixture(name="replica")
async def _replica(base: Path) -> AsyncIterator[tuple[ShimClient, str, str]]:
    """The shim's client, the URL of the API and that of the health endpoints."""
    port, health = free_port(), free_port()
    env = {
        "SHIM_TEST": str(base), "PORT": str(port), "HEALTH_PORT": str(health), "SLOTS": "2", "THREADS": "2",
        "CONTEXT": "1024", "TRINITY_FAULT_SWITCH": str(base / "switch"), "TRINITY_ENVIRONMENT": "dev",
    }  # fmt: skip
    client = await ShimClient.launch(spec(base, sys.executable, "-m", "backend.serving.llm", env=env))
    await until(lambda: "Ready:" in log_text(base), "the engine is up", 60.0)
    yield client, f"http://127.0.0.1:{port}", f"http://127.0.0.1:{health}"
    if not client.gone:
        await client.stop(2.0)
    assert processes_about(base) == []


class Stream:
    """One generation, read as it comes."""

    def __init__(self, url: str) -> None:
        self.words: list[str] = []
        self.done = False
        self.task = asyncio.create_task(self._read(url))

    async def _read(self, url: str) -> None:
        async with (
            httpx.AsyncClient(timeout=60.0) as http,
            http.stream("POST", f"{url}/v1/chat/completions", json=QUESTION) as answer,
        ):
            async for line in answer.aiter_lines():
                if line == "data: [DONE]":
                    self.done = True
                elif line.startswith("data: "):
                    self.words.append(json.loads(line[6:])["choices"][0]["delta"].get("content") or "")


async def test_a_frozen_engine_gives_no_token_and_goes_on_when_it_is_healed(
    replica: tuple[ShimClient, str, str],
) -> None:
    client, url, health_url = replica
    whole = Stream(url)
    await whole.task
    assert whole.done
    cut = Stream(url)
    await until(lambda: len(cut.words) > 3, "tokens come")
    report = await client.fault(FaultOrder(id="f", kind="freeze-engine", ttl_s=20.0))
    assert report.active, report
    assert not cut.done, "the answer was too short for this test"
    async with httpx.AsyncClient(timeout=2.0) as http:
        seen = len(cut.words)
        for _ in range(3):
            assert (await http.get(f"{url}/health")).status_code == 200
            assert (await http.get(f"{health_url}/health/ready")).status_code == 200
            await asyncio.sleep(0.1)
        assert len(cut.words) - seen <= 1, "what was on its way when it froze"
        seen = len(cut.words)
        await asyncio.sleep(0.3)
        assert len(cut.words) == seen
    (healed,) = await client.heal("f")
    assert (healed.active, healed.ended_by) == (False, "heal")
    await asyncio.wait_for(cut.task, 30.0)
    assert cut.done
    assert "".join(cut.words) == "".join(whole.words)


async def test_an_idle_engine_can_be_frozen_as_well_and_its_switch_is_armed(
    replica: tuple[ShimClient, str, str],
) -> None:
    client, url, _ = replica
    report = await client.fault(FaultOrder(id="f", kind="freeze-engine", ttl_s=20.0))
    assert report.active, report
    late = Stream(url)
    await asyncio.sleep(0.5)
    assert late.words == [], report
    await client.heal("f")
    await asyncio.wait_for(late.task, 30.0)
    assert late.done
    switch = Path(client.record.spec.env["TRINITY_FAULT_SWITCH"])
    assert switch.read_text().split() == ["armed", str(client.record.pid)]
    exits = []
    client.on_exit(exits.append)
    switch.write_text("exit 42\n")
    os.kill(client.record.pid or 0, 10)
    await until(lambda: exits, "it ends")
    assert exits[0].code == 42
    await client.closed()
