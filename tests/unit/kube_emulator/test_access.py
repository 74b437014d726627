"""Who comes in, who is turned away and with which words, and what the reviews say of it; with and without TLS."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubernetes.aio import client, config

from tests.kube_emulator import Emulator
from tests.kube_emulator.access import Access, Rule, reader
from tests.kube_emulator.certificates import Authority
from tests.kube_emulator.defaults import timestamp
from tests.kube_emulator.kubeconfig import Login, write_exec_plugin, write_kubeconfig
from tests.kube_emulator.scenes import running_pod
from tests.unit.kube_emulator.talk import client_of


async def refusal(call: Any) -> client.ApiException:
    with pytest.raises(client.ApiException) as refused:
        await call
    return refused.value


async def test_unknown_missing_and_expired_tokens_are_unauthorized(cluster: Emulator) -> None:
    cluster.account("short", "short-token", expires_at=time.time() + 3600)
    async with client_of(cluster, "short-token") as api, client_of(cluster, "wrong") as stranger:
        core = client.CoreV1Api(api)
        assert (await core.list_namespaced_pod("default")).items == []
        cluster.access.expire("short-token")
        expired = await refusal(core.list_namespaced_pod("default"))
        unknown = await refusal(client.CoreV1Api(stranger).list_namespaced_pod("default"))
        assert expired.status == unknown.status == 401
        assert '"message":"Unauthorized","reason":"Unauthorized"' in expired.body
    async with aiohttp.request("GET", f"{cluster.url}/api/v1/pods") as answer:
        assert answer.status == 401


async def test_a_reader_of_one_namespace_is_told_which_rule_is_missing(cluster: Emulator) -> None:
    cluster.add("Pod", running_pod("web-1"))
    cluster.account("eve", "eve-token", reader("default"))
    async with client_of(cluster, "eve-token") as api:
        core = client.CoreV1Api(api)
        assert len((await core.list_namespaced_pod("default")).items) == 1
        refused = await refusal(core.delete_namespaced_pod("web-1", "default"))
        assert refused.status == 403
        assert (
            'pods \\"web-1\\" is forbidden: User \\"eve\\" cannot delete resource \\"pods\\" in API group \\"\\" '
            'in the namespace \\"default\\"'
        ) in refused.body
        refused = await refusal(core.list_pod_for_all_namespaces())
        assert "at the cluster scope" in refused.body
        refused = await refusal(client.AppsV1Api(api).patch_namespaced_deployment_scale("web", "default", {}))
        assert 'cannot patch resource \\"deployments/scale\\" in API group \\"apps\\"' in refused.body


async def test_reviews_tell_what_is_then_true(cluster: Emulator) -> None:
    cluster.account("eve", "eve-token", (*reader("default"), Rule(("create",), ("pods/eviction",), ("",), (), "shop")))
    async with client_of(cluster, "eve-token") as api:
        reviews = client.AuthorizationV1Api(api)
        told = await reviews.create_self_subject_rules_review({"spec": {"namespace": "default"}})
        core_rules = [rule for rule in told.status.resource_rules if rule.api_groups == [""]]
        assert core_rules[0].verbs == ["get", "list", "watch"] and "pods/log" in core_rules[0].resources
        assert told.status.incomplete is False

        async def may(**wanted: str) -> bool:
            body = {"spec": {"resourceAttributes": wanted}}
            return bool((await reviews.create_self_subject_access_review(body)).status.allowed)

        assert await may(verb="list", resource="pods", namespace="default")
        assert not await may(verb="delete", resource="pods", namespace="default")
        assert await may(verb="create", resource="pods", subresource="eviction", namespace="shop")
        assert not await may(verb="create", resource="pods", subresource="eviction", namespace="default")


async def test_exec_needs_leave_to_create_though_it_is_a_get(cluster: Emulator) -> None:
    cluster.add("Pod", running_pod("web-1"))
    cluster.account("eve", "eve-token", (Rule(("get",), ("pods", "pods/exec")),))
    url = f"{cluster.url}/api/v1/namespaces/default/pods/web-1/exec?command=true&stdout=true"
    async with aiohttp.ClientSession(headers={"Authorization": "Bearer eve-token"}) as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(url)
        assert refused.value.status == 403
        cluster.account("eve", "eve-token", (Rule(("get", "create"), ("pods/exec",)),))
        async with session.ws_connect(url, protocols=("v4.channel.k8s.io",)) as socket:
            assert await socket.receive_bytes() == b"\x01"


words = st.sampled_from(["get", "list", "pods", "pods/log", "deployments", "", "apps", "a", "b"])


@given(rule=st.tuples(words, words, words, words), asked=st.tuples(words, words, words, words))
def test_a_rule_covers_what_it_names_and_a_star_covers_all(rule: tuple[str, ...], asked: tuple[str, ...]) -> None:
    verb, group, resource, namespace = asked
    exact = Rule((verb,), (resource,), (group,), (), namespace)
    assert exact.covers(verb, group, resource, namespace, "any")
    assert Rule(("*",), ("*",)).covers(verb, group, resource, namespace, "any")
    other = Rule((rule[0],), (rule[2],), (rule[1],), (), rule[3])
    fits = rule[0] == verb and rule[1] == group and rule[2] == resource and rule[3] in ("", namespace)
    assert other.covers(verb, group, resource, namespace, "any") is fits


def test_rules_with_names_are_for_those_names() -> None:
    account = Access().add("x", rules=(Rule(("get",), ("secrets",), names=("one",)),))
    assert Access.allowed(account, "get", "", "secrets", "default", "one")
    assert not Access.allowed(account, "get", "", "secrets", "default", "two")


async def test_a_kubeconfig_with_several_contexts_and_a_plugin_whose_tokens_expire(
    cluster: Emulator, place: Callable[[str], Path]
) -> None:
    soon = timestamp(time.time() + 3600)
    place("tokens").write_text(f"first-token {soon}\nsecond-token {soon}\n")
    plugin = write_exec_plugin(place("plugin.py"), place("tokens"))
    cluster.account("robot", "first-token", reader())
    path = write_kubeconfig(
        place("config"),
        cluster.context("static", namespace="kube-system"),
        cluster.context("plugged", login=Login(plugin=plugin)),
        current="static",
    )
    contexts, current = config.list_kube_config_contexts(str(path))
    assert [context["name"] for context in contexts] == ["static", "plugged"]
    assert current["context"]["namespace"] == "kube-system"
    for name, user in (("static", "admin"), ("plugged", "robot")):
        found = client.Configuration()
        await config.load_kube_config(str(path), context=name, client_configuration=found)
        async with client.ApiClient(found) as api:
            await client.CoreV1Api(api).list_namespace()
        assert cluster.counts.log[-1].user == user
    assert place("tokens.runs").read_text() == "1"


async def test_tls_with_client_certificates_and_expired_ones(place: Callable[[str], Path]) -> None:
    directory = place("pki")
    directory.mkdir()
    authority = Authority(directory)
    good, old = authority.client("admin"), authority.client("admin", expired=True)
    tls = authority.server_context(authority.server())
    async with Emulator(tls=tls, authority=authority.pair.certificate) as cluster:

        async def users(certificate: Path, key: Path) -> str:
            login = Login(certificate=certificate, key=key)
            path = write_kubeconfig(place("config"), cluster.context(login=login))
            found = client.Configuration()
            await config.load_kube_config(str(path), client_configuration=found)
            async with client.ApiClient(found) as api:
                await client.CoreV1Api(api).list_namespace()
            return cluster.counts.log[-1].user

        assert await users(good.certificate, good.key) == "admin"
        with pytest.raises((aiohttp.ClientError, ssl.SSLError, ConnectionError)):
            await users(old.certificate, old.key)
    stale = authority.server_context(authority.server(expired=True))
    async with Emulator(tls=stale, authority=authority.pair.certificate) as cluster:
        trusting = ssl.create_default_context(cafile=str(authority.pair.certificate))
        with pytest.raises(aiohttp.ClientConnectorCertificateError) as refused:
            async with aiohttp.request("GET", f"{cluster.url}/version", ssl=trusting):
                pass
        assert "certificate has expired" in str(refused.value)
