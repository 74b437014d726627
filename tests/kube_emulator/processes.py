"""Real processes as containers: argv and environment as a kubelet makes them, output into the logs, probes over TCP.
Every process is in a session of its own and is ended by its id.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import random
import re
import signal
from collections.abc import Mapping
from typing import Any

from tests.kube_emulator.logs import Output
from tests.kube_emulator.registry import Registry
from tests.kube_emulator.status import ApiError
from tests.kube_emulator.store import Object

_VARIABLE = re.compile(r"\$\((\w+)\)")


class Addresses:
    """A loopback address per pod, so that every pod may listen on the same port."""

    def __init__(self) -> None:
        self._next = random.randrange(2 << 16, 250 << 16)

    def take(self) -> str:
        self._next += 1
        if self._next & 255 in (0, 255):
            self._next += 2
        return f"127.{self._next >> 16 & 255}.{self._next >> 8 & 255}.{self._next & 255}"


def environment(registry: Registry, pod: Object, container: Mapping[str, Any], ip: str) -> dict[str, str]:
    """What the container's spec sets, references resolved, `$(NAME)` filled in."""
    found: dict[str, str] = {}
    for entry in container.get("env") or ():
        if "valueFrom" in entry:
            found[entry["name"]] = _referred(registry, pod, entry["valueFrom"], ip)
        else:
            found[entry["name"]] = expanded(entry.get("value", ""), found)
    return found


def _referred(registry: Registry, pod: Object, source: Mapping[str, Any], ip: str) -> str:
    if "fieldRef" in source:
        path = source["fieldRef"]["fieldPath"]
        if path in ("status.podIP", "status.podIPs"):
            return ip
        if path == "status.hostIP":
            return "127.0.0.1"
        if "[" in path:
            where, _, key = path.partition("[")
            return str((pod["metadata"].get(where.removeprefix("metadata.")) or {}).get(key.strip("']\""), ""))
        value: Any = pod
        for part in path.split("."):
            value = value.get(part, {})
        return str(value or "")
    for field, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
        if field in source:
            wanted = source[field]
            try:
                data = registry.get(kind, pod["metadata"]["namespace"], wanted["name"]).get("data") or {}
            except ApiError:
                return ""
            text = str(data.get(wanted["key"], ""))
            return base64.b64decode(text).decode() if kind == "Secret" else text
    return ""


def expanded(text: str, values: Mapping[str, str]) -> str:
    """`$(NAME)` of what is known; others stay as they are."""
    return _VARIABLE.sub(lambda found: values.get(found[1], found[0]), text)


class Process:
    """One start of one container."""

    def __init__(self, process: asyncio.subprocess.Process, reading: asyncio.Task[None]) -> None:
        self._process = process
        self._reading = reading

    @classmethod
    async def start(cls, argv: list[str], env: Mapping[str, str], output: Output, cwd: str | None) -> Process:
        """Raises OSError where there is no such program."""
        process = await asyncio.create_subprocess_exec(
            *argv,
            env=os.environ | dict(env),
            cwd=cwd,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        assert process.stdout is not None
        return cls(process, asyncio.ensure_future(_read(process.stdout, output)))

    @property
    def pid(self) -> int:
        return self._process.pid

    def signal(self, number: int) -> None:
        """To the whole session; nothing where it has ended."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    async def wait(self) -> int:
        """The exit status as a container has it: 128 + signal where a signal ended it."""
        code = await self._process.wait()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._reading), 0.5)
        self._reading.cancel()
        return 128 - code if code < 0 else code

    async def end(self, grace_s: float) -> int:
        """SIGTERM, and SIGKILL at the end of the grace."""
        self.signal(signal.SIGTERM)
        try:
            return await asyncio.wait_for(self.wait(), grace_s)
        except TimeoutError:
            self.signal(signal.SIGKILL)
            return await self.wait()


async def _read(stream: asyncio.StreamReader, output: Output) -> None:
    held = b""
    while block := await stream.read(65536):
        whole, newline, held = (held + block).rpartition(b"\n")
        if newline:
            output.say(whole)
    if held:
        output.say(held)


async def probe(spec: Mapping[str, Any], container: Mapping[str, Any], host: str) -> str:
    """Ask once, over TCP or HTTP; an empty string where it passes, else what the kubelet says of it."""
    timeout_s = float(spec.get("timeoutSeconds", 1))
    asked = spec.get("httpGet") or spec.get("tcpSocket")
    if asked is None:
        return ""
    port = _port(asked["port"], container)
    path = asked.get("path") or "/"
    url = f"http://{host}:{port}{path}"
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                if "httpGet" not in spec:
                    return ""
                writer.write(
                    f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUser-Agent: kube-probe/1.36\r\n"
                    "Accept: */*\r\nConnection: close\r\n\r\n".encode()
                )
                words = (await reader.readline()).split()
                code = int(words[1])
                return "" if 200 <= code < 400 else f"HTTP probe failed with statuscode: {code}"
            finally:
                writer.close()
    except TimeoutError:
        return f'Get "{url}": context deadline exceeded (Client.Timeout exceeded while awaiting headers)'
    except (OSError, IndexError, ValueError):
        return f'Get "{url}": dial tcp {host}:{port}: connect: connection refused'


def _port(port: int | str, container: Mapping[str, Any]) -> int:
    if isinstance(port, int):
        return port
    for entry in container.get("ports") or ():
        if entry.get("name") == port:
            return int(entry["containerPort"])
    return int(port)
