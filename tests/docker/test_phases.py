"""Every phase a container can be in is told, with the reason a person needs; so are its ends and its numbers."""

from __future__ import annotations

import asyncio
from pathlib import Path

from backend.contract.rows import SampleRow
from backend.contract.words import Phase, Severity
from tests.docker.engine import Engine
from tests.docker.fleet_rig import SERVE, fleet_on, until


async def test_each_phase_is_told_with_its_reason(engine: Engine, busybox: str, tmp_path: Path) -> None:
    health = {"test": ["CMD-SHELL", "test -f /tmp/ok || { echo no file; exit 1; }"]}
    health |= {"interval": 200_000_000, "retries": 2, "timeout": 20_000_000_000}
    patient = health | {"interval": 60_000_000_000}
    async with fleet_on(tmp_path, engine, busybox, label="phases") as rig:
        await asyncio.gather(
            rig.run("p-new", start=False),
            rig.run("p-runs", *SERVE, ports={"8080/tcp": ("127.0.0.1", 0)}),
            rig.run("p-done", "sh", "-c", "echo all done"),
            rig.run("p-bad", "sh", "-c", "echo cannot open the model; exit 3"),
            rig.run("p-greedy", "sh", "-c", "sleep 1; tail /dev/zero", mem_limit="8m"),
            rig.run("p-loop", "sh", "-c", "echo again; exit 4", restart_policy={"Name": "always"}),
            rig.run("p-sick", healthcheck=health),
            rig.run("p-waits", healthcheck=patient),
            rig.run("p-frozen"),
        )
        await rig.phase("p-new", Phase.PENDING, "created, not started")
        runs = await rig.phase("p-runs", Phase.READY)
        assert runs.pid is not None and Path(f"/proc/{runs.pid}").exists()
        assert runs.port is not None and runs.host == "127.0.0.1" and runs.image == busybox
        done = await rig.phase("p-done", Phase.COMPLETED)
        assert done.last_exit is not None and (done.last_exit.code, done.last_exit.signal) == (0, None)
        assert done.pid is None
        bad = await rig.phase("p-bad", Phase.FAILED, "exit code 3: cannot open the model")
        assert bad.last_exit is not None and bad.last_exit.last_lines == ("cannot open the model",)
        greedy = await rig.phase("p-greedy", Phase.FAILED, "OOMKilled")
        assert greedy.last_exit is not None and greedy.last_exit.reason == "OOMKilled"
        assert greedy.memory_limit_bytes == 8 * 2**20
        loop = await rig.phase("p-loop", Phase.CRASH_LOOP, "exit code 4")
        assert loop.restarts >= 1
        sick = await rig.phase("p-sick", Phase.NOT_READY, "unhealthy: no file")
        assert [(probe.name, probe.ok, probe.detail) for probe in sick.probes] == [("readiness", False, "no file")]
        await asyncio.to_thread(lambda: engine.sdk.containers.get("p-sick").exec_run("touch /tmp/ok"))
        assert (await rig.phase("p-sick", Phase.READY)).probes[0].ok is True
        await rig.phase("p-waits", Phase.STARTING, "health check has not passed yet")
        await asyncio.to_thread(lambda: engine.sdk.containers.get("p-frozen").pause())
        await rig.phase("p-frozen", Phase.NOT_READY, "paused")
        await asyncio.to_thread(lambda: engine.sdk.containers.get("p-frozen").remove(force=True))
        await rig.gone("p-frozen")
        assert any(status.name == "p-frozen" and status.phase == Phase.TERMINATING for status in rig.changes)
        kinds = {(row.kind, row.subject): row.severity for row in rig.rows.events("docker.")}
        assert kinds["docker.died", "p-bad"] == Severity.WARNING
        assert kinds["docker.died", "p-done"] == Severity.INFO
        assert kinds["docker.oom", "p-greedy"] == Severity.WARNING
        assert kinds["docker.died", "p-greedy"] == Severity.ERROR, "one alarm for one death"
        assert ("docker.health", "p-sick") in kinds
        wanted = {held.spec.name: held.spec.replicas for held in rig.fleet.workloads()}
        assert wanted["p-done"] == 0, "what is done is missed by nobody"
        assert wanted["p-bad"] == 1


async def test_a_container_that_was_stopped_is_told_apart_from_one_that_crashed(
    engine: Engine, busybox: str, tmp_path: Path
) -> None:
    async with fleet_on(tmp_path, engine, busybox, label="stopped") as rig:
        await asyncio.gather(rig.run("s-asked", "sh", "-c", "sleep 100"), rig.run("s-killed"))
        await rig.phase("s-asked", Phase.READY)
        await rig.phase("s-killed", Phase.READY)
        await asyncio.to_thread(lambda: engine.sdk.containers.get("s-asked").stop(timeout=0))
        await asyncio.to_thread(lambda: engine.sdk.containers.get("s-killed").kill())
        asked = await rig.phase("s-asked", Phase.NOT_READY, "stopped")
        killed = await rig.phase("s-killed", Phase.FAILED, "killed by signal 9")
        assert asked.last_exit is not None and killed.last_exit is not None
        assert killed.last_exit.reason == "Killed" and killed.last_exit.signal == 9


async def test_fifty_containers_are_seen_and_measured(engine: Engine, busybox: str, tmp_path: Path) -> None:
    async with fleet_on(tmp_path, engine, busybox, label="fifty") as rig:
        for first in range(0, 50, 10):
            await asyncio.gather(*(rig.run(f"f-{n}", "sleep", "1000") for n in range(first, first + 10)))
        await until(lambda: len(rig.fleet.observe()) == 50, "all are seen")
        await until(lambda: all(status.phase == Phase.READY for status in rig.fleet.observe()), "all are Ready")
        await until(
            lambda: all(status.cpu_percent is not None and status.memory_bytes for status in rig.fleet.observe()),
            "all are measured",
        )
        sampled = {(row.replica, row.metric) for row in rig.rows.rows if isinstance(row, SampleRow)}
        assert {(f"f-{n}", metric) for n in range(50) for metric in ("cpu_percent", "memory_bytes")} <= sampled
        assert rig.fleet.platform.watch.lists == 1, "one list at the start, then events only"


async def test_busy_and_idle_are_told_apart(engine: Engine, busybox: str, tmp_path: Path) -> None:
    async with fleet_on(tmp_path, engine, busybox, label="busy") as rig:
        await asyncio.gather(rig.run("b-busy", "sh", "-c", "while :; do :; done"), rig.run("b-idle", "sleep", "1000"))

        def cpu(name: str) -> float:
            status = rig.status(name)
            return (status.cpu_percent or 0.0) if status is not None else 0.0

        # A busy machine gives it what is left.
        await until(lambda: cpu("b-busy") > 10.0, lambda: f"b-busy is busy: {cpu('b-busy')} %")
        assert cpu("b-idle") < 5.0
