"""Fleets on platforms as lines: causes, columns by driver, nodes, ports, forwards, descriptions, the expose form."""

from __future__ import annotations

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.contract.control import Frame, ReplicaView, WorkloadView
from backend.contract.fleet import ExitRecord, ReplicaStatus
from backend.contract.platform import Description, ForwardView, NodeStatus, PortView, Trouble
from backend.contract.words import Phase, Verb
from console.render.chart_list import WITHOUT_EDGE
from console.render.columns import REPLICAS, WORKLOADS
from console.render.command_line import option_lines
from console.render.description import description_lines, platform_fields, source_lines
from console.render.detail import replica_lines
from console.render.expose_form import expose_lines
from console.render.layout import PANES, charts_view, overview, without_edge
from console.render.merged_columns import MERGED_PLATFORMS, MERGED_REPLICAS, merged_columns
from console.render.panels import fleet_line
from console.render.platform_columns import (
    FORWARDS,
    NODES,
    PORTS,
    bound_words,
    forward_haystack,
    memory_share,
    node_haystack,
    node_state,
    port_columns,
    port_haystack,
)
from console.render.platform_panels import node_lines, port_lines, trouble_line, workload_lines
from console.render.replica_columns import replica_columns, workload_columns
from console.render.spans import Line, line_width
from console.render.tab_line import Tab, tab_line
from console.render.words import driver_word
from console.state.announcer import Announcer
from console.state.commands import complete
from console.state.expose_form import EVERYWHERE, ExposeForm
from console.state.merged import MergedList
from console.state.past import InstantSource
from console.state.port_rows import port_rows
from console.state.store import FleetState
from console.state.table import TableModel
from tests.unit.console.sample import point, replica, snapshot
from tests.unit.console.test_layout import inside_and_apart

NOW = 1000.0
KILLED = ExitRecord(ts=900.0, code=137, reason="OOMKilled", last_lines=("CUDA out of memory", "Killed "))


def text(lines: list[Line] | tuple[Line, ...]) -> str:
    return "\n".join("".join(word for word, _ in line).rstrip() for line in lines)


def on_platform(name: str = "chat-1", **parts: object) -> ReplicaView:
    values = {"image": "ghcr.io/acme/chat:2.4.1", "owner": "Deployment/chat", "node": "node-1", "containers": 2}
    view = replica(name, **(values | {"containers_ready": 2} | parts))
    return ReplicaView(status=view.status)


def cells(columns, item) -> dict[str, str]:  # type: ignore[no-untyped-def]
    for column in columns:  # what sorts must be comparable
        column.sort(item)
        if column.value is not None:
            column.value(item, NOW)
    return {column.key: column.cell(item, NOW)[0] for column in columns}


# -- tables ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("driver", "edge"), list(itertools.product(("local", "docker", "kubernetes"), (True, False))))
def test_every_driver_offers_every_column_and_shows_its_own(driver: str, edge: bool) -> None:
    for columns, every in (
        (replica_columns(driver, edge=edge), REPLICAS),
        (workload_columns(driver, edge=edge), WORKLOADS),
    ):
        assert {column.key for column in columns} == {column.key for column in every}
        assert len(columns) == len(every)
    shown = [column.title for column in replica_columns(driver, edge=edge) if not column.hidden]
    if driver == "kubernetes":
        assert "NODE" not in [c.title for c in replica_columns(driver, edge=edge, of_node=True) if not c.hidden]
    own = {"local": "EDGE", "docker": "IMAGE", "kubernetes": "NODE"}[driver]
    assert own in shown
    if driver != "local":
        assert ("P95" in shown) is edge


def test_cells_of_a_replica_on_a_platform() -> None:
    view = on_platform(containers_ready=1, phase=Phase.NOT_READY, reason="probe", net_rx_bytes_per_s=2048.0)
    found = cells(replica_columns("kubernetes", edge=False), view)
    assert (found["containers"], found["node"], found["owner"]) == ("1/2", "node-1", "deploy/chat")
    assert (found["image"], found["net"], found["reason"]) == ("chat:2.4.1", "2.0 KiB/–", "probe")  # noqa: RUF001
    bare = cells(replica_columns("docker", edge=True), replica())
    assert (bare["containers"], bare["node"], bare["image"], bare["net"]) == ("–",) * 4  # noqa: RUF001


