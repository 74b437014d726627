"""The generator as a process of its own: messages, stopping, and no orphans."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import msgspec
import psutil
import pytest

from backend.contract.errors import InternalError, Unreachable, UsageError
from backend.load import LoadProcess, LoadSpec, ProgressMessage, RowMessage, SummaryMessage
from tests.integration.load_targets import Call, answer_well, target, until


async def test_messages_come_in_order_and_the_summary_is_last() -> None:
    async with target() as (url, _calls):
        process = await LoadProcess.start(LoadSpec(url=url, rate=40.0, duration_s=1.2, stream_fraction=0.5), nice=1)
        messages = [message async for message in process]
    assert isinstance(messages[-1], SummaryMessage)
    rows = [message for message in messages if isinstance(message, RowMessage)]
    assert sum(isinstance(message, ProgressMessage) for message in messages) >= 2
    assert messages[-1].summary.total == messages[-1].summary.ok == len(rows) > 20
    assert all(message.had_first_byte for message in rows)
    assert await process.wait() == messages[-1].summary == await process.stop()
    assert not psutil.pid_exists(process.pid)


async def test_stop_is_graceful_and_idempotent() -> None:
    release = asyncio.Event()

    async def slow(call: Call) -> None:
        await release.wait()
        await answer_well(call)

    async with target(slow) as (url, calls):
        process = await LoadProcess.start(LoadSpec(url=url, rate=50.0))
        await until(lambda: len(calls) >= 5)
        stopping = asyncio.create_task(process.stop())
        await asyncio.sleep(0.2)  # the stop must be on its way before the answers are
        release.set()
        summary = await stopping
        assert summary.interrupted and summary.failed == 0
        assert summary.ok == summary.total == len(calls)
    assert await process.stop() == summary
    assert not psutil.pid_exists(process.pid)


def _be_stopped_until_the_end_of(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):  # it has ended, and was reaped at once
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    time.sleep(0.2)


async def test_who_hears_late_that_it_stopped_gets_its_summary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.load.process.STOP_MARGIN_S", 0.1)
    async with target() as (url, _calls):
        process = await LoadProcess.start(LoadSpec(url=url, rate=20.0, grace_s=0.0))
        await anext(aiter(process))
        stopping = asyncio.create_task(process.stop(grace_s=0.0))
        await asyncio.sleep(0)  # it is told to stop
        _be_stopped_until_the_end_of(process.pid)
        summary = await stopping
    assert summary.interrupted and summary.total > 0


async def test_a_killed_generator_is_an_error_not_a_hang() -> None:
    async with target() as (url, _calls):
        process = await LoadProcess.start(LoadSpec(url=url, rate=20.0))
        await anext(aiter(process))
        os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(InternalError, match="ended with code -9"):
            await process.wait()
        await process.kill()


async def test_a_generator_that_does_not_obey_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.load.process.STOP_MARGIN_S", 0.3)
    async with target() as (url, calls):
        process = await LoadProcess.start(LoadSpec(url=url, rate=50.0))
        await until(lambda: len(calls) >= 2)
        os.kill(process.pid, signal.SIGSTOP)
        with pytest.raises(InternalError, match="did not stop"):
            await process.stop(grace_s=0.1)
    assert not psutil.pid_exists(process.pid)


async def test_a_wrong_spec_starts_nothing_and_a_bad_host_is_said() -> None:
    with pytest.raises(UsageError, match="rate"):
        await LoadProcess.start(LoadSpec(url="http://x", rate=-1.0))
    process = await LoadProcess.start(LoadSpec(url="http://no-such-host.invalid", count=1))
    with pytest.raises(Unreachable, match="does not resolve"):
        await process.wait()
    await process.kill()


async def test_the_generator_dies_with_its_parent() -> None:
    program = textwrap.dedent(
        """
        import asyncio, sys
        from backend.load import LoadProcess, LoadSpec
        async def main():
            process = await LoadProcess.start(LoadSpec(url=sys.argv[1], rate=5.0))
            async for message in process:
                print(process.pid, flush=True)
                await asyncio.sleep(60)
        asyncio.run(main())
        """
    )
    async with target() as (url, _calls):
        parent = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, url, stdout=asyncio.subprocess.PIPE
        )
        assert parent.stdout is not None
        async with asyncio.timeout(60):
            child = psutil.Process(int(await parent.stdout.readline()))
        parent.kill()
        await parent.wait()
        await until(lambda: _has_ended(child))


def _has_ended(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # it went between the two looks
        return True


async def test_the_program_reads_a_file_or_stdin_and_stops_on_sigterm() -> None:
    async with target() as (url, calls):
        spec = msgspec.json.encode(LoadSpec(url=url, rate=50.0, count=5))
        piped = await asyncio.to_thread(
            subprocess.run, [sys.executable, "-m", "backend.load"], input=spec, capture_output=True, timeout=100
        )
        kinds = [json.loads(line)["kind"] for line in piped.stdout.splitlines()]
        assert piped.returncode == 0
        assert [kind for kind in kinds if kind != "progress"] == ["row"] * 5 + ["summary"]
        endless = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "backend.load", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        stdin = endless.stdin
        assert stdin is not None
        stdin.write(msgspec.json.encode(LoadSpec(url=url, rate=50.0)))
        stdin.close()
        seen = len(calls)
        await until(lambda: len(calls) >= seen + 3)
        endless.terminate()
        out, _ = await asyncio.wait_for(endless.communicate(), 60)
        assert json.loads(out.splitlines()[-1])["summary"]["interrupted"] is True
        assert endless.returncode == 0


@pytest.mark.parametrize(
    ("spec", "word"), [(b"{", "wrong"), (b'{"url":"http://x","rat":1}', "rat"), (b'{"url":"ftp://x"}', "URL")]
)
def test_a_wrong_spec_is_one_line_and_exit_code_64(spec: bytes, word: str) -> None:
    done = subprocess.run([sys.executable, "-m", "backend.load"], input=spec, capture_output=True, timeout=100)
    (line,) = done.stdout.splitlines()
    assert done.returncode == 64
    assert json.loads(line)["kind"] == "error" and word in json.loads(line)["message"]
