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
    "max_tokens": 120,
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
    await until(lambda: "Ready:" in log_text(base), "the engine is up", 90.0)
    yield client, f"http://127.0.0.1:{port}", f"http://127.0.0.1:{health}"
    if not client.gone:
        await client.stop(20.0)
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


async def frozen_in_its_midst(client: ShimClient, url: str) -> tuple[Stream, str]:
    """A generation whose engine was frozen before its end, and the fault. One that was over by then is let go."""
    for number in range(5):
        stream, fault = Stream(url), f"f{number}"
        await until(lambda stream=stream: stream.words, "tokens come")  # type: ignore[misc]  # bound now
        report = await client.fault(FaultOrder(id=fault, kind="freeze-engine", ttl_s=100.0))
        assert report.active, report
        seen = -1
        while len(stream.words) != seen:  # what was on its way when it froze
            seen = len(stream.words)
            await asyncio.wait([stream.task], timeout=1.0)
        if not stream.task.done():
            return stream, fault
        await client.heal(fault)
    raise AssertionError("each answer was over before its engine was frozen")


@pytest.mark.timeout(300)
async def test_a_frozen_engine_gives_no_token_and_goes_on_when_it_is_healed(
    replica: tuple[ShimClient, str, str],
) -> None:
    client, url, health_url = replica
    whole = Stream(url)
    await whole.task
    assert whole.done
    cut, fault = await frozen_in_its_midst(client, url)
    assert not cut.task.done(), "an engine that is frozen gives no last token"
    async with httpx.AsyncClient(timeout=30.0) as http:
        seen = len(cut.words)
        for _ in range(3):
            assert (await http.get(f"{url}/health")).status_code == 200
            assert (await http.get(f"{health_url}/health/ready")).status_code == 200
            await asyncio.sleep(0.1)
        assert len(cut.words) == seen
    (healed,) = await client.heal(fault)
    assert (healed.active, healed.ended_by) == (False, "heal")
    await asyncio.wait_for(cut.task, 60.0)
    assert cut.done
    assert "".join(cut.words) == "".join(whole.words)


@pytest.mark.timeout(300)
async def test_an_idle_engine_can_be_frozen_as_well_and_its_switch_is_armed(
    replica: tuple[ShimClient, str, str],
) -> None:
    client, url, _ = replica
    report = await client.fault(FaultOrder(id="f", kind="freeze-engine", ttl_s=100.0))
    assert report.active, report
    late = Stream(url)
    await asyncio.sleep(0.5)
    assert late.words == [], report
    await client.heal("f")
    await asyncio.wait_for(late.task, 60.0)
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
