"""Lists: pages of one moment, tokens that expire, selectors, and the speed that big clusters need."""

from __future__ import annotations

import aiohttp
from kubernetes.aio import client

from tests.kube_emulator import Emulator
from tests.kube_emulator.__main__ import populate
from tests.kube_emulator.scenes import node, running_pod
from tests.unit.kube_emulator.talk import get, page_all

PODS = "/api/v1/namespaces/default/pods"


def names(document: dict[str, list[dict[str, dict[str, str]]]]) -> list[str]:
    return [item["metadata"]["name"] for item in document["items"]]


async def test_pages_show_one_moment_whatever_happens_between_them(
    cluster: Emulator, http: aiohttp.ClientSession
) -> None:
    for number in range(6):
        cluster.add("Pod", running_pod(f"p{number}"))
    first = await get(http, PODS, limit=2)
    assert names(first) == ["p0", "p1"] and first["metadata"]["remainingItemCount"] == 4
    cluster.add("Pod", running_pod("p3a"))
    cluster.registry.delete("Pod", "default", "p4")
    second = await get(http, PODS, limit=9, **{"continue": first["metadata"]["continue"]})
    assert names(second) == ["p2", "p3", "p4", "p5"]
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    assert names(await get(http, PODS)) == ["p0", "p1", "p2", "p3", "p3a", "p5"]


async def test_an_expired_token_is_refused_with_one_that_goes_on_from_there(
    cluster: Emulator, http: aiohttp.ClientSession
) -> None:
    for number in range(4):
        cluster.add("Pod", running_pod(f"p{number}"))
    first = await get(http, PODS, limit=2)
    cluster.forget_history()
    gone = await get(http, PODS, limit=2, **{"continue": first["metadata"]["continue"]})
    assert (gone["code"], gone["reason"]) == (410, "Expired")
    assert "continue parameter is too old" in gone["message"]
    rest = await get(http, PODS, **{"continue": gone["metadata"]["continue"]})
    assert names(rest) == ["p2", "p3"]


async def test_a_list_at_a_version_of_the_future_times_out_and_an_exact_old_one_is_shown(
    cluster: Emulator, http: aiohttp.ClientSession
) -> None:
    cluster.add("Pod", running_pod("old"))
    version = cluster.store.version
    cluster.add("Pod", running_pod("young"))
    future = await get(http, PODS, resourceVersion=version + 1000)
    assert future["code"] == 504 and "Too large resource version" in future["message"]
    exact = await get(http, PODS, resourceVersion=version, resourceVersionMatch="Exact")
    assert names(exact) == ["old"]
    assert names(await get(http, PODS, resourceVersion=version)) == ["old", "young"]


async def test_namespaces_and_fields_and_labels_narrow_a_list(cluster: Emulator, api: client.ApiClient) -> None:
    cluster.add("Namespace", {"metadata": {"name": "shop"}})
    cluster.add("Pod", running_pod("a", app="web", node_name="node-1"))
    cluster.add("Pod", running_pod("b", app="db", node_name="node-2"))
    cluster.add("Pod", running_pod("c", namespace="shop", app="web", node_name="node-2"))
    core = client.CoreV1Api(api)

    async def found(**query: str) -> list[str]:
        return [pod.metadata.name for pod in (await core.list_pod_for_all_namespaces(**query)).items]

    assert await found() == ["a", "b", "c"]
    assert [pod.metadata.name for pod in (await core.list_namespaced_pod("shop")).items] == ["c"]
    assert await found(field_selector="spec.nodeName=node-2") == ["b", "c"]
    assert await found(field_selector="spec.nodeName=node-2,metadata.namespace!=shop") == ["b"]
    assert await found(field_selector="status.phase==Running", label_selector="app in (web)") == ["a", "c"]
    assert await found(label_selector="app notin (web),app") == ["b"]


async def test_a_field_that_cannot_be_selected_by_is_named(cluster: Emulator, http: aiohttp.ClientSession) -> None:
    refused = await get(http, PODS, fieldSelector="spec.priority=1")
    assert refused["code"] == 400 and "field label not supported: spec.priority" in refused["message"]
    assert (await get(http, PODS, labelSelector="a in (b"))["code"] == 400