def test_cells_of_a_workload_on_a_platform() -> None:
    view = WorkloadView(name="chat", wanted=3, ready=2, total=3, slots=0, routes=(), queued=0, in_flight=0)
    view = msgspec.structs.replace(view, kind="Deployment", rollout="2 of 3 updated")
    found = cells(workload_columns("kubernetes", edge=False), view)
    assert (found["kind"], found["rollout"]) == ("Deployment", "2 of 3 updated")
    stuck = msgspec.structs.replace(view, rollout="stuck: no progress in 10 min")
    column = next(column for column in WORKLOADS if column.key == "rollout")
    assert column.cell(stuck, NOW)[1] == "error"


def test_other_columns_leave_filter_sort_and_cursor_as_they_are() -> None:
    views = [on_platform("b", restarts=2), on_platform("a", restarts=1), on_platform("c", phase=Phase.PENDING)]
    model: TableModel[ReplicaView] = TableModel(REPLICAS, lambda v: v.status.name, lambda v: v.status.name)
    model.set_items(views)
    model.set_filter("phase:ready")
    model.set_sort("restarts")
    model.select("b")
    model.offer(replica_columns("kubernetes", edge=False))
    assert [view.status.name for view in model.order] == ["a", "b"]
    assert model.current is views[0]
    assert "node" in [column.key for column in model.columns]


def test_the_merged_list_names_the_driver_where_one_is_not_local() -> None:
    assert merged_columns(["local", "local"]) is MERGED_REPLICAS
    assert merged_columns(["local", "kubernetes"]) is MERGED_PLATFORMS
    fleets = [("here", (replica(),), False), ("there", (on_platform(),), True)]
    merged = MergedList()
    rows = merged.take(fleets, ["local", "kubernetes"])
    assert [cells(MERGED_PLATFORMS, row)["driver"] for row in rows] == ["local", "k8s"]
    assert merged.take(fleets, ["local", "kubernetes"])[0] is rows[0]
    assert merged.take(fleets, ["docker", "kubernetes"])[0] is not rows[0]
    assert driver_word("docker") == "docker"


NODE = NodeStatus(
    name="node-1",
    ready=True,
    replicas=3,
    cpu_percent=95.0,
    memory_bytes=32,
    memory_capacity_bytes=64,
    created_ts=900.0,
    roles=("worker",),
    version="v1.36",
    address="10.0.0.1",
)
DOWN = NodeStatus(name="node-2", ready=False, reason="KubeletNotReady")
SHUT = msgspec.structs.replace(NODE, name="node-3", schedulable=False)
PRESSED = msgspec.structs.replace(NODE, name="node-4", reason="MemoryPressure")


def test_nodes_say_how_they_are() -> None:
    words = [node_state(node)[0] for node in (NODE, DOWN, SHUT, PRESSED)]
    assert words == ["● Ready", "✗ NotReady", "⊘ cordoned", "◑ Ready"]
    assert (memory_share(NODE), memory_share(DOWN)) == (50.0, None)
    found, bare = cells(NODES, NODE), cells(NODES, DOWN)
    assert (found["cpu"], found["memory"], found["age"], found["replicas"]) == ("95%", "50%", "1m", "3")
    assert (bare["cpu"], bare["memory"], bare["age"], bare["reason"]) == ("–", "–", "–", "KubeletNotReady")  # noqa: RUF001
    assert "cordoned" in node_haystack(SHUT)
    lines = text(node_lines([NODE, PRESSED, SHUT, DOWN], 80, 4)).splitlines()
    assert [line[:8] for line in lines] == ["✗ node-2", "◑ node-4", "⊘ node-3", "● node-1"]
    assert "KubeletNotReady" in lines[0]
    assert "cordoned" in lines[2]
    assert [text(node_lines([PRESSED], width, 1)) for width in (60, 46, 36, 26)] == [
        "◑ node-4  cpu █ 95%  mem ▅ 50%  MemoryPressure  3 replicas"[:60],
        "◑ node-4  cpu █ 95%  mem ▅ 50%  MemoryPressure",
        "◑ node-4  mem ▅ 50%  MemoryPressure",
        "◑ node-4  MemoryPressure",
    ]
    assert text(node_lines([NODE] * 5, 80, 3)).endswith("… 3 more")
    assert text(node_lines([], 80, 3)) == "no nodes are known"
    unmeasured = msgspec.structs.replace(NODE, cpu_percent=None, memory_bytes=None)
    assert text(node_lines([unmeasured], 80, 1)) == "● node-1  3 replicas", "no numbers where nobody measures them"


