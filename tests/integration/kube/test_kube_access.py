"""Where the API server is and who we are there: contexts, credentials and their renewal; for each way in which they
fail, one clear sentence with its remedy.
"""

from __future__ import annotations

import socket
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backend.config.fleet_file import KubernetesFile
from backend.contract.clock import SystemClock
from backend.contract.errors import TrinityError
from backend.contract.platform import Trouble
from backend.fleet.kube import access as access_module
from backend.fleet.kube import observing, reflector
from backend.fleet.kube.access import Access
from tests.integration.kube.rig import Watched, add_pods, until, watching
from tests.kube_emulator import ADMIN_TOKEN, Emulator
from tests.kube_emulator.access import reader
from tests.kube_emulator.certificates import Authority
from tests.kube_emulator.kubeconfig import Context, Login, write_exec_plugin, write_kubeconfig
from tests.kube_emulator.scenes import node


def in_trouble(rig: Watched, kind: str) -> Trouble:
    found = rig.fleet.trouble()
    assert found is not None
    assert found.kind == kind, found
    assert found.next_step
    return found


def stamp(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


async def test_the_named_context_and_its_namespace_are_used(tmp_path: Path) -> None:
    async with Emulator(namespaces=("default", "shop")) as cluster:
        path = write_kubeconfig(
            tmp_path / "config",
            Context("dead", "http://127.0.0.1:9"),
            cluster.context("alive", namespace="shop"),
        )
        async with watching(cluster, tmp_path, kubeconfig=str(path), context="alive") as rig:
            assert (rig.fleet.namespace, rig.fleet.access.context) == ("shop", "alive")
            assert rig.fleet.trouble() is None


@pytest.mark.parametrize(
    ("text", "settings", "kind", "said"),
    [
        (None, {}, "misconfigured", "which does not exist"),
        ("current-context: a\ncontexts: [\n", {}, "misconfigured", "is no kubeconfig"),
        ("contexts: []\n", {}, "misconfigured", "says no current context"),
        ("contexts: [{name: a, context: {cluster: c}}]\n", {"context": "b"}, "misconfigured", "no context b"),
        ("contexts: [{name: a, context: {cluster: c}}]\ncurrent-context: a\n", {}, "misconfigured", "the cluster c"),
    ],
)
async def test_a_kubeconfig_that_cannot_be_used_is_named_and_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, settings: dict[str, str], kind: str, said: str
) -> None:
    monkeypatch.setattr(observing, "_RETRY_S", 0.1)
    path = tmp_path / "config"
    if text is not None:
        path.write_text(text)
    async with Emulator() as cluster:
        add_pods(cluster, 1)
        async with watching(cluster, tmp_path, kubeconfig=str(path), **settings) as rig:
            found = in_trouble(rig, kind)
            assert said in found.message
            assert str(path) in found.message
            write_kubeconfig(path, cluster.context(settings.get("context", "emulator")))
            await rig.sees("web-0000")
            assert rig.fleet.trouble() is None


async def test_without_a_kubeconfig_it_says_where_it_looked(tmp_path: Path) -> None:
    access = Access(KubernetesFile(), SystemClock(), env={}, home=tmp_path)
    with pytest.raises(TrinityError, match="There is no kubeconfig") as caught:
        await access.open()
    assert str(tmp_path / ".kube" / "config") in caught.value.message
    assert "KUBECONFIG" in caught.value.next_step


async def test_a_pod_in_the_cluster_needs_no_kubeconfig(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    tls = authority.server_context(authority.server())
    async with Emulator(tls=tls, authority=authority.pair.certificate) as cluster:
        (tmp_path / "ca.crt").write_bytes(authority.pair.certificate.read_bytes())
        (tmp_path / "token").write_text(f"{ADMIN_TOKEN}\n")
        (tmp_path / "namespace").write_text("kube-system")
        env = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(cluster.port)}
        access = Access(KubernetesFile(), SystemClock(), env=env, home=tmp_path / "none", service_account=tmp_path)
        try:
            found = await access.get_json("/version")
            assert (found["major"], access.context, access.namespace) == ("1", "in-cluster", "kube-system")
            # The kubelet writes a new token into the file before the old one ends.
            cluster.account("admin", "second")
            cluster.access.expire(ADMIN_TOKEN)
            (tmp_path / "token").write_text("second")
            assert await access.get_json("/api/v1/namespaces/default")
        finally:
            await access.close()


