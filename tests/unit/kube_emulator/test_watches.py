"""Watches: resumed from a version without a gap, narrowed like lists, bookmarked, too old ones refused, and broken in
every way that a test may order."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kubernetes.aio import client, watch

from tests.kube_emulator import ADMIN_TOKEN, Emulator
from tests.kube_emulator.kinds import kind_of
from tests.kube_emulator.scenes import running_pod
from tests.kube_emulator.selectors import label_selector
from tests.kube_emulator.store import Change, Store
from tests.kube_emulator.watch import Selection, Watcher
from tests.unit.kube_emulator.talk import get, until, watching

PODS = "/api/v1/namespaces/default/pods"


def relabel(cluster: Emulator, name: str, **labels: str) -> None:
    def change(pod: dict[str, Any]) -> dict[str, Any]:
        pod["metadata"]["labels"] |= labels
        return pod

    cluster.registry.update("Pod", "default", name, change)


async def test_a_watch_from_the_version_of_a_list_tells_exactly_what_came_after(
    cluster: Emulator, http: aiohttp.ClientSession
) -> None:
    cluster.add("Pod", running_pod("a"))
    version = (await get(http, PODS))["metadata"]["resourceVersion"]
    cluster.add("Pod", running_pod("b"))
    async with watching(http, PODS, resourceVersion=version) as lines:
        relabel(cluster, "a", tier="front")
        cluster.registry.delete("Pod", "default", "b")
        assert await lines.take(3) == [("ADDED", "b"), ("MODIFIED", "a"), ("DELETED", "b")]
    await until(lambda: cluster.watches.open() == 0)


async def test_a_watch_without_a_version_begins_with_what_there_is(
    cluster: Emulator, http: aiohttp.ClientSession
) -> None:
    cluster.add("Pod", running_pod("a"))
    async with watching(http, PODS) as lines:
        cluster.add("Pod", running_pod("b"))
        assert await lines.take(2) == [("ADDED", "a"), ("ADDED", "b")]


async def test_objects_enter_and_leave_a_selection(cluster: Emulator, http: aiohttp.ClientSession) -> None:
    cluster.add("Pod", running_pod("a", app="web"))
    async with watching(http, PODS, resourceVersion=cluster.store.version, labelSelector="app=db") as lines:
        relabel(cluster, "a", tier="x")
        relabel(cluster, "a", app="db")
        relabel(cluster, "a", tier="y")
        relabel(cluster, "a", app="web")
        assert await lines.take(3) == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]


async def test_bookmarks_move_the_version_on_and_come_before_the_end(
    cluster: Emulator, http: aiohttp.ClientSession
) -> None:
    cluster.watches.bookmark_every_s = 0.05
    begin = cluster.store.version
    query = {"resourceVersion": begin, "allowWatchBookmarks": "true", "timeoutSeconds": 4}
    async with watching(http, PODS, **query) as lines:
        cluster.add("ConfigMap", {"metadata": {"name": "elsewhere"}})
        versions: list[int] = []
        while (event := await lines.next()) is not None:
            assert event["type"] == "BOOKMARK"
            assert event["object"]["kind"] == "Pod"
            versions.append(int(event["object"]["metadata"]["resourceVersion"]))
    assert set(versions) <= {begin, begin + 1} and versions == sorted(versions), "one may come before the change"
    assert versions[-1] == begin + 1


async def test_a_version_too_old_is_an_error_event_and_a_future_one_a_timeout(
    cluster: Emulator, http: aiohttp.ClientSession
) -> None:
    cluster.add("Pod", running_pod("a"))
    old = cluster.store.version
    cluster.forget_history()
    async with watching(http, PODS, resourceVersion=old) as lines:
        assert lines.answer.status == 200
        event = await lines.next()
        assert event is not None and event["type"] == "ERROR"
        assert (event["object"]["code"], event["object"]["reason"]) == (410, "Expired")
        assert event["object"]["message"].startswith(f"too old resource version: {old} (")
        assert await lines.next() is None
    assert (await get(http, PODS, watch="true", resourceVersion=old + 999))["code"] == 504


async def test_history_is_bounded(http: aiohttp.ClientSession) -> None:
    store = Store(history=3)
    for number in range(5):
        store.write("pods", {"metadata": {"namespace": "n", "name": f"p{number}"}})
    assert store.floor == store.version - 3
    assert [change.after.key[1] for change in store.since("pods", store.floor)] == ["p2", "p3", "p4"]


async def test_the_client_library_watches_lists_and_resumes(cluster: Emulator, api: client.ApiClient) -> None:
    core = client.CoreV1Api(api)
    listed = await core.list_namespaced_pod("default")
    seen = []
    async with watch.Watch() as watcher:
        stream = watcher.stream(core.list_namespaced_pod, "default", resource_version=listed.metadata.resource_version)
        cluster.add("Pod", running_pod("a"))
        async for event in stream:
            seen.append((event["type"], event["object"].metadata.name))
            if len(seen) == 1:
                await until(lambda: cluster.watches.open("pods") == 1)
                cluster.watches.drop("end")
                cluster.add("Pod", running_pod("b"))
            if len(seen) == 2:
                break
    assert seen == [("ADDED", "a"), ("ADDED", "b")]
    assert (cluster.counts.of("list", "pods"), cluster.counts.of("watch", "pods")) == (1, 2)


@pytest.mark.parametrize("ending", ["cut", "mid-line"])
async def test_a_watch_broken_on_purpose_raises_in_the_client(
    cluster: Emulator, http: aiohttp.ClientSession, ending: Any
) -> None:
    async with watching(http, PODS, resourceVersion=cluster.store.version) as lines:
        assert cluster.watches.drop(ending) == 1
        with pytest.raises((aiohttp.ClientError, ConnectionError, ValueError)):
            await lines.next()
    assert (await get(http, PODS))["kind"] == "PodList", "the server itself lives on"


async def test_a_watch_may_end_in_bytes_that_are_no_http(cluster: Emulator) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", cluster.port)
    query = f"watch=1&resourceVersion={cluster.store.version}"
    writer.write(f"GET {PODS}?{query} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\n\r\n".encode())
    await until(lambda: cluster.watches.open("pods"))
    await reader.readuntil(b"\r\n\r\n")
    cluster.watches.drop("garbage")
    assert b"this is no chunk" in await asyncio.wait_for(reader.read(), 60.0)
    writer.close()


async def test_a_stalled_watch_says_nothing_until_it_goes_on(cluster: Emulator, http: aiohttp.ClientSession) -> None:
    async with watching(http, PODS, resourceVersion=cluster.store.version) as lines:
        cluster.watches.stall(True)
        cluster.add("Pod", running_pod("a"))
        reading = asyncio.ensure_future(lines.take(1))
        await get(http, PODS)
        assert not reading.done()
        cluster.watches.stall(False)
        assert await reading == [("ADDED", "a")]


Step = tuple[str, int, str]
steps = st.lists(
    st.tuples(st.sampled_from(["put", "remove"]), st.integers(0, 4), st.sampled_from(["web", "db"])), max_size=40
)


@settings(max_examples=60, deadline=None)
@given(history=steps, listed_at=st.integers(0, 40), selector=st.sampled_from(["", "app=web", "app!=web"]))
def test_a_list_and_the_watch_after_it_are_the_store(history: list[Step], listed_at: int, selector: str) -> None:
    """Whoever lists at some moment and applies every event after it holds what the store holds at the end."""
    asyncio.run(_replay(history, listed_at, selector))


async def _replay(history: list[Step], listed_at: int, selector: str) -> None:
    store = Store()
    selection = Selection(kind_of("Pod"), "", "", label_selector(selector), None)
    held: dict[str, str] = {}
    version = store.version
    watcher = Watcher(selection)
    told: list[Change] = []
    versions = [store.version]
    for at, (act, number, app) in enumerate(history):
        if at == listed_at:
            version = store.version
            held = {s.key[1]: s.labels["app"] for s in store.all("pods") if selection.has(s)}
            store.listen(told.append)
        if act == "put":
            store.write("pods", {"metadata": {"namespace": "n", "name": f"p{number}", "labels": {"app": app}}})
        elif store.get("pods", "n", f"p{number}") is not None:
            store.remove("pods", ("n", f"p{number}"))
        assert store.version >= versions[-1]
        versions.append(store.version)
    if listed_at >= len(history):
        return
    assert [change.version for change in store.since("pods", version)] == [change.version for change in told]
    for change in told:
        shown = watcher._shown(change)
        if shown == "DELETED":
            assert held.pop(change.after.key[1], None) is not None
        elif shown is not None:
            assert (change.after.key[1] in held) is (shown == "MODIFIED")
            held[change.after.key[1]] = change.after.labels["app"]
    assert held == {s.key[1]: s.labels["app"] for s in store.all("pods") if selection.has(s)}
    past = store.snapshot("pods", version)
    for change in told:
        if change.type == "DELETED":
            past.pop(change.after.key)
        else:
            past[change.after.key] = change.after
    assert past == {s.key: s for s in store.all("pods")}
