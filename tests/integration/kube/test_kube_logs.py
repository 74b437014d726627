"""Logs of pods, stored: each line once and in its life, however streams break; no more streams than are wished for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from backend.contract.errors import Refused
from backend.contract.words import Phase
from backend.fleet.kube import logs as logs_module
from backend.fleet.kube.logs import PodLogs
from backend.ledger.log_chunks import ChunkFollower
from backend.ledger.logs import LogReader
from tests.integration.kube.rig import Watched, until, watching
from tests.integration.kube.test_kube_verbs import quick, ready
from tests.kube_emulator import Emulator
from tests.kube_emulator.access import reader
from tests.kube_emulator.logs import Output
from tests.kube_emulator.scenes import running_pod, workload


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wish returns once what was there is stored, whatever the machine does meanwhile."""
    monkeypatch.setattr(logs_module, "_ANSWER_S", 60.0)


def stored(rig: Watched, replica: str) -> list[str]:
    rows = LogReader(rig.fleet.paths.logs_dir).tail(replicas=[replica], limit=5000).rows
    return [row.message for row in rows]


def lives(rig: Watched, replica: str) -> dict[str, int]:
    """Message -> which life of the replica it belongs to."""
    chunks = ChunkFollower(rig.fleet.paths.logs_dir, [replica], lines=5000).poll()
    return {
        line.split(b" F ", 1)[1].decode(): chunk.incarnation
        for chunk in chunks
        for line in chunk.data.splitlines()
        if line
    }


def output(cluster: Emulator, name: str, container: str = "main") -> Output:
    return cluster.logs.current(cluster.registry.stored("Pod", "default", name).uid, container)


def follows(cluster: Emulator) -> int:
    return sum(1 for seen in cluster.counts.log if seen.resource == "pods/log" and seen.query.get("follow") == "true")


async def test_what_was_there_is_stored_when_the_wish_returns_and_what_comes_follows(tmp_path: Path) -> None:
    async with Emulator() as cluster, watching(cluster, tmp_path) as rig:
        cluster.add("Pod", running_pod("web-1"))
        await rig.sees("web-1")
        out = output(cluster, "web-1")
        for number in range(300):
            out.say(f"line {number}")
        await rig.fleet.want_logs(["web-1"])
        assert stored(rig, "web-1") == [f"line {number}" for number in range(300)]
        out.say("and one more")
        await until(lambda: stored(rig, "web-1")[-1] == "and one more", "it is followed")
        row = LogReader(rig.fleet.paths.logs_dir).tail(replicas=["web-1"], limit=1).rows[0]
        assert abs(row.ts - out.lines[-1][1]) < 1e-5, "under the stamp of the one who wrote it"


@pytest.mark.parametrize("fault", ["cut", "server", "busy"])
async def test_a_stream_that_breaks_goes_on_without_doubles_or_gaps(tmp_path: Path, fault: str) -> None:
    async with Emulator() as cluster, watching(cluster, tmp_path) as rig:
        cluster.add("Pod", running_pod("web-1"))
        await rig.sees("web-1")
        out = output(cluster, "web-1")
        out.say("before", ts=1_763_700_000.25)
        out.say("before, in the same instant", ts=1_763_700_000.25)
        await rig.fleet.want_logs(["web-1"])
        await until(lambda: follows(cluster) == 1, "followed")
        if fault == "busy":
            cluster.faults.answer(429, times=1, resource="pods/log")
        if fault != "server":
            # As a kubelet that is restarted does it: the stream ends, the container does not.
            out.end()
            out.ended = False
        else:
            await cluster.stop_listening()
        out.say("meanwhile, in the same second", ts=1_763_700_000.25)
        out.say("meanwhile", ts=1_763_700_003.5)
        if fault == "server":
            await cluster.start()
        out.say("after", ts=1_763_700_004.0)
        wanted = ["before", "before, in the same instant", "meanwhile, in the same second", "meanwhile", "after"]
        await until(lambda: stored(rig, "web-1") == wanted, f"all of it, not {stored(rig, 'web-1')}")


async def test_another_daemon_goes_on_where_the_last_one_ended(tmp_path: Path) -> None:
    async with Emulator() as cluster:
        cluster.add("Pod", running_pod("web-1"))
        out = output(cluster, "web-1")
        for number in range(3):
            out.say(f"line {number}")
            async with watching(cluster, tmp_path) as rig:
                await rig.sees("web-1")
                await rig.fleet.want_logs(["web-1"])
                assert stored(rig, "web-1") == [f"line {seen}" for seen in range(number + 1)]