async def test_events_are_selected_by_what_they_are_about_in_both_groups(
    cluster: Emulator, http: aiohttp.ClientSession
) -> None:
    pod = cluster.add("Pod", running_pod("web-1"))
    cluster.recorder.record("Pod", pod, "Unhealthy", "Readiness probe failed", warning=True)
    cluster.recorder.record("Pod", pod, "Unhealthy", "Readiness probe failed", warning=True)
    cluster.recorder.record("Node", cluster.add("Node", node("node-9")), "Rebooted", "rebooted")
    core = await get(http, "/api/v1/events", fieldSelector="involvedObject.name=web-1,involvedObject.kind=Pod")
    assert [(e["reason"], e["count"]) for e in core["items"]] == [("Unhealthy", 2)]
    newer = await get(http, "/apis/events.k8s.io/v1/events", fieldSelector="regarding.name=web-1")
    assert [(e["note"], e["deprecatedCount"]) for e in newer["items"]] == [("Readiness probe failed", 2)]


async def test_five_thousand_pods_in_pages_of_500(cluster: Emulator, http: aiohttp.ClientSession) -> None:
    populate(cluster, 5000)
    raw, onward = 0, ""
    for _page in range(10):
        async with http.get("/api/v1/pods", params={"limit": "500", "continue": onward}) as answer:
            body = await answer.read()
        raw += body.count(b'"containerStatuses"')
        onward = body[: body.index(b'"items"')].partition(b'"continue":"')[2].partition(b'"')[0].decode()
    assert raw == 5000 and not onward
    assert cluster.counts.of("list", "pods") == 10


async def test_discovery_tells_of_kinds_and_versions(cluster: Emulator, api: client.ApiClient) -> None:
    assert (await client.VersionApi(api).get_code()).git_version == "v1.36.0"
    groups = {group.name for group in (await client.ApisApi(api).get_api_versions()).groups}
    assert {"apps", "batch", "policy", "metrics.k8s.io", "discovery.k8s.io"} <= groups
    listed = (await client.AppsV1Api(api).get_api_resources()).resources
    assert {"deployments", "deployments/scale", "statefulsets"} <= {resource.name for resource in listed}
    cluster.metrics.on = False
    assert "metrics.k8s.io" not in {g.name for g in (await client.ApisApi(api).get_api_versions()).groups}


async def test_one_page_after_another_adds_up(cluster: Emulator, http: aiohttp.ClientSession) -> None:
    for number in range(7):
        cluster.add("ConfigMap", {"metadata": {"name": f"c{number}", "labels": {"odd": str(number % 2)}}})
    pages = await page_all(http, "/api/v1/configmaps", 2, labelSelector="odd=1")
    assert [names(page) for page in pages] == [["c1", "c3"], ["c5"]]
    assert "remainingItemCount" not in pages[0]["metadata"], "unknown where a selector is used"


async def test_options_that_do_not_go_together_are_refused(cluster: Emulator, http: aiohttp.ClientSession) -> None:
    """As the real server does it: what a client sends wrongly must not pass here."""
    for number in range(3):
        cluster.add("Pod", running_pod(f"p{number}"))
    onward = (await get(http, PODS, limit=1))["metadata"]["continue"]
    for code, query in (
        (422, {"resourceVersionMatch": "NotOlderThan"}),
        (422, {"resourceVersionMatch": "Newest", "resourceVersion": "5"}),
        (422, {"resourceVersionMatch": "Exact", "resourceVersion": "0"}),
        (422, {"resourceVersionMatch": "NotOlderThan", "continue": onward}),
        (400, {"resourceVersion": "5", "continue": onward}),
        (422, {"resourceVersionMatch": "NotOlderThan", "resourceVersion": "5", "watch": "1"}),
    ):
        assert (await get(http, PODS, **query))["code"] == code, query
    async with http.post(
        PODS, data=b"k8s\0", headers={"Content-Type": "application/vnd.kubernetes.protobuf"}
    ) as answer:
        assert answer.status == 415
