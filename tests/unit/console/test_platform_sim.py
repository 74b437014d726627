"""The simulated fleets on Docker and Kubernetes: what is wrong with them, what verbs do, how they are asked for."""

from __future__ import annotations

import pytest

from backend.contract.control import ActionRequest, ExecOrder
from backend.contract.errors import Refused, UsageError
from backend.contract.platform import Trouble
from backend.contract.words import Phase, Risk, Verb
from console.state.late_source import LateSource
from console.state.sim_platform_verbs import busy_forward
from console.state.simulated import Simulated, parse_simulated
from console.state.simulator import SimulatorSource
from console.state.store import FleetState
from tests.unit.console.sample import FixedClock


def fleet(driver: str = "kubernetes", replicas: int = 30, *, edge: bool = False) -> tuple[SimulatorSource, FixedClock]:
    clock = FixedClock(1_790_000_000.0)
    return SimulatorSource(replicas=replicas, driver=driver, edge=edge, clock=clock, warm_s=20), clock  # type: ignore[arg-type]


async def do(source: SimulatorSource, verb: Verb, target: str, **args: object) -> str:
    request = ActionRequest(verb=verb, target=target, args=args, actor="test")  # type: ignore[arg-type]
    return (await source.perform(request)).result


async def asked(source: SimulatorSource, verb: Verb, target: str, **args: object):  # type: ignore[no-untyped-def]
    return await source.preview(ActionRequest(verb=verb, target=target, args=args, actor="test"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("50", Simulated(replicas=50)),
        ("local:3", Simulated(replicas=3)),
        ("docker:50", Simulated(replicas=50, driver="docker", edge=False)),
        ("k8s:200", Simulated(replicas=200, driver="kubernetes", edge=False)),
        ("k8s:8:edge", Simulated(replicas=8, driver="kubernetes", edge=True)),
    ],
)
def test_a_simulated_fleet_is_asked_for_in_a_word(text: str, wanted: Simulated) -> None:
    assert parse_simulated(text) == wanted


@pytest.mark.parametrize("text", ["", "0", "-1", "k8s", "k8s:", "20001", "podman:3", "3:edges", "\u0663"])
def test_anything_else_is_refused_with_what_is_right(text: str) -> None:
    with pytest.raises(UsageError, match="k8s:N"):
        parse_simulated(text)


async def test_a_kubernetes_fleet_shows_all_that_can_be_wrong() -> None:
    source, _ = fleet()
    snapshot = await source.snapshot()
    by_phase = {view.status.phase: view.status for view in snapshot.replicas}
    assert set(by_phase) == {Phase.READY, Phase.NOT_READY, Phase.CRASH_LOOP, Phase.PENDING}
    half = by_phase[Phase.NOT_READY]
    assert (half.containers_ready, half.containers, half.reason) == (1, 2, "readiness probe fails: HTTP 503")
    assert by_phase[Phase.CRASH_LOOP].restarts == 14
    assert by_phase[Phase.CRASH_LOOP].last_exit.code == 1  # type: ignore[union-attr]
    assert by_phase[Phase.PENDING].reason.startswith("ImagePullBackOff")
    assert any(v.status.last_exit and v.status.last_exit.reason == "OOMKilled" for v in snapshot.replicas)
    assert {node.reason for node in snapshot.nodes} == {"", "MemoryPressure"}
    assert [node.schedulable for node in snapshot.nodes][-1] is False
    assert sum(node.replicas for node in snapshot.nodes) == 30
    assert next(view for view in snapshot.workloads if view.rollout).name == "embed"
    assert not snapshot.has_edge
    assert snapshot.scaling == ()
    assert all(view.edge is None and view.ttft.count == 0 for view in snapshot.replicas)
    assert {view.status.owner.partition("/")[0] for view in snapshot.replicas} >= {"Deployment", "StatefulSet", "Job"}


async def test_what_is_wrong_stays_so_until_somebody_acts() -> None:
    source, clock = fleet()
    before = await source.snapshot()
    clock.at += 60
    after = await source.snapshot()
    odd = [(v.status.name, v.status.phase) for v in before.replicas if v.status.phase != Phase.READY]
    assert odd == [(v.status.name, v.status.phase) for v in after.replicas if v.status.phase != Phase.READY]
    moved = sum(
        a.status.cpu_percent != b.status.cpu_percent for a, b in zip(before.replicas, after.replicas, strict=True)
    )
    assert moved > 15, "it is measured again"
    crashing = next(name for name, phase in odd if phase == Phase.CRASH_LOOP)
    await do(source, Verb.RESTART, crashing)
    clock.at += 5
    healed = {v.status.name: v.status.phase for v in (await source.snapshot()).replicas}
    assert healed[crashing] == Phase.READY


async def test_a_docker_fleet_has_ports_and_no_nodes() -> None:
    source, _ = fleet("docker", 20)
    snapshot = await source.snapshot()
    assert (snapshot.driver, snapshot.fleet, snapshot.nodes) == ("docker", "docker:default/shop", ())
    assert {port.source for port in snapshot.ports} >= {"container shop-web-1", "container cache"}
    assert {view.status.owner for view in snapshot.replicas} >= {"compose web", "service worker", ""}
    assert (await asked(source, Verb.CORDON, "x")).refusal.startswith("Docker's engine is one machine")


