"""Verbs on workloads and pods: the platform does them, what it refuses is one sentence, and its end is waited for."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from backend.contract.errors import Refused, TrinityError, UsageError
from backend.contract.fleet import Killable, Restartable
from backend.contract.platform import (
    Describable,
    Evictable,
    Executable,
    Forwardable,
    HasNodes,
    HasPorts,
    Limited,
    Loggable,
    PlatformOwned,
    Reversible,
)
from backend.contract.words import Phase
from backend.fleet.kube import pod_verbs
from tests.integration.kube.rig import Watched, until, watching
from tests.kube_emulator import Emulator
from tests.kube_emulator.scenes import pod_template, workload


def quick(**more: Any) -> Emulator:
    """A cluster in which a minute lasts a tenth of a second, but no deadline is missed because the machine stood still:
    of those, a minute lasts six seconds."""
    return Emulator(controller=True, speed=600.0, deadline_speed=10.0, nodes=2, **more)


async def ready(rig: Watched, name: str, count: int) -> list[str]:
    """Wait for so many Ready pods of a workload and no others; their names."""

    def those() -> list[str]:
        return [found.name for found in rig.fleet.observe() if found.workload == name]

    def all_ready() -> bool:
        found = [status for status in rig.fleet.observe() if status.workload == name]
        return len(found) == count and all(status.phase is Phase.READY for status in found)

    await until(all_ready, f"{count} pods of {name}, all Ready")
    return those()


async def test_the_fleet_is_all_that_its_contract_calls_it(tmp_path: Path) -> None:
    async with quick() as cluster, watching(cluster, tmp_path) as rig:
        capabilities = (PlatformOwned, Reversible, Restartable, Killable, Evictable, HasNodes, HasPorts, Loggable)
        for capability in (*capabilities, Executable, Forwardable, Describable, Limited):
            assert isinstance(rig.fleet, capability), capability


async def test_scale_goes_through_the_scale_subresource_and_outlasts_conflicts(tmp_path: Path) -> None:
    async with quick() as cluster, watching(cluster, tmp_path) as rig:
        cluster.add("Deployment", workload("web", replicas=1), namespace="default")
        await ready(rig, "web", 1)
        conflict = cluster.faults.answer(409, times=3, verb="patch", resource="deployments.apps/scale")
        assert await rig.fleet.scale("web", 3) == 1
        assert conflict.hits == 3
        await ready(rig, "web", 3)
        assert await rig.fleet.scale("web", 0) == 3
        await ready(rig, "web", 0)
        assert cluster.counts.of("update", "deployments.apps") == cluster.counts.of("patch", "deployments.apps") == 0


async def test_scaling_under_an_autoscaler_is_done_and_warned_of(tmp_path: Path) -> None:
    async with quick() as cluster, watching(cluster, tmp_path) as rig:
        cluster.add("Deployment", workload("web", replicas=1), namespace="default")
        target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
        scaler = {
            "metadata": {"name": "web-hpa"},
            "spec": {"scaleTargetRef": target, "minReplicas": 2, "maxReplicas": 6},
        }
        cluster.add("HorizontalPodAutoscaler", scaler, namespace="default")
        await ready(rig, "web", 1)
        await rig.fleet.scale("web", 4)
        await ready(rig, "web", 4)
        [warning] = rig.ledger.events("kube.autoscaler")
        assert "web-hpa keeps Deployment web between 2 and 6 replicas" in warning.message


async def test_what_has_no_count_is_not_scaled(tmp_path: Path) -> None:
    async with quick() as cluster, watching(cluster, tmp_path) as rig:
        cluster.add("DaemonSet", workload("agent", replicas=None), namespace="default")
        await ready(rig, "agent", 2)
        with pytest.raises(Refused, match="DaemonSet agent cannot be scaled: it has one pod on each node"):
            await rig.fleet.scale("agent", 5)
        with pytest.raises(UsageError, match="no workload nobody"):
            await rig.fleet.scale("nobody", 1)


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet"])
async def test_a_rollout_replaces_every_pod_and_tells_how_it_gets_on(tmp_path: Path, kind: str) -> None:
    async with quick() as cluster, watching(cluster, tmp_path) as rig:
        cluster.add(kind, workload("web", replicas=None if kind == "DaemonSet" else 3), namespace="default")
        count = 2 if kind == "DaemonSet" else 3
        before = {status.pid for status in rig.fleet.observe()} | set(await ready(rig, "web", count))
        pids = {status.pid for status in rig.fleet.observe()}
        told: list[str] = []
        ended = await rig.fleet.rollout("web", told.append)
        await until(lambda: pids.isdisjoint({s.pid for s in rig.fleet.observe()}), "none of the former is left")
        await ready(rig, "web", count)
        assert told[0] == f"{kind.lower()}.apps/web restarted"
        assert any("aiting" in words for words in told[1:])
        assert "success" in ended or "complete" in ended
        assert pids.isdisjoint({status.pid for status in rig.fleet.observe()})
        if kind == "Deployment":
            assert before.isdisjoint(status.name for status in rig.fleet.observe())


async def test_a_rollout_survives_the_api_server_going_away(tmp_path: Path) -> None:
    async with quick() as cluster, watching(cluster, tmp_path) as rig:
        cluster.add("Deployment", workload("web", replicas=4), namespace="default")
        await ready(rig, "web", 4)
        told: list[str] = []
        rolling = asyncio.create_task(rig.fleet.rollout("web", told.append))
        await until(lambda: len(told) >= 2, "the rollout is under way")
        await cluster.stop_listening()
        await asyncio.sleep(0)
        await cluster.start()
        assert "successfully rolled out" in await asyncio.wait_for(rolling, 60.0)


async def test_a_rollout_that_gets_nowhere_ends_with_the_cause(tmp_path: Path) -> None:
    async with quick() as cluster, watching(cluster, tmp_path) as rig:
        cluster.add("Deployment", workload("web", replicas=2, progressDeadlineSeconds=20), namespace="default")
        names = await ready(rig, "web", 2)
        cluster.kubelet.missing_images.add("example/app:1")
        with pytest.raises(TrinityError) as refused:
            await rig.fleet.rollout("web", lambda _: None)
        assert 'deployment "web" exceeded its progress deadline: web-' in refused.value.message
        assert "container main: " in refused.value.message
        assert "ImagePull" in refused.value.message
        assert set(names) & {status.name for status in rig.fleet.observe()}, "the old pods still serve"


async def test_a_rollback_returns_to_the_former_template(tmp_path: Path) -> None:
    async with quick() as cluster, watching(cluster, tmp_path) as rig:
        for kind in ("Deployment", "StatefulSet", "DaemonSet"):
            name = kind.lower()
            count = 2
            made = workload(
                name,
                replicas=None if kind == "DaemonSet" else count,
                template=pod_template(name, image="example/app:1"),
            )
            cluster.add(kind, made, namespace="default")
            await ready(rig, name, count)
            with pytest.raises(Refused, match="no former revision"):
                await rig.fleet.rollback(name, lambda _: None)

            def change(obj: dict[str, Any]) -> dict[str, Any]:
                obj["spec"]["template"]["spec"]["containers"][0]["image"] = "example/app:2"
                return obj

            cluster.registry.update(kind, "default", name, change)
            await until(
                lambda n=name: {s.image for s in rig.fleet.observe() if s.workload == n} == {"example/app:2"},  # type: ignore[misc]
                f"{kind} runs the new image",
            )
            await ready(rig, name, count)
            told: list[str] = []
            ended = await rig.fleet.rollback(name, told.append)
            assert told[0] == f"{name}.apps/{name} rolled back to revision 1"
            assert ended.startswith(told[0])
            await until(
                lambda n=name: {s.image for s in rig.fleet.observe() if s.workload == n} == {"example/app:1"},  # type: ignore[misc]
                f"{kind} runs the former image",
            )
            await ready(rig, name, count)


async def test_a_restart_is_another_pod_and_is_over_when_the_old_one_is_gone(tmp_path: Path) -> None:
    async with quick() as cluster, watching(cluster, tmp_path) as rig:
        cluster.add("Deployment", workload("web", replicas=2), namespace="default")
        first, second = await ready(rig, "web", 2)
        await rig.fleet.restart(first, reason="a test")
        assert cluster.registry.store.get("pods", "default", first) is None
        assert second in await ready(rig, "web", 2)


async def test_a_kill_leaves_no_grace_and_the_controller_makes_another(tmp_path: Path) -> None:
    async with quick() as cluster, watching(cluster, tmp_path) as rig:
        cluster.add("StatefulSet", workload("db", replicas=1), namespace="default")
        [name] = await ready(rig, "db", 1)
        pid = rig.replica(name).pid
        uid = cluster.registry.stored("Pod", "default", name).uid
        assert await rig.fleet.kill(name) == pid
        left = cluster.registry.store.get("pods", "default", name)
        assert left is None or left.uid != uid, "without any grace it is gone at once"
        [seen] = [seen for seen in cluster.counts.log if seen.verb == "delete"]
        await until(lambda: rig.names == [name] and rig.replica(name).pid not in (None, pid), "another of that name")
        assert seen.resource == "pods"


async def test_other_signals_go_to_process_one_from_inside(tmp_path: Path) -> None:
    async with quick() as cluster, watching(cluster, tmp_path) as rig:
        cluster.add("StatefulSet", workload("db", replicas=1), namespace="default")
        [name] = await ready(rig, "db", 1)
        ran: list[tuple[str, ...]] = []

        async def shell(session: Any) -> int:
            ran.append(session.argv)
            return 0

        cluster.programs.register("/bin/sh", shell)
        assert await rig.fleet.kill(name, signal=15) == rig.replica(name).pid
        assert ran == [("/bin/sh", "-c", "kill -s TERM 1")]
        del cluster.programs.by_name["/bin/sh"], cluster.programs.by_name["kill"]
        with pytest.raises(TrinityError, match="SIGHUP could not be sent"):
            await rig.fleet.kill(name, signal=1)
        with pytest.raises(Refused, match="no signal 99"):
            await rig.fleet.kill(name, signal=99)


@pytest.mark.parametrize("lost", [False, True], ids=["killed with it", "unheard"])
async def test_a_signal_that_ends_process_one_at_once_was_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: bool
) -> None:
    """The shell that sends it ends with all of the container, by SIGKILL, or its exit code is never told."""
    monkeypatch.setattr(pod_verbs, "_TOLD_S", 60.0)
    async with quick() as cluster, watching(cluster, tmp_path) as rig:
        cluster.add("StatefulSet", workload("db", replicas=1), namespace="default")
        [name] = await ready(rig, "db", 1)
        ends = True

        async def shell(session: Any) -> int:
            if ends:
                cluster.kubelet.crash("default", name, code=0)
            if lost:
                cluster.streams.drop()
            return 137

        cluster.programs.register("/bin/sh", shell)
        pid = rig.replica(name).pid
        assert await rig.fleet.kill(name, signal=15) == pid
        await until(lambda: rig.replica(name).restarts == 1 and rig.replica(name).phase is Phase.READY, "started again")
        ends = False
        monkeypatch.setattr(pod_verbs, "_TOLD_S", 1.0)
        with pytest.raises(TrinityError, match=r"broke|could not be sent"):
            await rig.fleet.kill(name, signal=15)


async def test_a_bare_pod_is_neither_restarted_nor_killed(tmp_path: Path) -> None:
    async with quick() as cluster, watching(cluster, tmp_path) as rig:
        template = pod_template("alone")
        cluster.registry.create("Pod", {"metadata": {"name": "alone"}, "spec": template["spec"]}, namespace="default")
        await until(lambda: rig.names == ["alone"] and rig.replica("alone").phase is Phase.READY, "it runs")
        for deed in (rig.fleet.restart("alone", reason="a test"), rig.fleet.kill("alone")):
            with pytest.raises(Refused, match="bare pod, and nothing would make it again"):
                await deed
        assert cluster.counts.of("delete", "pods") == 0


async def test_an_eviction_keeps_the_budget_and_names_it(tmp_path: Path) -> None:
    async with quick() as cluster, watching(cluster, tmp_path) as rig:
        cluster.add("Deployment", workload("web", replicas=2), namespace="default")
        budget = {
            "metadata": {"name": "web-pdb"},
            "spec": {"minAvailable": 2, "selector": {"matchLabels": {"app": "web"}}},
        }
        first, _ = await ready(rig, "web", 2)
        cluster.add("PodDisruptionBudget", budget, namespace="default")
        with pytest.raises(Refused) as refused:
            await rig.fleet.evict(first)
        assert refused.value.message == (
            f"{first} may not leave now: PodDisruptionBudget web-pdb wants 2 healthy pods and 2 of 2 are (0 may go)."
        )
        await rig.fleet.scale("web", 3)
        await ready(rig, "web", 3)
        await rig.fleet.evict(first)
        await until(lambda: first not in rig.names, "it left")
        await ready(rig, "web", 3)


async def test_a_busy_server_is_given_its_time_before_an_eviction_goes_through(tmp_path: Path) -> None:
    async with quick() as cluster, watching(cluster, tmp_path) as rig:
        cluster.add("Deployment", workload("web", replicas=1), namespace="default")
        [first] = await ready(rig, "web", 1)
        busy = cluster.faults.answer(429, times=1, verb="create", resource="pods/eviction")
        await rig.fleet.evict(first)
        assert busy.hits == 1


async def test_creating_and_removing_is_the_platforms(tmp_path: Path) -> None:
    async with quick() as cluster, watching(cluster, tmp_path) as rig:
        cluster.add("Deployment", workload("web", replicas=1), namespace="default")
        [first] = await ready(rig, "web", 1)
        with pytest.raises(Refused, match="Kubernetes keeps their number"):
            await rig.fleet.remove(first, reason="a test")