SERVICE = PortView(workload="chat", source="service chat", name="http", container_port=8000, service_port=80)
INGRESS = PortView(workload="", source="ingress x", url="https://x/")
FORWARD = ForwardView(id="a1", target="chat-1", port=8000, local_port=8001, urls=("http://127.0.0.1:8001/",))


def test_ports_say_what_leads_there() -> None:
    rows = port_rows(
        [SERVICE, INGRESS], [FORWARD, msgspec.structs.replace(FORWARD, target="chat", local_port=7)], {"chat-1": "chat"}
    )
    assert [row.here for row in rows] == [(7, 8001), ()]
    found, bare = cells(PORTS, rows[0]), cells(PORTS, rows[1])
    assert (found["port"], found["service"], found["node"], found["here"]) == ("8000", "80", "–", "7 8001")  # noqa: RUF001
    assert (bare["workload"], bare["url"], bare["here"]) == ("–", "https://x/", "–")  # noqa: RUF001
    assert rows[0].key != rows[1].key
    assert "service chat" in port_haystack(rows[0])
    lines = text(port_lines([SERVICE, INGRESS], 60, 2))
    assert "port 80" in lines
    assert "https://x/" in lines
    assert text(port_lines([], 60, 2)) == "nothing listens for others"
    assert port_columns("kubernetes") is PORTS
    on_docker = {column.key: column for column in port_columns("docker")}
    assert on_docker["node"].title == "HOST"
    assert on_docker["service"].hidden, "Docker has no ports of services, so no column says so"
    assert on_docker["name"].hidden


def test_forwards_say_where_they_lead_and_who_may_come() -> None:
    broken = msgspec.structs.replace(FORWARD, bind=EVERYWHERE, state="broken", detail="no replica", restarts=2, urls=())
    found, bad = cells(FORWARDS, FORWARD), cells(FORWARDS, broken)
    assert (found["local"], found["target"], found["state"]) == ("127.0.0.1:8001", "chat-1:8000", "● listening")
    assert (bad["local"], bad["state"], bad["replica"], bad["restarts"]) == (
        "▲ all:8001",
        "✗ broken",
        "no replica",
        "2",
    )
    assert bound_words(broken)[1] == "warn"
    assert "8001" in forward_haystack(FORWARD)


# -- panels ------------------------------------------------------------------------------------------------------------


def test_workloads_that_lack_replicas_come_first() -> None:
    def view(name: str, ready: int, **parts: object) -> WorkloadView:
        made = WorkloadView(name=name, wanted=2, ready=ready, total=2, slots=0, routes=(), queued=0, in_flight=0)
        return msgspec.structs.replace(made, kind="Deployment", **parts)

    views = [
        view("well", 2),
        view("rolls", 2, rollout="1 of 2 updated"),
        view("half", 1),
        view("none", 0, rollout="stuck: x"),
    ]
    lines = text(workload_lines(views, 60, 9)).splitlines()
    assert [line[:7].strip() for line in lines] == ["✗ none", "◑ half", "● rolls", "● well"]
    assert "Deployment" in lines[2]
    assert "1 of 2 updated" in lines[2]
    narrow = text(workload_lines(views, 30, 9)).splitlines()
    assert "Deployment" not in narrow[2]
    assert narrow[2].endswith("↻ 1 of 2")
    busy = [view("w", 2, lease="autoscaler", maintenance=True)]
    assert "autoscaler is at work maintenance" in text(workload_lines(busy, 70, 1))
    assert text(workload_lines(views, 60, 2)).endswith("… 3 more")
    assert text(workload_lines([], 60, 2)) == "no workloads yet"
    stopped = msgspec.structs.replace(view("stopped", 0), wanted=0)
    assert text(workload_lines([stopped], 60, 1)).startswith("○ stopped"), "nothing is wanted of it, and it is not well"
    assert cells(WORKLOADS, stopped)["ready"] == "○ 0/0"


TROUBLE = Trouble(kind="unreachable", message="The API server does not answer.", next_step="Wait.", since_ts=880.0)


