"""Ways to talk to an emulator that several tests have in common."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from kubernetes.aio import client

from tests.kube_emulator import ADMIN_TOKEN, Emulator


def client_of(cluster: Emulator, token: str = ADMIN_TOKEN) -> client.ApiClient:
    """The client library's own client."""
    configuration = client.Configuration(host=cluster.url)
    configuration.api_key["authorization"] = token
    configuration.api_key_prefix["authorization"] = "Bearer"
    return client.ApiClient(configuration)


async def until(true: Callable[[], Any], *, within_s: float = 60.0) -> Any:
    """Waits for something; returns it."""
    end = time.monotonic() + within_s
    while not (found := true()):
        assert time.monotonic() < end, "it did not come to be"
        await asyncio.sleep(0.01)
    return found


async def get(http: aiohttp.ClientSession, path: str, **query: Any) -> dict[str, Any]:
    """A document, whatever its status."""
    async with http.get(path, params={key: str(value) for key, value in query.items()}) as answer:
        return dict(json.loads(await answer.read()))


async def page_all(http: aiohttp.ClientSession, path: str, limit: int, **query: Any) -> list[dict[str, Any]]:
    """Every page of a list, first to last."""
    pages, onward = [], ""
    while True:
        more = {"continue": onward} if onward else {}
        pages.append(await get(http, path, limit=limit, **query, **more))
        onward = pages[-1]["metadata"].get("continue", "")
        if not onward:
            return pages


@asynccontextmanager
async def watching(http: aiohttp.ClientSession, path: str, **query: Any) -> AsyncIterator[Lines]:
    """An open watch."""
    params = {"watch": "true"} | {key: str(value) for key, value in query.items()}
    async with http.get(path, params=params) as answer:
        yield Lines(answer)


class Lines:
    """The events of a watch."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.answer = answer

    async def next(self) -> dict[str, Any] | None:
        """Null at its proper end."""
        line = await asyncio.wait_for(self.answer.content.readline(), 60.0)
        return dict(json.loads(line)) if line else None

    async def take(self, count: int) -> list[tuple[str, str]]:
        """(type, name) of that many."""
        found = []
        for _ in range(count):
            event = await self.next()
            assert event is not None
            found.append((event["type"], event["object"]["metadata"]["name"]))
        return found