async def test_a_cluster_on_this_machine_is_not_asked_for_through_a_proxy(tmp_path: Path) -> None:
    """As kubectl does it, where the environment names a proxy (for image pulls, say); there is none at port 1."""
    async with Emulator() as cluster:
        path = cluster.write_kubeconfig(tmp_path / "config")
        env = {"KUBECONFIG": str(path), "HTTP_PROXY": "http://127.0.0.1:1", "HTTPS_PROXY": "http://127.0.0.1:1"}
        access = Access(KubernetesFile(), SystemClock(), env=env, home=tmp_path)
        try:
            assert (await access.get_json("/version"))["major"] == "1"
        finally:
            await access.close()


async def test_a_proxy_of_the_environment_is_used_for_others(tmp_path: Path) -> None:
    async with Emulator() as cluster:
        path = write_kubeconfig(tmp_path / "config", Context("far", "http://api.far.invalid", Login(token=ADMIN_TOKEN)))
        env = {"KUBECONFIG": str(path), "HTTP_PROXY": cluster.url}
        access = Access(KubernetesFile(), SystemClock(), env=env, home=tmp_path)
        try:
            assert (await access.get_json("/version"))["major"] == "1", "the emulator stands for the proxy"
        finally:
            await access.close()


async def test_a_token_of_a_plugin_is_renewed_when_it_ends(tmp_path: Path) -> None:
    async with Emulator() as cluster:
        add_pods(cluster, 1)
        tokens = tmp_path / "tokens"
        tokens.write_text(f"first {stamp(3600)}\nsecond {stamp(7200)}\n")
        cluster.account("robot", "first")
        cluster.account("robot", "second")
        login = Login(plugin=write_exec_plugin(tmp_path / "plugin.py", tokens))
        path = write_kubeconfig(tmp_path / "config", cluster.context(login=login))
        async with watching(cluster, tmp_path, kubeconfig=str(path)) as rig:
            await rig.all_watching()
            cluster.access.expire("first")
            cluster.watches.drop("end")
            cluster.add("Pod", {**cluster.registry.get("Pod", "default", "web-0000"), "metadata": {"name": "late"}})
            await rig.sees("late", "web-0000")
            assert rig.fleet.trouble() is None
            assert Path(f"{tokens}.runs").read_text() == "2", "one renewal for all watches"
            assert rig.lists()["pods"] == 1


async def test_a_token_is_renewed_before_it_ends(tmp_path: Path) -> None:
    async with Emulator() as cluster:
        tokens = tmp_path / "tokens"
        tokens.write_text(f"first {stamp(10)}\nsecond {stamp(7200)}\n")
        cluster.account("robot", "first")
        cluster.account("robot", "second")
        login = Login(plugin=write_exec_plugin(tmp_path / "plugin.py", tokens))
        path = write_kubeconfig(tmp_path / "config", cluster.context(login=login))
        access = Access(KubernetesFile(kubeconfig=str(path)), SystemClock())
        try:
            for _ in range(3):
                await access.get_json("/api/v1/namespaces/default")
            assert [seen.status for seen in cluster.counts.log] == [200, 200, 200]
            assert access.credentials_end_ts is not None
            assert access.credentials_end_ts > time.time() + 3600
        finally:
            await access.close()


async def test_a_token_that_cannot_be_renewed_is_told_until_the_kubeconfig_has_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reflector, "_LONGEST_PAUSE_S", 0.5)
    monkeypatch.setattr(access_module, "_RENEW_GAP_S", 0.2)
    async with Emulator() as cluster:
        add_pods(cluster, 1)
        cluster.account("person", "old")
        path = cluster.write_kubeconfig(tmp_path / "config", token="old")
        async with watching(cluster, tmp_path, kubeconfig=str(path)) as rig:
            await rig.all_watching()
            cluster.access.expire("old")
            cluster.watches.drop("end")
            await until(rig.fleet.trouble, "trouble")
            found = in_trouble(rig, "unauthorized")
            assert "does not accept the credentials of emulator" in found.message
            assert rig.names == ["web-0000"]
            cluster.write_kubeconfig(path, token=ADMIN_TOKEN)
            await until(lambda: rig.fleet.trouble() is None, "the new token is used")


async def test_a_plugin_that_fails_is_told_with_its_own_words(tmp_path: Path) -> None:
    async with Emulator() as cluster:
        login = Login(plugin=write_exec_plugin(tmp_path / "plugin.py", tmp_path / "none"))
        path = write_kubeconfig(tmp_path / "config", cluster.context(login=login))
        async with watching(cluster, tmp_path, kubeconfig=str(path)) as rig:
            found = in_trouble(rig, "unauthorized")
            assert "the identity provider does not answer" in found.message
            assert "plugin.py" in found.next_step