def test_trouble_is_one_line_with_its_remedy() -> None:
    assert text([trouble_line(TROUBLE, 90)]) == " ▲ The API server does not answer.  Wait."
    assert text([trouble_line(TROUBLE, 36)]) == " ▲ The API server does not answer."
    long = msgspec.structs.replace(TROUBLE, next_step="Start it, or name another one in your configuration.")
    assert text([trouble_line(long, 76)]).startswith(" ▲ The API server does not answer.  Start it, or name another")
    assert text([trouble_line(msgspec.structs.replace(TROUBLE, next_step=""), 90)]).endswith("answer.")
    assert all(line_width(trouble_line(TROUBLE, width)) == width for width in (20, 40, 80, 200))


def test_the_fleet_line_counts_what_there_is_without_an_edge() -> None:
    shot = snapshot(
        driver="kubernetes",
        has_edge=False,
        edge_up=False,
        nodes=(NODE, DOWN),
        forwards=(FORWARD,),
        health_reason="1 replica not ready",
        dropped_rows=3,
        point=point(ready=1),
        trouble=TROUBLE,
    )
    state = FleetState()
    state.snapshot, state.link = shot, "live"
    line = text([fleet_line(state, 200, NOW)])
    for words in ("STALE 2m", "1/2 ready", "1/2 nodes", "1 forward", "k8s", "3 rows lost", "1 replica not ready"):
        assert words in line
    for words in ("req/s", "queue", "edge", "tok/s"):
        assert words not in line
    state.snapshot = msgspec.structs.replace(
        shot, nodes=(), forwards=(), health_reason="", fleet="k8s:a/b", trouble=None
    )
    line = text([fleet_line(state, 200, NOW)])
    assert "nodes" not in line
    assert line.count("k8s") == 1


def test_tabs_name_the_driver_unless_the_name_does() -> None:
    tabs = [Tab("shop", "ok", 0, True, "docker"), Tab("k8s:a/b", "ok", 0, False, "k8s"), Tab("here", "ok", 0, False)]
    line = text([tab_line(tabs, 80)[0]])
    assert "shop docker" in line
    assert line.count("k8s") == 1


@given(st.integers(1, 300), st.integers(1, 100), st.integers(0, 1000), st.booleans(), st.sampled_from(PANES))
def test_without_an_edge_no_panel_asks_for_one(width: int, height: int, rows: int, nodes: bool, pane: str) -> None:
    instead = without_edge(width, nodes=nodes)
    places = overview(width, height, rows, instead.get(pane, pane), instead)
    inside_and_apart(places, width, height)
    assert not {"ttft", "queue", "rate", "scaling"} & set(places)
    if len(places) > 1:
        assert {"workloads", "table", "feed"} <= set(places)
    assert len({instead.get(name, name) for name in PANES}) == len(PANES)


def test_charts_without_an_edge_have_no_heat_map() -> None:
    assert "heat" in charts_view(200, 60, WITHOUT_EDGE, WITHOUT_EDGE[0])
    assert "heat" not in charts_view(200, 60, WITHOUT_EDGE, WITHOUT_EDGE[0], heated=False)


# -- descriptions ------------------------------------------------------------------------------------------------------


def test_a_replica_says_why_and_where_it_runs() -> None:
    view = on_platform(phase=Phase.NOT_READY, reason="probe fails", containers_ready=1, net_tx_bytes_per_s=10.0)
    told = text(
        replica_lines(
            view, requests=(), events=(), logs=(), now=NOW, width=60, has_edge=False, more=[(("MORE", "text"),)]
        )
    )
    for words in ("why          probe fails", "1 of 2 ready", "on node-1   kept by Deployment/chat", "MORE"):
        assert words in told
    assert "out 10 B/s" in told
    assert "TTFT" not in told
    assert "Requests" not in told
    lone = ReplicaStatus(name="x", fleet="f", workload="w", phase=Phase.READY, created_ts=1.0, image="redis")
    assert text(platform_fields(lone, 60)) == "image        redis"
    assert "kept by" in text(platform_fields(msgspec.structs.replace(lone, owner="service x"), 60))
    assert platform_fields(replica().status, 60) == []


def test_a_description_is_read_as_it_is_told() -> None:
    told = Description(
        name="x",
        kind="Pod",
        sections=(("One", ("a", "  indented")), ("Two", ("https://x",))),
        source="kind: Pod\n  - https://x\n  url: //x\n",
    )
    assert text(description_lines(told, 40)) == "One\na\n  indented\n\nTwo\nhttps://x"
    assert text(source_lines(told, 40)) == "kind: Pod\n  - https://x\n  url: //x"