@pytest.mark.parametrize("replicas", [1, 2, 3])
@pytest.mark.parametrize("driver", ["docker", "kubernetes"])
async def test_small_fleets_are_whole(driver: str, replicas: int) -> None:
    source, _ = fleet(driver, replicas)
    snapshot = await source.snapshot()
    assert len(snapshot.replicas) == replicas == sum(view.wanted for view in snapshot.workloads)


async def test_an_edge_serves_the_first_workload_only() -> None:
    source, clock = fleet(edge=True)
    clock.at += 30
    snapshot = await source.snapshot()
    assert snapshot.has_edge
    assert {view.status.workload for view in snapshot.replicas if view.edge is not None} == {"chat"}
    assert {row.workload for row in source.world.requests} == {"chat"}
    assert snapshot.scaling[0].workload == "chat"
    assert [view.name for view in snapshot.workloads if view.routes] == ["chat"]


async def test_evicting_and_draining_move_replicas_elsewhere() -> None:
    source, clock = fleet()
    snapshot = await source.snapshot()
    name = snapshot.replicas[0].status.name
    await do(source, Verb.EVICT, "vectors-0")
    assert "disruption budget" in (await asked(source, Verb.EVICT, name)).effects[0]
    await do(source, Verb.EVICT, name)
    node = snapshot.nodes[0].name
    preview = await asked(source, Verb.NODE_DRAIN, node)
    assert preview.risk == Risk.HIGH
    await do(source, Verb.NODE_DRAIN, node)
    clock.at += 30
    after = await source.snapshot()
    names = {view.status.name for view in after.replicas}
    assert name not in names
    assert "vectors-0" in names, "the replicas of a StatefulSet keep their names"
    assert len(after.replicas) == len(snapshot.replicas)
    left = [view.status for view in after.replicas if view.status.node == node]
    assert all(status.owner.startswith("DaemonSet") for status in left)
    assert after.nodes[0].schedulable is False
    await do(source, Verb.UNCORDON, node)
    assert (await source.snapshot()).nodes[0].schedulable is True
    assert (await asked(source, Verb.CORDON, node)).undo == f"uncordon {node}"


async def test_pausing_and_going_on() -> None:
    source, clock = fleet("docker", 20)
    name = (await source.snapshot()).replicas[0].status.name
    assert (await asked(source, Verb.PAUSE, name)).undo == f"unpause {name}"
    assert await do(source, Verb.PAUSE, name) == "frozen"
    clock.at += 20
    assert (await source.snapshot()).replicas[0].status.reason == "paused"
    assert (await asked(source, Verb.UNPAUSE, name)).allowed
    assert await do(source, Verb.UNPAUSE, name) == "goes on"
    assert (await source.snapshot()).replicas[0].status.phase == Phase.READY


async def test_a_rollout_that_hangs_is_rolled_back() -> None:
    source, clock = fleet()
    assert "goes back" in (await asked(source, Verb.ROLLBACK, "embed")).summary
    await do(source, Verb.ROLLBACK, "embed")
    clock.at += 10
    view = next(view for view in (await source.snapshot()).workloads if view.name == "embed")
    assert (view.ready, view.rollout) == (view.wanted, "")


async def test_forwards_are_made_used_and_stopped() -> None:
    source, _ = fleet()
    preview = await asked(source, Verb.FORWARD, "chat", port=8000, local_port=None, bind="0.0.0.0")
    assert (preview.risk, "Everybody" in preview.effects[0]) == (Risk.LOW, True)
    url = await do(source, Verb.FORWARD, "chat", port=8000, local_port=None, bind="0.0.0.0")
    assert url == "http://192.168.1.20:8000/"
    assert (await asked(source, Verb.FORWARD, "chat", port=8000)).refusal.startswith("Port 8000 is taken")
    name = (await source.snapshot()).replicas[0].status.name
    assert (await asked(source, Verb.FORWARD, name, port=8000, local_port=9)).risk == Risk.NONE
    await do(source, Verb.FORWARD, name, port=8000, local_port=9)
    first, second = (await source.snapshot()).forwards
    assert (first.replica, second.replica) == (name, name)
    busy_forward(source.world.platform, first.id, connections=2, carried=9000)  # type: ignore[arg-type]
    assert "2 connections end" in (await asked(source, Verb.UNFORWARD, first.id)).summary
    assert "connections" not in (await asked(source, Verb.UNFORWARD, second.id)).summary
    assert await do(source, Verb.UNFORWARD, first.id) == "stopped"
    assert [one.id for one in (await source.snapshot()).forwards] == [second.id]
    assert (await asked(source, Verb.EXEC, name, argv="sh")).summary == f"sh runs in {name}"
    assert "no program" in await do(source, Verb.EXEC, name, argv="sh")


