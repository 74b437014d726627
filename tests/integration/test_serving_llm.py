"""A real replica: llama.cpp with the bundled model, started, asked, starved, stopped and broken."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import httpx
import openai
import psutil
import pytest

from backend.load import LoadSpec, run_load
from backend.load.prompts import planner
from backend.openai_wire import SseParser
from backend.serving.models import bundled_model
from tests.integration.serving_replicas import RunningReplica, replica


@pytest.fixture
async def running() -> AsyncIterator[RunningReplica]:
    async with replica() as started:
        yield started


@contextlib.asynccontextmanager
async def loading(gate: Path) -> AsyncIterator[RunningReplica]:
    """A replica that loads its model until `gate` is there."""
    async with replica(wait=False, program="tests.integration.programs.gated_llm", TEST_GATE=str(gate)) as starting:
        await starting.until_health("startup", lambda status: status == 503)
        yield starting


async def test_completions_chat_and_models_speak_openai(running: RunningReplica) -> None:
    async with openai.AsyncOpenAI(base_url=f"{running.url}/v1", api_key="none", max_retries=0) as client:
        models = await client.models.list()
        assert [model.id for model in models.data] == ["smollm2-135m"]
        whole = await client.completions.create(model="x", prompt="The sky is", max_tokens=5, temperature=0)
        assert whole.choices[0].text and whole.usage and whole.usage.completion_tokens == 5
        assert whole.model == "smollm2-135m"
        chat = await client.chat.completions.create(
            model="x", messages=[{"role": "user", "content": "Say hello."}], max_tokens=8, temperature=0, seed=1
        )
        assert chat.choices[0].message.content and "/" not in chat.model
        stopped = await client.completions.create(
            model="x", prompt="1, 2, 3, 4,", max_tokens=20, stop=["7"], temperature=0
        )
        assert "7" not in stopped.choices[0].text
        stream = await client.completions.create(
            model="x", prompt="The sky is", max_tokens=5, temperature=0, stream=True,
            stream_options={"include_usage": True},
        )  # fmt: skip
        pieces = [chunk async for chunk in stream]
        assert "".join(choice.text for chunk in pieces for choice in chunk.choices) == whole.choices[0].text
        assert pieces[-1].usage is not None and pieces[-1].usage.completion_tokens == 5
    async with httpx.AsyncClient(timeout=100.0) as http:
        everything = (await http.get(f"{running.url}/v1/models")).text
        assert str(bundled_model().parent) not in everything and ".gguf" not in everything


async def test_startup_is_answered_while_the_model_loads(tmp_path: Path) -> None:
    async with loading(tmp_path / "gate") as starting:
        status, body = await starting.health("startup")
        assert (status, body["reason"]) == (503, "the model is still loading")
        assert (await starting.health("live"))[0] == 200
        (tmp_path / "gate").touch()
        await starting.until_health("startup", lambda status: status == 200)
        assert (await starting.health("ready"))[0] == 200
        # The companion that answered meanwhile is gone: a replica is one process.
        replica_process = psutil.Process(starting.process.pid)
        async with asyncio.timeout(60):
            while replica_process.children():  # noqa: ASYNC110 - a process ends without telling us
                await asyncio.sleep(0.02)


async def test_a_probe_that_connected_while_loading_gets_its_answer(tmp_path: Path) -> None:
    """The companion leaves when the engine is up, but not before it has answered who connected to it."""
    async with loading(tmp_path / "gate") as starting:
        reader, writer = await asyncio.open_connection("127.0.0.1", starting.health_port)
        (tmp_path / "gate").touch()
        await starting.until_health("startup", lambda status: status == 200)
        writer.write(b"GET /health/startup HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await reader.readline()).startswith((b"HTTP/1.1 503", b"HTTP/1.1 200"))
        writer.close()


async def test_health_and_metrics_answer_while_every_slot_is_busy(running: RunningReplica) -> None:
    spec = LoadSpec(url=running.url, prompt_tokens_min=900, prompt_tokens_max=900, max_tokens=4)
    plan = planner(spec)
    async with httpx.AsyncClient(timeout=110.0) as http:
        headers = {"content-type": "application/json"}
        work = [
            asyncio.create_task(http.post(f"{running.url}/v1/completions", content=plan(i).body, headers=headers))
            for i in range(6)
        ]
        await _until_busy(http, running, 4)
        for _ in range(5):
            for url in (f"http://127.0.0.1:{running.health_port}/health/ready", f"{running.url}/metrics"):
                assert (await http.get(url)).status_code == 200
        assert not any(task.done() for task in work), "the answers came before any work was done"
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)


async def _until_busy(http: httpx.AsyncClient, running: RunningReplica, requests: int, deferred: int = 0) -> None:
    async with asyncio.timeout(100):
        while True:
            metrics = (await http.get(f"{running.url}/metrics")).text
            values = dict(line.rsplit(" ", 1) for line in metrics.splitlines() if not line.startswith("#"))
            busy, waiting = (float(values[f"llamacpp:requests_{state}"]) for state in ("processing", "deferred"))
            if busy >= requests and waiting >= deferred:
                return
            await asyncio.sleep(0.02)


@pytest.mark.timeout(300)
async def test_sigterm_finishes_the_stream_then_exits_0() -> None:
    async with replica(STOP_GRACE="250") as running:
        parser, begun = SseParser(), asyncio.Event()
        body = {"prompt": "Once upon a time", "max_tokens": 300, "temperature": 0, "stream": True, "ignore_eos": True}

        async def read_stream() -> int:
            events = 0
            async with (
                httpx.AsyncClient(timeout=100.0) as http,
                http.stream("POST", f"{running.url}/v1/completions", json=body) as answer,
            ):
                async for piece in answer.aiter_raw():
                    events += len(parser.feed(piece))
                    begun.set()
            return events

        reading = asyncio.create_task(read_stream())
        await begun.wait()
        running.stop()
        answer = await running.until_health("ready", lambda status: status == 503)
        assert answer["state"] == "draining"
        assert (await running.health("live"))[0] == 200
        assert not parser.done
        assert await reading > 295
        assert parser.done
        assert await running.ended() == 0


@pytest.mark.timeout(400)
async def test_no_stream_is_cut_by_sigterm() -> None:
    """Streams running and streams waiting for a slot: each ends with its mark although the stop came in its middle."""
    for life in range(3):
        async with replica(STOP_GRACE="120") as running, httpx.AsyncClient(timeout=100.0) as http:
            spec = LoadSpec(url=running.url, rate=200.0, count=6, max_tokens=100, prompt_tokens_max=20, seed=life)
            load = asyncio.create_task(run_load(spec))
            await _until_busy(http, running, 4, deferred=2)
            running.stop()
            code = await running.ended(130.0)
            summary = await load
            assert code == 0, running.stderr.decode()
            assert (summary.ok, summary.total) == (6, 6), summary.terminations
            assert b"no request was running" in running.stderr


async def test_a_connected_idle_client_does_not_hold_up_the_stop() -> None:
    async with replica(STOP_GRACE="600") as running:
        with closing(socket.create_connection(("127.0.0.1", running.port))):
            running.stop()
            assert await running.ended() == 0


async def test_the_grace_is_a_deadline() -> None:
    async with replica(STOP_GRACE="0.5") as running, httpx.AsyncClient(timeout=60.0) as http:
        body = {"prompt": "Once", "max_tokens": 1500, "ignore_eos": True}
        work = asyncio.create_task(http.post(f"{running.url}/v1/completions", json=body))
        await _until_busy(http, running, 1)
        start = time.monotonic()
        running.stop()
        assert await running.ended() == 0
        assert time.monotonic() - start > 0.4
        assert b"1 request(s) unfinished" in running.stderr
        with pytest.raises(httpx.HTTPError):
            await work


async def test_sigterm_while_loading_ends_it_at_once(tmp_path: Path) -> None:
    async with loading(tmp_path / "gate") as starting:
        starting.stop()
        assert await starting.ended() in (-signal.SIGTERM, 0)
        assert await _gone(starting.health_port)


async def _gone(port: int) -> bool:
    async with asyncio.timeout(60):
        while True:
            with closing(socket.socket()) as probe:
                if probe.connect_ex(("127.0.0.1", port)) != 0:
                    return True
            await asyncio.sleep(0.02)


async def test_an_idle_replica_costs_no_processor_time(running: RunningReplica) -> None:
    process = psutil.Process(running.process.pid)
    spent: list[float] = []
    for _ in range(5):  # on a busy machine what it did for its start may not be over yet
        before = process.cpu_times()
        await asyncio.sleep(2.0)  # the measured interval itself
        after = process.cpu_times()
        spent.append((after.user + after.system) - (before.user + before.system))
        if spent[-1] <= 0.02:
            return
    raise AssertionError(f"it was never idle: {spent}")


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda data: data[: len(data) // 2], "truncated"),
        (lambda data: b"GGML" + data[4:], "not a GGUF model file"),
        (lambda data: data[:10], "too short"),
        (lambda data: data[:4] + b"\x01" + data[5:], "GGUF version 1"),
        (None, "no such model file"),
    ],
)
async def test_a_bad_model_file_is_one_sentence_and_nothing_starts(
    tmp_path: Path, damage: object, sentence: str
) -> None:
    path = tmp_path / "model.gguf"
    if callable(damage):
        path.write_bytes(damage(bundled_model().read_bytes()))
    async with replica(wait=False, MODEL_PATH=str(path)) as failing:
        assert await failing.ended() == 64
        (line,) = failing.stderr.decode().splitlines()
        assert sentence in line and str(path) in line


async def test_what_only_the_engine_can_know_is_its_own_last_word(tmp_path: Path) -> None:
    """A well-formed file of an architecture nobody has: the engine's cause is stderr's last line, exit code 1."""
    data = bundled_model().read_bytes()
    path = tmp_path / "model.gguf"
    old = b"general.architecture" + b"\x08\0\0\0" + b"\x05\0\0\0\0\0\0\0llama"
    assert old in data[:4096]
    path.write_bytes(data.replace(old, old[:-5] + b"lxama", 1))
    async with replica(wait=False, MODEL_PATH=str(path)) as failing:
        assert await failing.ended() == 1
        last = failing.stderr.decode().splitlines()[-1]
        assert last.startswith("The engine did not start: ") and "lxama" in last


async def test_a_taken_port_is_the_last_word_too() -> None:
    with closing(socket.socket()) as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        async with replica(wait=False, PORT=str(holder.getsockname()[1])) as failing:
            assert await failing.ended() == 1
            assert "bind" in failing.stderr.decode().splitlines()[-1]


async def test_wrong_settings_are_named() -> None:
    async with replica(wait=False, SLOTS="none") as failing:
        assert await failing.ended() == 64
        assert failing.stderr.decode().startswith("SLOTS is 'none'")


async def test_two_replicas_started_at_once_are_both_ready() -> None:
    async with replica(wait=False) as one, replica(wait=False) as other:
        for each in (one, other):
            await each.until_health("ready", lambda status: status == 200)
        assert one.process.returncode is None


async def test_built_in_prompts_have_the_lengths_they_promise(running: RunningReplica) -> None:
    """The words are whole tokens for the bundled model: wanted and real lengths agree within a tenth."""
    plan = planner(LoadSpec(url=running.url, prompt_tokens_min=200, prompt_tokens_max=200))
    async with httpx.AsyncClient(timeout=100.0) as http:
        for index in range(3):
            prompt = json.loads(plan(index).body)["prompt"]
            tokens = (await http.post(f"{running.url}/tokenize", json={"content": prompt})).json()["tokens"]
            assert abs(len(tokens) - 200) <= 20


async def test_sizes_left_out_are_computed_and_clamps_are_logged() -> None:
    async with replica(SLOTS="", THREADS="", CONTEXT="", MAX_BATCH_SIZE="2", NUM_THREADS="4096") as running:
        async with httpx.AsyncClient(timeout=100.0) as http:
            slots = (await http.get(f"{running.url}/slots")).json()
        assert len(slots) == 2 and slots[0]["n_ctx"] == 4096
        assert f"NUM_THREADS 4096 -> {len(os.sched_getaffinity(0))}".encode() in running.stderr