async def test_the_past_does_not_pretend_to_know() -> None:
    source = InstantSource(None, None, lambda: "")  # type: ignore[arg-type]
    with pytest.raises(Exception, match="not recorded"):
        await source.describe("x")
    with pytest.raises(Exception, match="then"):
        await InstantSource(None, None, lambda: "That was then.").exec(None)  # type: ignore[arg-type]


# -- the expose form ---------------------------------------------------------------------------------------------------


def pressed(form: ExposeForm, *keys: str) -> ExposeForm:
    for key in keys:
        form.press(key)
    return form


def test_the_form_begins_with_what_is_known() -> None:
    answer = ExposeForm("chat", [8000, 9000, 8000]).answer()
    assert answer is not None
    assert (answer.port, answer.local_port, answer.bind) == (8000, None, "127.0.0.1")


def test_the_form_takes_ports_and_interfaces() -> None:
    form = pressed(ExposeForm("chat", [8000, 9000]), "right", "tab", "1", "2", "backspace", "3", "down", "space")
    assert form.values == ["9000", "13"]
    answer = form.answer()
    assert answer is not None
    assert (answer.port, answer.local_port, answer.bind) == (9000, 13, EVERYWHERE)
    assert "Everybody" in text(expose_lines(form, 60))
    assert pressed(form, "up", "up").at == 0
    assert pressed(form, "7").values[0] == "7"
    assert pressed(form, "left").values[0] == "8000"
    assert pressed(form, "left").values[0] == "9000"
    assert pressed(form, "backspace").values[0] == ""
    assert not form.press("q")
    assert not pressed(form, "up").press("q"), "the interfaces know no letters"


@pytest.mark.parametrize(("keys", "what"), [((), "port"), (("0",), "port"), (("8", "tab", *"99999"), "port here")])
def test_a_number_that_is_no_port_is_said(keys: tuple[str, ...], what: str) -> None:
    form = pressed(ExposeForm("chat", []), *keys)
    assert form.answer() is None
    assert form.problem == f"The {what} is a number from 1 to 65535."
    assert form.problem in text(expose_lines(form, 60))
    assert pressed(form, "tab").problem == ""


@given(st.lists(st.sampled_from(["tab", "up", "left", "right", "space", "backspace", *"0123456789", "q"])))
def test_whatever_is_typed_the_answer_is_a_port(keys: list[str]) -> None:
    form = pressed(ExposeForm("chat", [8000, 80]), *keys)
    answer = form.answer()
    assert (answer is None) == bool(form.problem)
    if answer is not None:
        assert 1 <= answer.port <= 65_535
        assert answer.local_port is None or 1 <= answer.local_port <= 65_535
    assert {line_width(line) for line in expose_lines(form, 50)} == {50}


# -- limits ------------------------------------------------------------------------------------------------------------


def test_the_command_line_dims_what_cannot_be_done() -> None:
    def limit(verb: str) -> str:
        return "needs delete on pods" if verb == Verb.EVICT else ""

    def names(kind: str) -> list[str]:
        return ["chat-1", "chat-2"] if kind == "replica" else []

    listed = option_lines(complete("ev", names), -1, 80, limit=limit) + option_lines(
        complete("e", names), -1, 80, limit=limit
    )
    assert "⊘ needs delete on pods" in text(listed)
    usage = option_lines(complete("evict ", names), -1, 80, limit=limit)
    assert text(usage).startswith(" evict   ⊘ needs delete on pods")
    assert "asks first" in text(option_lines(complete("evict ", names), -1, 80))


def test_trouble_is_said_once_when_it_comes_and_when_it_goes() -> None:
    announcer = Announcer()
    calm = snapshot(driver="kubernetes", has_edge=False)
    said = announcer.take(Frame(seq=1, snapshot=calm))
    assert not any("request" in words for words in said)
    first = announcer.take(Frame(seq=2, snapshot=msgspec.structs.replace(calm, trouble=TROUBLE)))
    assert first == ["The API server does not answer. Wait."]
    assert announcer.summary()[-1] == "What is said of it may be old: The API server does not answer. Wait."
    assert announcer.take(Frame(seq=3, snapshot=msgspec.structs.replace(calm, trouble=TROUBLE))) == []
    assert announcer.take(Frame(seq=4, snapshot=calm)) == ["The platform answers again."]
