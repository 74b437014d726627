"""Whether an engine still has requests, by its own account.

Owns reading that one number from llama.cpp and vLLM, and waiting until it is zero. Never stops anything.
"""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec

from backend.contract.fleet import EngineKind
from backend.probes.http_get import HttpAnswer, NotHttp, http_get

_POLL_S: Final = 0.05
_ASK_S: Final = 1.0
_BODY_BYTES: Final = 1024 * 1024
_GAUGES: Final[dict[EngineKind, tuple[str, ...]]] = {
    "llamacpp": ("llamacpp:requests_processing", "llamacpp:requests_deferred"),
    "vllm": ("vllm:num_requests_running", "vllm:num_requests_waiting"),
    "embedding": ("trinity_embedding_requests_processing",),
}


class _Slot(msgspec.Struct):
    is_processing: bool = False


def gauge_sum(exposition: str, names: tuple[str, ...]) -> float | None:
    """The sum of the named gauges in a Prometheus text, over all labels; null when none is there."""
    values = []
    for line in exposition.splitlines():
        name = line.split("{", 1)[0].split(" ", 1)[0]
        if name in names:
            try:
                values.append(float(line.rsplit("}", 1)[-1].split()[0 if "}" in line else 1]))
            except (ValueError, IndexError):
                continue
    return sum(values) if values else None


async def requests_in_progress(engine: EngineKind, host: str, port: int) -> float | None:
    """Requests the engine works on or holds back; null when it does not say. Raises OSError, TimeoutError, NotHttp."""
    answer = await _get(host, port, "/metrics")
    if answer.status == 200:
        total = gauge_sum(answer.body.decode("utf-8", "replace"), _GAUGES[engine])
        if total is not None:
            return total
    if engine != "llamacpp":
        return None
    answer = await _get(host, port, "/slots")
    try:
        slots = msgspec.json.decode(answer.body, type=list[_Slot])
    except msgspec.DecodeError:
        return None
    return float(sum(slot.is_processing for slot in slots))


async def wait_until_idle(engine: EngineKind, host: str, port: int, timeout_s: float) -> bool:
    """Wait until the engine reports no work. False after `timeout_s`; true at once for engines that do not say."""
    if engine == "none":
        return True
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                try:
                    busy = await requests_in_progress(engine, host, port)
                except ConnectionRefusedError:
                    return True
                except (OSError, TimeoutError, NotHttp):
                    busy = 1.0
                if not busy:
                    return True
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        return False


async def _get(host: str, port: int, path: str) -> HttpAnswer:
    return await http_get(host, port, path, timeout_s=_ASK_S, max_body_bytes=_BODY_BYTES)