@pytest.mark.parametrize(
    ("verb", "why"),
    [
        (Verb.EVICT, "There is no replica x."),
        (Verb.CORDON, "There is no node x."),
        (Verb.ROLLBACK, "There is no workload x."),
        (Verb.FORWARD, "There is no replica and no workload x."),
        (Verb.UNFORWARD, "There is no forward x."),
        (Verb.PAUSE, "Kubernetes cannot freeze a pod."),
    ],
)
async def test_what_cannot_be_done_says_why(verb: Verb, why: str) -> None:
    source, _ = fleet()
    assert (await asked(source, verb, "x", port=80)).refusal == why
    with pytest.raises(Refused):
        await do(source, verb, "x", port=80)


async def test_a_local_fleet_says_what_only_platforms_can() -> None:
    source = SimulatorSource(replicas=1, warm_s=1)
    assert "only where a platform" in (await asked(source, Verb.EVICT, "llm-0")).refusal
    assert (await asked(source, Verb.FORWARD, "llm-0", port=1)).refusal == "A pretended local fleet cannot do this."


async def test_trouble_and_limits_are_told() -> None:
    source, _ = fleet()
    platform = source.world.platform
    assert platform is not None
    platform.trouble = Trouble(kind="unreachable", message="No answer.", next_step="Wait.", since_ts=1.0)
    platform.limits = {Verb.KILL: "needs delete on pods"}
    state = FleetState()
    assert (state.driver, state.has_edge, state.nodes, state.ports, state.forwards, state.trouble) == (
        "local",
        True,
        (),
        (),
        (),
        None,
    )
    assert state.limit(Verb.KILL) == ""
    state = FleetState(await source.snapshot())
    assert state.trouble == platform.trouble
    assert (state.limit(Verb.KILL), state.limit(Verb.SCALE)) == ("needs delete on pods", "")
    assert (state.driver, state.has_edge, len(state.nodes)) == ("kubernetes", False, 3)
    assert state.ports
    assert state.forwards == ()


async def test_the_past_shows_the_platform_as_it_was() -> None:
    source, clock = fleet()
    then = clock.at
    node = (await source.snapshot()).nodes[0].name
    clock.at += 10
    await source.snapshot()
    await do(source, Verb.CORDON, node)
    clock.at += 10
    assert (await source.snapshot()).nodes[0].schedulable is False
    past = (await source.moment(then)).snapshot
    assert past.nodes[0].schedulable is True
    assert past.driver == "kubernetes"


async def test_descriptions_of_replicas_workloads_and_nodes() -> None:
    source, _ = fleet()
    snapshot = await source.snapshot()
    late = LateSource(lambda: source)
    for view in snapshot.replicas:
        told = await late.describe(view.status.name)
        assert (told.kind, told.sections[0][0]) == ("Pod", "Containers")
        assert "'***'" in told.source
    workload = await source.describe("embed")
    assert dict(workload.sections)["Rollout"][0].endswith("updated")
    assert dict((await source.describe("chat")).sections)["Rollout"] == ("complete",)
    for node in snapshot.nodes:
        told = await source.describe(node.name)
        assert told.kind == "Node"
        assert ("cordoned" in dict(told.sections)["Scheduling"][0]) is not node.schedulable
    with pytest.raises(UsageError, match="nothing named x"):
        await source.describe("x")
    docker, _ = fleet("docker", 20)
    told = await docker.describe((await docker.snapshot()).replicas[0].status.name)
    assert "Conditions" not in dict(told.sections)
    local = SimulatorSource(replicas=1, warm_s=1)
    assert (await local.describe("llm-0")).kind == "process"
    with pytest.raises(UsageError):
        await local.describe("x")


async def test_replicas_of_a_platform_write_lines() -> None:
    source, clock = fleet()
    clock.at += 30
    await source.snapshot()
    crashing = next(v.status.name for v in (await source.snapshot()).replicas if v.status.phase == Phase.CRASH_LOOP)
    lines = [row.message for row in (await source.logs([crashing])).rows]
    assert any("ConnectionRefusedError" in line for line in lines)
    assert any("jobs done" in row.message for row in (await source.logs(None)).rows)


async def test_a_pretended_shell_echoes_and_ends() -> None:
    source, _ = fleet()
    name = (await source.snapshot()).replicas[0].status.name
    shell = await LateSource(lambda: source).exec(ExecOrder(replica=name, argv=("sh",), tty=True))
    await shell.write(b"hi\r\r")
    await shell.resize(80, 24)
    await shell.write(b"exit 3\r")
    said = b"".join([data async for data in shell.output()])
    assert said.count(b"$ ") == 3
    assert b"hi\r\nhi" in said
    assert b"[80x24]" in said
    assert shell.exit_code == 3
    await shell.close()
    other = await source.exec(ExecOrder(replica=name, argv=("sh",)))
    await other.end()
    assert other.exit_code == 0
    third = await source.exec(ExecOrder(replica=name, argv=("sh",)))
    await third.write(b"exit\r")
    assert third.exit_code == 0
    with pytest.raises(UsageError, match="no replica x"):
        await source.exec(ExecOrder(replica="x", argv=("sh",)))