async def test_a_former_life_keeps_its_last_words(tmp_path: Path) -> None:
    async with quick() as cluster, watching(cluster, tmp_path) as rig:
        cluster.add("StatefulSet", workload("db", replicas=1), namespace="default")
        [name] = await ready(rig, "db", 1)
        output(cluster, name).say("first life, before anybody asked")
        cluster.kubelet.crash("default", name)
        await until(lambda: rig.replica(name).restarts == 1 and rig.replica(name).phase is Phase.READY, "second life")
        output(cluster, name).say("second life")
        await rig.fleet.want_logs([name])
        output(cluster, name).say("second life, followed")
        await until(lambda: "second life, followed" in stored(rig, name), "followed")
        cluster.kubelet.crash("default", name)
        await until(lambda: rig.replica(name).restarts == 2, "third life")
        output(cluster, name).say("third life")
        await until(lambda: "third life" in stored(rig, name), "followed into the third life")
        found = lives(rig, name)
        assert {found[text] for text in ("first life, before anybody asked",)} == {1}
        assert {found[text] for text in ("second life", "second life, followed")} == {2}
        assert found["third life"] == 3
        assert len(stored(rig, name)) == len(set(stored(rig, name))) + 2, "each line once (`main started` in each life)"


async def test_containers_are_named_where_there_are_several(tmp_path: Path) -> None:
    async with Emulator() as cluster, watching(cluster, tmp_path) as rig:
        pod = running_pod("web-1")
        pod["spec"]["containers"].append({"name": "proxy", "image": "example/proxy:1"})
        status: dict[str, Any] = dict(pod["status"]["containerStatuses"][0])
        pod["status"]["containerStatuses"].append(status | {"name": "proxy", "containerID": "containerd://other"})
        cluster.add("Pod", pod)
        await rig.sees("web-1")
        output(cluster, "web-1").say("a", ts=1_763_700_001.0)
        output(cluster, "web-1", "proxy").say("b", ts=1_763_700_002.0)
        output(cluster, "web-1").say("c", ts=1_763_700_003.0)
        await rig.fleet.want_logs(["web-1"])
        assert stored(rig, "web-1") == ["[main] a", "[proxy] b", "[main] c"]
        output(cluster, "web-1", "proxy").say("d")
        await until(lambda: stored(rig, "web-1")[-1] == "[proxy] d", "followed")


async def test_only_so_many_are_followed_the_newest_wishes_first_and_not_for_ever(tmp_path: Path) -> None:
    async with Emulator() as cluster, watching(cluster, tmp_path) as rig:
        for number in range(6):
            cluster.add("Pod", running_pod(f"web-{number}"))
            output(cluster, f"web-{number}").say("hello")
        await rig.sees(*(f"web-{number}" for number in range(6)))
        fleet = rig.fleet
        logs = fleet._logs = PodLogs(
            fleet.access,
            fleet.clock,
            fleet.paths.logs_dir,
            fleet.pods.objects.get,
            fleet._newest,
            max_pods=3,
            linger_s=4.0,
        )
        await fleet.want_logs(["web-0", "web-1"])
        await fleet.want_logs(["web-2", "web-3"])
        assert set(logs.followed) == {"web-1", "web-2", "web-3"}
        await fleet.want_logs(None)
        assert len(logs.followed) == 3
        await until(lambda: logs.followed == (), "nobody wants them any more")
        await until(lambda: not logs._ending, "and the streams end")
        before = follows(cluster)
        await fleet.want_logs(["web-1"])
        await until(lambda: follows(cluster) > before, "wanted again")
        assert stored(rig, "web-1") == ["hello"]


async def test_a_pod_that_goes_ends_its_stream(tmp_path: Path) -> None:
    async with quick() as cluster, watching(cluster, tmp_path) as rig:
        cluster.add("Deployment", workload("web", replicas=1), namespace="default")
        [name] = await ready(rig, "web", 1)
        await rig.fleet.want_logs([name])
        output(cluster, name).say("last words")
        await rig.fleet.evict(name)
        await until(lambda: name not in rig.names, "it went")
        await until(lambda: all(f.ended for f in rig.fleet._logs._followers.values()), "its stream ended")
        assert "last words" in stored(rig, name)


async def test_who_may_not_read_logs_is_told_the_rule(tmp_path: Path) -> None:
    async with Emulator() as cluster:
        cluster.add("Pod", running_pod("web-1"))
        cluster.account("reader", "reader-token", reader(but=("pods/log",)))
        config = cluster.write_kubeconfig(tmp_path / "reader", token="reader-token")
        async with watching(cluster, tmp_path, kubeconfig=str(config)) as rig:
            with pytest.raises(Refused, match="needs `get` on `pods/log` in namespace default"):
                await rig.fleet.want_logs(["web-1"])
