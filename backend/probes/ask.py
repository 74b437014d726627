"""Asking once: an HTTP path, a TCP port or a command, with a deadline.

Owns turning a ProbeSpec and a target into one answer. Every failure is an answer, none an exception.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from typing import Final

import msgspec

from backend.contract.fleet import ProbeSpec
from backend.probes.http_get import NotHttp, http_get

_CLOSED_S: Final = 0.3
"""An engine's proxy that finds no program behind it closes a connection well before."""
_STOOD_STILL_S: Final = 0.5
"""A deadline that is noticed this much too late was not kept: the machine was busy, or this process stopped."""


class ProbeTarget(msgspec.Struct, frozen=True, kw_only=True):
    """Where a program can be asked. `env` is added to the environment of command probes.

    `published`: the port is an engine's, who takes every connection and closes it again where no program listens.
    """

    host: str
    port: int
    health_port: int
    env: dict[str, str] = {}
    published: bool = False


class ProbeAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What one question brought. `detail` is a short phrase for people."""

    ok: bool
    detail: str
    latency_s: float
    timed_out: bool = False


async def ask(spec: ProbeSpec, target: ProbeTarget) -> ProbeAnswer:
    """Run one probe. HTTP passes with status 200 to 399, TCP with a connection, a command with exit code 0.

    A time that ran out while we ourselves stood still says nothing about the program: it is asked once more.
    """
    answer = await _ask_once(spec, target)
    if answer.timed_out and answer.latency_s > spec.timeout_s + max(_STOOD_STILL_S, spec.timeout_s / 2):
        answer = await _ask_once(spec, target)
    return answer


async def _ask_once(spec: ProbeSpec, target: ProbeTarget) -> ProbeAnswer:
    begun, timed_out = time.monotonic(), False
    port = target.health_port if spec.port == "health" else target.port
    try:
        if spec.kind == "http":
            answer = await http_get(target.host, port, spec.path, timeout_s=spec.timeout_s)
            ok, detail = 200 <= answer.status < 400, f"HTTP {answer.status}"
        elif spec.kind == "tcp":
            ok = await _connect(target.host, port, spec.timeout_s, published=target.published)
            detail = "connected" if ok else "closed at once: nothing listens behind the published port"
        else:
            ok, detail = await _run(spec, target)
    except TimeoutError:
        ok, detail, timed_out = False, f"no answer in {spec.timeout_s:g} s", True
    except NotHttp as error:
        ok, detail = False, str(error)
    except OSError as error:
        ok, detail = False, (error.strerror or str(error)).lower()
    return ProbeAnswer(ok=ok, detail=detail, latency_s=time.monotonic() - begun, timed_out=timed_out)


async def _connect(host: str, port: int, timeout_s: float, *, published: bool) -> bool:
    """False where a published port's connection was closed at once."""
    async with asyncio.timeout(timeout_s):
        reader, writer = await asyncio.open_connection(host, port)
        try:
            if not published:
                return True
            async with asyncio.timeout(min(_CLOSED_S, timeout_s / 2)):
                return bool(await reader.read(1))
        except ConnectionError:
            return False
        except TimeoutError:
            return True
        finally:
            writer.transport.abort()


async def _run(spec: ProbeSpec, target: ProbeTarget) -> tuple[bool, str]:
    places = {"{port}": str(target.port), "{health_port}": str(target.health_port)}
    argv = [_fill(word, places) for word in spec.command]
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, **target.env},
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(spec.timeout_s):
            said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 9)
            await process.wait()
    lines = said.decode("utf-8", "replace").strip().splitlines()
    code = process.returncode
    return code == 0, f"exit code {code}" + (f": {lines[-1][:120]}" if lines and code else "")


def _fill(word: str, places: dict[str, str]) -> str:
    for name, value in places.items():
        word = word.replace(name, value)
    return word