async def test_certificates_that_are_wrong_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "ours").mkdir()
    (tmp_path / "other").mkdir()
    authority, other = Authority(tmp_path / "ours"), Authority(tmp_path / "other")
    mine, old = authority.client("admin"), authority.client("admin", expired=True)
    ca = authority.pair.certificate

    async def said(cluster: Emulator, login: Login, trusted: Path) -> tuple[str, str]:
        path = write_kubeconfig(tmp_path / "config", Context("c", cluster.url, login, authority=trusted))
        async with watching(cluster, tmp_path, kubeconfig=str(path)) as rig:
            found = rig.fleet.trouble()
            return (found.kind, f"{found.message} {found.next_step}") if found is not None else ("", "")

    async with Emulator(tls=authority.server_context(authority.server())) as cluster:
        assert await said(cluster, Login(certificate=mine.certificate, key=mine.key), ca) == ("", "")
        kind, words = await said(cluster, Login(certificate=old.certificate, key=old.key), ca)
        assert kind == "unauthorized"
        assert "expired" in words
        kind, words = await said(cluster, Login(token=ADMIN_TOKEN), other.pair.certificate)
        assert kind == "misconfigured"
        assert "is not trusted" in words
        assert "certificate-authority" in words
        kind, words = await said(cluster, Login(certificate=mine.certificate, key=old.key), ca)
        assert kind == "misconfigured"
        assert "client-key" in words
    async with Emulator(tls=authority.server_context(authority.server(expired=True))) as cluster:
        kind, words = await said(cluster, Login(token=ADMIN_TOKEN), ca)
        assert kind == "misconfigured"
        assert "has expired" in words


async def test_a_server_that_accepts_and_never_answers_delays_no_start(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        path = write_kubeconfig(tmp_path / "config", Context("c", url, Login(token="t")))
        async with watching(Emulator(), tmp_path, patient=False, kubeconfig=str(path)) as rig:
            assert rig.fleet.trouble() is None, "it has not given up yet, and is not waited for"
            assert rig.names == []


async def test_what_is_no_api_server_is_told(tmp_path: Path) -> None:
    async with Emulator() as cluster:
        cluster.faults.garbage(times=None)
        async with watching(cluster, tmp_path) as rig:
            found = in_trouble(rig, "unreachable")
            assert str(cluster.port) in found.message


async def test_namespaced_read_only_rights_suffice(tmp_path: Path) -> None:
    async with Emulator() as cluster:
        add_pods(cluster, 2)
        cluster.add("Node", node("node-1"))
        rules = reader("default", but=("nodes", "namespaces"))
        cluster.account("reader", "reads", rules)
        path = cluster.write_kubeconfig(tmp_path / "config", token="reads")
        async with watching(cluster, tmp_path, kubeconfig=str(path)) as rig:
            await rig.sees("web-0000", "web-0001")
            await until(rig.fleet.blind, "what is forbidden is known")
            assert list(rig.fleet.blind()) == ["nodes"]
            assert "cannot list resource" in rig.fleet.blind()["nodes"]
            assert rig.fleet.nodes() == ()
            assert rig.fleet.trouble() is None
            tried = cluster.counts.of("list", "nodes")
            cluster.account("reader", "reads", reader())
            rig.fleet.retry_forbidden()
            await until(rig.fleet.nodes, "nodes, now that they may be seen")
            assert (tried, rig.fleet.blind()) == (1, {})


async def test_without_a_right_to_see_pods_it_says_which_is_missing(tmp_path: Path) -> None:
    async with Emulator() as cluster:
        cluster.account("nobody", "none", ())
        path = cluster.write_kubeconfig(tmp_path / "config", token="none")
        async with watching(cluster, tmp_path, kubeconfig=str(path)) as rig:
            found = in_trouble(rig, "forbidden")
            assert 'User "nobody" cannot list resource "pods"' in found.message
            assert "get, list and watch on pods" in found.next_step
            cluster.account("nobody", "none", reader("default"))
            rig.fleet.retry_forbidden()
            await until(lambda: rig.fleet.trouble() is None, "the right is used once it is there")


async def test_no_secret_is_left_on_the_disk_or_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "tmp"
    place.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(place))
    (tmp_path / "ca").mkdir()
    authority = Authority(tmp_path / "ca")
    mine = authority.client("admin")
    async with Emulator(tls=authority.server_context(authority.server())) as cluster:
        login = Login(certificate=mine.certificate, key=mine.key)
        path = write_kubeconfig(
            tmp_path / "config", Context("c", cluster.url, login, authority=authority.pair.certificate)
        )
        access = Access(KubernetesFile(kubeconfig=str(path)), SystemClock())
        try:
            await access.get_json("/api/v1/namespaces/default")
            assert not list(place.iterdir())
        finally:
            await access.close()
