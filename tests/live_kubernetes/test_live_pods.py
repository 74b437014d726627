"""Pods on a cluster: ended in every way there is, evicted within budgets, moved off nodes, and shown as they are."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from backend.contract.errors import Refused
from backend.contract.words import Phase
from backend.ledger.log_chunks import ChunkFollower
from tests.live_kubernetes.manifests import CRASHING, GREEDY, IDLE, budget, template, workload
from tests.live_kubernetes.place import Cluster


async def test_restart_and_kill_bring_another_pod(cluster: Cluster, tmp_path: Path) -> None:
    async with cluster.fleet(tmp_path) as fleet:
        await cluster.make("Deployment", workload("ended", template("ended", cluster.image, IDLE), replicas=2))
        first, second = await cluster.ready(fleet, "ended", 2)
        await fleet.restart(first, reason="a test")
        assert second in await cluster.ready(fleet, "ended", 2)
        assert await fleet.kill(second) > 0
        await cluster.until(lambda: second not in {status.name for status in fleet.observe()}, "it is gone")
        await cluster.ready(fleet, "ended", 2)


async def test_a_signal_reaches_the_program_and_its_exit_is_seen(cluster: Cluster, tmp_path: Path) -> None:
    async with cluster.fleet(tmp_path) as fleet:
        await cluster.make("Deployment", workload("signalled", template("signalled", cluster.image, IDLE)))
        [name] = await cluster.ready(fleet, "signalled", 1)
        before = await fleet.kill(name, signal=signal.SIGTERM)
        await cluster.until(lambda: [s.restarts for s in fleet.observe() if s.name == name] == [1], "it was restarted")
        [status] = [status for status in fleet.observe() if status.name == name]
        assert status.last_exit is not None
        assert status.last_exit.code == 5, "what its trap ends with"
        await cluster.ready(fleet, "signalled", 1)
        assert next(s.pid for s in fleet.observe() if s.name == name) != before


async def test_a_bare_pod_is_left_alone(cluster: Cluster, tmp_path: Path) -> None:
    async with cluster.fleet(tmp_path) as fleet:
        made = template("alone", cluster.image, IDLE)
        made["metadata"]["name"] = "alone"
        await cluster.make("Pod", made)
        await cluster.ready(fleet, "alone", 1)
        with pytest.raises(Refused, match="bare pod"):
            await fleet.restart("alone", reason="a test")


async def test_a_budget_forbids_an_eviction_until_there_are_more(cluster: Cluster, tmp_path: Path) -> None:
    async with cluster.fleet(tmp_path) as fleet:
        await cluster.make("Deployment", workload("kept", template("kept", cluster.image, IDLE), replicas=2))
        first, _ = await cluster.ready(fleet, "kept", 2)
        await cluster.make("PodDisruptionBudget", budget("kept", 2))
        await cluster.counted("kept", 2)
        with pytest.raises(Refused, match="PodDisruptionBudget kept wants 2 healthy pods and 2 of 2 are"):
            await fleet.evict(first)
        await fleet.scale("kept", 3)
        await cluster.ready(fleet, "kept", 3)
        await cluster.counted("kept", 3)
        await fleet.evict(first)
        await cluster.until(lambda: first not in {status.name for status in fleet.observe()}, "it left")


async def test_a_drain_moves_our_pods_and_a_cordoned_node_takes_none(cluster: Cluster, tmp_path: Path) -> None:
    """Only pods of our own namespace are evicted: others' are none of ours."""
    async with cluster.fleet(tmp_path) as fleet:
        await cluster.make("Deployment", workload("moved", template("moved", cluster.image, IDLE), replicas=2))
        await cluster.ready(fleet, "moved", 2)
        node = next(status.node for status in fleet.observe() if status.workload == "moved")
        there = {status.name for status in fleet.observe() if status.node == node}
        told: list[str] = []
        try:
            ended = await fleet.drain_node(
                node, told.append, deadline_s=cluster.patience_s, namespace=cluster.namespace
            )
            assert ended.startswith(f"node {node} drained: ")
            assert told[0] == f"node {node} cordoned"
            await cluster.until(lambda: not there & {status.name for status in fleet.observe()}, "all of them left")
            await cluster.until(lambda: [n.schedulable for n in fleet.nodes() if n.name == node] == [False], "cordoned")
            assert not [status for status in fleet.observe() if status.node == node and status.workload == "moved"]
        finally:
            await fleet.cordon(node, on=False)
        await cluster.until(lambda: [n.schedulable for n in fleet.nodes() if n.name == node] == [True], "uncordoned")
        await cluster.ready(fleet, "moved", 2)


async def test_a_crash_loop_is_seen_and_each_life_has_its_lines(cluster: Cluster, tmp_path: Path) -> None:
    async with cluster.fleet(tmp_path) as fleet:
        await cluster.make("Deployment", workload("crashing", template("crashing", cluster.image, CRASHING)))

        def phases() -> list[Phase]:
            return [status.phase for status in fleet.observe() if status.workload == "crashing"]

        await cluster.until(lambda: phases() == [Phase.CRASH_LOOP], "CrashLoop")
        [status] = [status for status in fleet.observe() if status.workload == "crashing"]
        await cluster.until(lambda: _restarts(fleet.observe(), status.name) >= 2, "it was restarted twice")
        await fleet.want_logs([status.name])
        [status] = [status for status in fleet.observe() if status.workload == "crashing"]
        assert status.last_exit is not None
        assert status.last_exit.code == 3
        chunks = ChunkFollower(fleet.paths.logs_dir, [status.name], lines=100)
        lives: set[int] = set()

        def known() -> bool:
            lives.update(chunk.incarnation for chunk in chunks.poll() if b"a line of this life" in chunk.data)
            return len(lives) >= 2

        await cluster.until(known, "lines of two lives")
        await fleet.scale("crashing", 0)


async def test_out_of_memory_is_told_from_other_ends(cluster: Cluster, tmp_path: Path) -> None:
    async with cluster.fleet(tmp_path) as fleet:
        made = template("greedy", cluster.image, GREEDY, played="oom", memory="48Mi")
        await cluster.make("Deployment", workload("greedy", made))

        def reasons() -> list[str]:
            return [s.last_exit.reason for s in fleet.observe() if s.workload == "greedy" and s.last_exit is not None]

        await cluster.until(lambda: reasons() == ["OOMKilled"], "OOMKilled")
        await fleet.scale("greedy", 0)


def _restarts(seen: object, name: str) -> int:
    return next((status.restarts for status in seen if status.name == name), 0)  # type: ignore[attr-defined]
