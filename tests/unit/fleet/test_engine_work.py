from __future__ import annotations

import asyncio

from backend.fleet.supervision.engine_work import gauge_sum, requests_in_progress, wait_until_idle

LLAMA = """# HELP llamacpp:requests_processing Number of requests processing.
# TYPE llamacpp:requests_processing gauge
llamacpp:requests_processing 2
llamacpp:requests_deferred 1
llamacpp:prompt_tokens_total 77
"""
VLLM = 'vllm:num_requests_running{engine="0",model_name="a b"} 3.0\nvllm:num_requests_waiting{engine="0"} 4.0 1700000\n'


def test_gauges_are_summed_with_and_without_labels() -> None:
    assert gauge_sum(LLAMA, ("llamacpp:requests_processing", "llamacpp:requests_deferred")) == 3.0
    assert gauge_sum(VLLM, ("vllm:num_requests_running", "vllm:num_requests_waiting")) == 7.0
    assert gauge_sum("llamacpp:requests_processing_max 2\n", ("llamacpp:requests_processing",)) is None
    assert gauge_sum("llamacpp:requests_processing rubbish\n", ("llamacpp:requests_processing",)) is None


class Engine:
    """Answers /metrics and /slots from attributes."""

    def __init__(self) -> None:
        self.metrics: str | None = None
        self.slots = "[]"
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1]
        body = self.metrics if path == b"/metrics" else self.slots
        status = 501 if body is None else 200
        writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(body or '')}\r\n\r\n{body or ''}".encode())
        await writer.drain()
        writer.close()

    async def __aenter__(self) -> Engine:
        self._server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()


async def test_slots_are_asked_where_metrics_are_off() -> None:
    async with Engine() as engine:
        engine.slots = '[{"id": 0, "is_processing": true}, {"id": 1, "is_processing": false}]'
        assert await requests_in_progress("llamacpp", "127.0.0.1", engine.port) == 1.0
        engine.slots = '{"error": "off"}'
        assert await requests_in_progress("llamacpp", "127.0.0.1", engine.port) is None


async def test_waiting_ends_when_the_engine_is_idle_or_at_the_deadline() -> None:
    async with Engine() as engine:
        engine.metrics = LLAMA
        assert not await wait_until_idle("llamacpp", "127.0.0.1", engine.port, 0.2)
        waiting = asyncio.create_task(wait_until_idle("llamacpp", "127.0.0.1", engine.port, 60.0))
        await asyncio.sleep(0)
        engine.metrics = "llamacpp:requests_processing 0\n"
        assert await waiting
    assert await wait_until_idle("llamacpp", "127.0.0.1", engine.port, 60.0)
    assert await wait_until_idle("none", "127.0.0.1", 1, 0.0)
