"""Writing: who may overwrite whom, what is kept apart, and how things go away."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubernetes.aio import client

from tests.kube_emulator import Emulator
from tests.kube_emulator.patches import JSON_PATCH, MERGE_PATCH, STRATEGIC, apply_patch
from tests.kube_emulator.pods import owner_reference
from tests.kube_emulator.scenes import running_pod, workload
from tests.kube_emulator.status import ApiError
from tests.unit.kube_emulator.talk import get

CONFIGS = "/api/v1/namespaces/default/configmaps"


async def test_a_stale_version_is_a_conflict_and_none_at_all_overwrites(
    cluster: Emulator, api: client.ApiClient
) -> None:
    core = client.CoreV1Api(api)
    made = await core.create_namespaced_config_map("default", {"metadata": {"name": "c"}, "data": {"a": "1"}})
    made.data = {"a": "2"}
    newer = await core.replace_namespaced_config_map("c", "default", made)
    assert int(newer.metadata.resource_version) > int(made.metadata.resource_version)
    with pytest.raises(client.ApiException) as refused:
        await core.replace_namespaced_config_map("c", "default", made)
    assert refused.value.status == 409
    assert "the object has been modified; please apply your changes to the latest version" in refused.value.body
    body = {"metadata": {"name": "c"}, "data": {"a": "3"}}
    assert (await core.replace_namespaced_config_map("c", "default", body)).data == {"a": "3"}


async def test_an_unchanged_object_keeps_its_version(cluster: Emulator, api: client.ApiClient) -> None:
    cluster.add("ConfigMap", {"metadata": {"name": "c"}, "data": {"a": "1"}})
    before = cluster.store.version
    await client.CoreV1Api(api).patch_namespaced_config_map("c", "default", {"data": {"a": "1"}})
    assert cluster.store.version == before


async def test_status_and_spec_are_written_apart_and_only_specs_make_generations(
    cluster: Emulator, api: client.ApiClient
) -> None:
    apps = client.AppsV1Api(api)
    made = await apps.create_namespaced_deployment("default", workload("web") | {"status": {"replicas": 7}})
    assert made.status.replicas is None and made.metadata.generation == 1
    both = {"spec": {"replicas": 3}, "status": {"replicas": 9}}
    assert (await apps.patch_namespaced_deployment("web", "default", both)).status.replicas is None
    shown = await apps.patch_namespaced_deployment_status(
        "web", "default", {"spec": {"replicas": 8}} | {"status": {"replicas": 2}}
    )
    assert (shown.spec.replicas, shown.status.replicas, shown.metadata.generation) == (3, 2, 2)


async def test_what_is_wrong_is_said_as_the_api_server_says_it(cluster: Emulator, http: aiohttp.ClientSession) -> None:
    async def post(path: str, body: dict[str, Any]) -> dict[str, Any]:
        async with http.post(path, json=body) as answer:
            return dict(await answer.json())

    assert (await post(CONFIGS, {"metadata": {"name": "Bad_Name"}}))["reason"] == "Invalid"
    await post(CONFIGS, {"metadata": {"name": "c"}})
    again = await post(CONFIGS, {"metadata": {"name": "c"}})
    assert (again["code"], again["reason"], again["message"]) == (409, "AlreadyExists", 'configmaps "c" already exists')
    nowhere = await post("/api/v1/namespaces/nope/configmaps", {"metadata": {"name": "c"}})
    assert nowhere["message"] == 'namespaces "nope" not found'
    wrong = workload("web")
    wrong["spec"]["selector"]["matchLabels"]["app"] = "other"
    refused = await post("/apis/apps/v1/namespaces/default/deployments", wrong)
    assert refused["code"] == 422 and "`selector` does not match template `labels`" in refused["message"]
    missing = await get(http, "/apis/apps/v1/namespaces/default/deployments/nope")
    assert missing["message"] == 'deployments.apps "nope" not found'
    assert missing["details"] == {"name": "nope", "group": "apps", "kind": "deployments"}


async def test_preconditions_of_a_deletion(cluster: Emulator, api: client.ApiClient) -> None:
    cluster.add("Pod", running_pod("a"))
    core = client.CoreV1Api(api)
    with pytest.raises(client.ApiException) as refused:
        await core.delete_namespaced_pod("a", "default", body={"preconditions": {"uid": "another"}})
    assert refused.value.status == 409 and "UID in precondition: another" in refused.value.body
    uid = cluster.registry.get("Pod", "default", "a")["metadata"]["uid"]
    await core.delete_namespaced_pod("a", "default", body={"preconditions": {"uid": uid}})
    with pytest.raises(ApiError):
        cluster.registry.get("Pod", "default", "a")


async def test_a_finalizer_holds_an_object_until_it_is_taken_off(cluster: Emulator, api: client.ApiClient) -> None:
    core = client.CoreV1Api(api)
    cluster.add("ConfigMap", {"metadata": {"name": "c", "finalizers": ["example.com/hold"]}})
    held = cluster.registry.delete("ConfigMap", "default", "c")
    assert held[1] is False and "deletionTimestamp" in held[0].obj["metadata"]
    await core.patch_namespaced_config_map("c", "default", {"metadata": {"finalizers": None}})
    with pytest.raises(client.ApiException):
        await core.read_namespaced_config_map("c", "default")


def owned(cluster: Emulator, name: str, owner: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": name, "ownerReferences": [owner_reference("ConfigMap", owner)]}
    return cluster.add("ConfigMap", {"metadata": metadata})


def config_names(cluster: Emulator) -> list[str]:
    return [obj["metadata"]["name"] for obj in cluster.registry.all("ConfigMap", "default")]


async def test_what_is_owned_goes_with_its_owner_all_the_way_down(cluster: Emulator) -> None:
    top = cluster.add("ConfigMap", {"metadata": {"name": "a-top"}})
    owned(cluster, "c-leaf", owned(cluster, "b-middle", top))
    told: list[tuple[int, str]] = []
    cluster.store.listen(lambda change: told.append((change.version, change.after.key[1])))
    cluster.registry.delete("ConfigMap", "default", "a-top")
    assert config_names(cluster) == []
    assert [name for _, name in told] == ["a-top", "b-middle", "c-leaf"]
    assert told == sorted(told), "everyone hears of changes in the order of their versions"


async def test_orphans_stay_and_foreground_waits_for_the_last(cluster: Emulator) -> None:
    top = cluster.add("ConfigMap", {"metadata": {"name": "top"}})
    owned(cluster, "leaf", top)
    cluster.registry.delete("ConfigMap", "default", "top", {"propagationPolicy": "Orphan"})
    assert config_names(cluster) == ["leaf"]
    top = cluster.add("ConfigMap", {"metadata": {"name": "top"}})
    metadata = {"name": "held", "finalizers": ["x/y"], "ownerReferences": [owner_reference("ConfigMap", top)]}
    cluster.add("ConfigMap", {"metadata": metadata})
    cluster.registry.delete("ConfigMap", "default", "top", {"propagationPolicy": "Foreground"})
    assert config_names(cluster) == ["held", "leaf", "top"], "the owner waits for its own"
    cluster.registry.update(
        "ConfigMap", "default", "held", lambda obj: obj | {"metadata": obj["metadata"] | {"finalizers": []}}
    )
    assert config_names(cluster) == ["leaf"]


async def test_a_namespace_takes_everything_in_it_along(cluster: Emulator) -> None:
    cluster.add("Namespace", {"metadata": {"name": "shop"}})
    cluster.add("Pod", running_pod("a", namespace="shop"))
    cluster.add("Deployment", workload("web"), namespace="shop")
    cluster.registry.delete("Namespace", "", "shop")
    assert cluster.registry.all("Pod", "shop") == cluster.registry.all("Deployment", "shop") == []
    with pytest.raises(ApiError):
        cluster.add("Pod", running_pod("b", namespace="shop"))


async def test_a_cordon_is_a_patch_of_the_node(living: Emulator) -> None:
    living.registry.update("Node", "", "node-1", lambda n: apply_patch(STRATEGIC, n, {"spec": {"unschedulable": True}}))
    assert living.registry.get("Node", "", "node-1")["spec"]["unschedulable"] is True


def test_strategic_patches_merge_lists_by_their_keys() -> None:
    pod = {"spec": {"containers": [{"name": "a", "image": "1", "env": [{"name": "X", "value": "1"}]}, {"name": "b"}]}}
    patch = {"spec": {"containers": [{"name": "a", "image": "2", "env": [{"name": "Y", "value": "2"}]}]}}
    patched = apply_patch(STRATEGIC, pod, patch)
    first, second = patched["spec"]["containers"]
    assert first == {"name": "a", "image": "2", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]}
    assert second == {"name": "b"} and pod["spec"]["containers"][0]["image"] == "1"
    gone = apply_patch(STRATEGIC, pod, {"spec": {"containers": [{"name": "b", "$patch": "delete"}]}})
    assert [container["name"] for container in gone["spec"]["containers"]] == ["a"]


def test_json_patches_test_before_they_write() -> None:
    obj = {"data": {"a/b": "1", "list": [1, 2]}}
    steps = [
        {"op": "test", "path": "/data/a~1b", "value": "1"},
        {"op": "replace", "path": "/data/a~1b", "value": "2"},
        {"op": "add", "path": "/data/list/-", "value": 3},
        {"op": "remove", "path": "/data/list/0"},
        {"op": "copy", "from": "/data/list", "path": "/copied"},
    ]
    assert apply_patch(JSON_PATCH, obj, steps) == {"data": {"a/b": "2", "list": [2, 3]}, "copied": [2, 3]}
    with pytest.raises(ApiError) as refused:
        apply_patch(JSON_PATCH, obj, [{"op": "test", "path": "/data/a~1b", "value": "9"}, *steps])
    assert refused.value.code == 422


trees = st.recursive(
    st.none() | st.integers(0, 3) | st.text("xy", max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(st.sampled_from("abc"), trees, max_size=3)


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    return value


@given(obj=objects, patch=objects)
def test_a_merge_patch_twice_is_a_merge_patch_once(obj: dict[str, Any], patch: dict[str, Any]) -> None:
    once = apply_patch(MERGE_PATCH, obj, patch)
    assert apply_patch(MERGE_PATCH, once, patch) == once
    for key, value in patch.items():
        assert (key not in once) if value is None else (key in once)
    assert apply_patch(MERGE_PATCH, {}, patch) == _without_nulls(patch)
