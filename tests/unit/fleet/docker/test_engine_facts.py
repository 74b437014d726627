"""What an engine says becomes phases, numbers and names; nothing that it could say breaks that."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.config.fleet_file import DockerFile
from backend.contract.errors import Refused
from backend.contract.words import Phase
from backend.fleet.docker_engine.clone import clone_request
from backend.fleet.docker_engine.describe import masked_source
from backend.fleet.docker_engine.facts import container_facts, exit_record
from backend.fleet.docker_engine.frames import Demultiplexer, LogReader
from backend.fleet.docker_engine.happenings import container_row, parse_happening
from backend.fleet.docker_engine.images import split_reference
from backend.fleet.docker_engine.labels import member_of
from backend.fleet.docker_engine.phases import Beyond, phase_of, reach_of, replica_status
from backend.fleet.docker_engine.reading import parse_ns
from backend.fleet.docker_engine.swarm_facts import node_facts, service_facts, task_facts
from backend.fleet.docker_engine.usage import Counters, parse_counters, rates

NOW = 1_795_000_000.0
STARTED = "2026-11-18T13:06:30.5Z"


def inspected(state: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "Id": "a" * 64,
        "Name": "/shop-web-1",
        "Created": "2026-11-18T13:06:29Z",
        "State": {"Status": "running", "Running": True, "Pid": 7, "StartedAt": STARTED} | (state or {}),
        "Config": {"Image": "web:1", "Labels": {}},
        "HostConfig": {},
        "NetworkSettings": {},
    }
    return base | more


def phase(state: dict[str, Any], beyond: Beyond | None = None, *, now: float = NOW) -> tuple[Phase, str]:
    facts = container_facts(inspected(state))
    assert facts is not None
    return phase_of(facts, now, beyond or Beyond())


_OFF = {"Running": False, "Pid": 0, "FinishedAt": "2026-11-18T13:06:40Z"}


@pytest.mark.parametrize(
    ("state", "expected", "reason"),
    [
        ({"Status": "created", "Running": False, "Pid": 0}, Phase.PENDING, "created, not started"),
        ({"Status": "created", "Running": False, "Error": "no such file: x"}, Phase.FAILED, "could not start: no such"),
        ({}, Phase.READY, ""),
        ({"Health": {"Status": "starting"}}, Phase.STARTING, "has not passed yet"),
        ({"Health": {"Status": "healthy"}}, Phase.READY, ""),
        ({"Health": {"Status": "unhealthy", "Log": [{"ExitCode": 1, "Output": "no\n"}]}}, Phase.NOT_READY, "no"),
        ({"Paused": True, "Status": "paused"}, Phase.NOT_READY, "paused"),
        ({"Status": "exited", "ExitCode": 0, **_OFF}, Phase.COMPLETED, ""),
        ({"Status": "exited", "ExitCode": 3, **_OFF}, Phase.FAILED, "exit code 3"),
        ({"Status": "exited", "ExitCode": 137, "OOMKilled": True, **_OFF}, Phase.FAILED, "OOMKilled"),
        ({"Status": "exited", "ExitCode": 139, **_OFF}, Phase.FAILED, "killed by signal 11"),
        ({"Status": "removing", **_OFF}, Phase.TERMINATING, "being removed"),
        ({"Status": "dead", **_OFF}, Phase.FAILED, "dead"),
    ],
)
def test_each_state_of_the_engine_has_its_phase(state: dict[str, Any], expected: Phase, reason: str) -> None:
    found, why = phase(state)
    assert found == expected and reason in why


def test_the_first_death_is_no_crash_loop_the_second_in_a_row_is_and_time_heals() -> None:
    again = {"Status": "restarting", "Restarting": True, "ExitCode": 1}
    assert phase(again, Beyond(crashes=1))[0] == Phase.PENDING
    assert phase(again, Beyond(crashes=2))[0] == Phase.CRASH_LOOP
    started = (parse_ns(STARTED) or 0) / 1e9
    assert phase({}, Beyond(crashes=2), now=started + 1)[0] == Phase.CRASH_LOOP
    assert phase({}, Beyond(crashes=2), now=started + 11)[0] == Phase.READY
    assert phase({}, Beyond(leaving="stopping")) == (Phase.TERMINATING, "stopping")


@given(code=st.integers(0, 255), oom=st.booleans(), stopped=st.booleans())
def test_an_exit_has_a_code_or_a_signal_never_both(code: int, oom: bool, stopped: bool) -> None:
    record = exit_record(NOW, code, oom=oom, stopped=stopped)
    assert (record.code is None) != (record.signal is None)


def test_ports_are_reached_where_they_are_published_else_at_the_containers_own_address() -> None:
    ports = {"8080/tcp": [{"HostIp": "0.0.0.0", "HostPort": "49153"}], "9090/tcp": None, "53/udp": None}
    networks = {"shop": {"IPAddress": "172.20.0.4"}}
    facts = container_facts(inspected(NetworkSettings={"Ports": ports, "Networks": networks}))
    assert facts is not None
    first = reach_of(facts, None, engine="10.0.0.5", direct=False)
    assert first is not None and (first.host, first.port) == ("10.0.0.5", 49153)
    inside = reach_of(facts, 9090, engine="127.0.0.1", direct=True)
    assert inside is not None and (inside.host, inside.port) == ("172.20.0.4", 9090)
    assert reach_of(facts, 9090, engine="127.0.0.1", direct=False) is None


@given(
    first=st.tuples(st.floats(0, 1e6), st.integers(0, 10**15), st.integers(0, 10**12)),
    step=st.tuples(st.floats(0.1, 100), st.integers(0, 10**12), st.integers(0, 10**9)),
)
def test_rates_are_differences_over_time_and_never_negative(
    first: tuple[float, int, int], step: tuple[float, int, int]
) -> None:
    before = Counters(read_ts=first[0], cpu_ns=first[1], memory_bytes=1, rx_bytes=first[2], tx_bytes=0)
    later = Counters(
        read_ts=first[0] + step[0], cpu_ns=first[1] + step[1], memory_bytes=2, rx_bytes=first[2] + step[2], tx_bytes=0
    )
    found = rates(before, later)
    assert found.cpu_percent is not None and found.cpu_percent == pytest.approx(step[1] / 1e7 / step[0], rel=1e-3)
    assert found.rx_bytes_per_s is not None and found.rx_bytes_per_s >= 0
    assert rates(later, before).cpu_percent is None, "a new life, or a clock that went back"
    assert rates(None, later).memory_bytes == 2


def test_memory_is_without_the_cache_that_the_kernel_gives_back() -> None:
    usage = {"cpu_usage": {"total_usage": 5}}
    memory = {"usage": 100, "stats": {"total_inactive_file": 30}}
    found = parse_counters({"read": STARTED, "cpu_stats": usage, "memory_stats": memory})
    assert found is not None and found.memory_bytes == 70 and found.rx_bytes is None


def test_members_are_told_by_their_labels() -> None:
    compose = {"com.docker.compose.project": "shop", "com.docker.compose.service": "web"}
    everything, shop = DockerFile(), DockerFile(project="shop")
    task = {"com.docker.swarm.task.id": "t", "com.docker.swarm.service.name": "api"}
    assert (found := member_of(everything, "c", compose, services_seen=False)) and found.workload == "shop-web"
    assert (found := member_of(shop, "c", compose, services_seen=False)) and found.workload == "web"
    assert member_of(shop, "c", {}, services_seen=False) is None
    assert (
        found := member_of(everything, "c", {"trinity.workload": "w"}, services_seen=False)
    ) and found.workload == "w"
    assert member_of(everything, "c", {"trinity.replica": "llm-1"}, services_seen=False) is None, "ours is ours"
    assert member_of(everything, "c", task, services_seen=True) is None
    assert (found := member_of(everything, "c", task, services_seen=False)) and found.workload == "api"
    assert member_of(DockerFile(label="a=b"), "c", {"a": "c"}, services_seen=False) is None
    assert member_of(DockerFile(label="a"), "c", {"a": "c"}, services_seen=False) is not None


def test_a_clone_differs_in_name_and_number_only() -> None:
    labels = {
        "com.docker.compose.project": "shop",
        "com.docker.compose.service": "web",
        "com.docker.compose.container-number": "1",
    }
    networks = {"shop_default": {"Aliases": ["web", "shop-web-1", "a" * 12]}, "extra": {"Aliases": ["w"]}}
    held = inspected(
        Config={"Image": "web:1", "Hostname": "a" * 12, "Labels": labels, "Env": ["A=1"]},
        HostConfig={"NetworkMode": "shop_default", "PortBindings": {"80/tcp": [{"HostPort": ""}]}, "Memory": 5},
        NetworkSettings={"Networks": networks},
    )
    request = clone_request(held, "web", 2)
    assert request.name == "shop-web-2"
    assert request.body["Labels"] == labels | {"com.docker.compose.container-number": "2"}
    assert "Hostname" not in request.body and request.body["Env"] == ["A=1"]
    assert request.body["NetworkingConfig"] == {"EndpointsConfig": {"shop_default": {"Aliases": ["web"]}}}
    assert request.networks == {"extra": {"Aliases": ["w"]}}
    held["HostConfig"]["PortBindings"]["80/tcp"][0]["HostPort"] = "8080"
    with pytest.raises(Refused, match="publishes its port 80 as 8080"):
        clone_request(held, "web", 2)
    held["HostConfig"]["PortBindings"] = {}
    with pytest.raises(Refused, match="gives its container the name frontend"):
        clone_request(held | {"Name": "/frontend"}, "web", 2)
    networks["extra"] = {"IPAMConfig": {"IPv4Address": "10.0.0.9"}}  # type: ignore[dict-item]
    with pytest.raises(Refused, match="fixed address"):
        clone_request(held, "web", 2)


def test_secrets_are_masked_wherever_they_stand() -> None:
    assert "abc" not in masked_source({"Config": {"Env": ["A_SECRET=abc"], "Cmd": ["x", "--api-key", "abc"]}})
    assert "abc" not in masked_source({"Spec": {"IdentityToken": "abc", "Test": ["CMD", "x", "--password=abc"]}})


def test_a_stream_cut_anywhere_gives_the_same_frames() -> None:
    stamp = b"2026-11-21T07:27:22.123456789Z "
    payloads = [(1, stamp + b"one\n"), (2, stamp + b"two\n"), (1, stamp + b"x" * 16384), (1, stamp + b"rest\n")]
    data = b"".join(bytes([kind, 0, 0, 0]) + len(text).to_bytes(4, "big") + text for kind, text in payloads)
    for size in (1, 7, 8, 9, 1000, len(data)):
        frames = Demultiplexer()
        found = [frame for at in range(0, len(data), size) for frame in frames.feed(data[at : at + size])]
        assert [text for _, text in found] == [text for _, text in payloads]
    messages = LogReader(tty=False).feed(data)
    assert [message.whole for message in messages] == [True, True, False, True]
    assert {message.ns for message in messages} == {1795246042123456789}
    assert [message.stream for message in messages] == ["stdout", "stderr", "stdout", "stdout"]
    terminal = LogReader(tty=True).feed(stamp + b"y" * 16384 + stamp + b"z\r\n")
    assert [(message.data[-1:], message.whole) for message in terminal] == [(b"y", False), (b"z", True)]


def test_references_are_cut_at_the_tag_not_at_a_registrys_port() -> None:
    assert split_reference("web") == ("web", "latest")
    assert split_reference("reg:5000/a/web") == ("reg:5000/a/web", "latest")
    assert split_reference("reg:5000/web:2") == ("reg:5000/web", "2")
    assert split_reference("web@sha256:ab") == ("web", "sha256:ab")


_LEAF = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12)
_KEYS = st.sampled_from(
    (
        *("Id", "ID", "Name", "State", "Status", "Health", "Log", "Running", "Pid", "StartedAt", "FinishedAt"),
        *("ExitCode", "Config", "Labels", "Env", "Image", "HostConfig", "NetworkSettings", "Networks", "Ports"),
        *("Type", "Action", "Actor", "Attributes", "time", "timeNano", "read", "cpu_stats", "cpu_usage", "usage"),
        *("total_usage", "memory_stats", "stats", "networks", "Spec", "Mode", "Replicated", "Replicas", "ServiceID"),
        *("Slot", "DesiredState", "Endpoint", "UpdateStatus", "TaskTemplate", "ContainerSpec", "ContainerStatus"),
        *("PortStatus", "Description", "Created", "CreatedAt"),
    )
)
_JSON = st.recursive(
    _LEAF | st.just(STARTED),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS | st.text(max_size=4), inner, max_size=6),
    max_leaves=25,
)


@given(held=_JSON, state=_JSON, settings=_JSON)
def test_nothing_that_an_engine_says_breaks_the_reading_of_it(held: Any, state: Any, settings: Any) -> None:
    whole = {"Id": "a", "Name": "n", "ID": "a", "ServiceID": "s", "Status": state, "Spec": settings, "State": state}
    for said in (held, whole, whole | {"NetworkSettings": settings, "HostConfig": settings, "Config": settings}):
        facts = container_facts(said)
        if facts is not None:
            status = replica_status(
                facts, fleet="f", workload="w", owner="", now=NOW, beyond=Beyond(), reach=None, node=""
            )
            assert status.phase in Phase and status.restarts >= 0
            reach_of(facts, None, engine="h", direct=True)
        service_facts(said)
        task_facts(said)
        node_facts(said)
        parse_counters(said)
        masked_source(said)
    happening = parse_happening({"Type": "container", "Actor": {"ID": "a"}, "Action": "die", "time": 1, "x": held})
    assert happening is not None
    assert container_row(happening, "r", mono_s=0.0, oom=False, wished=False) is not None
    parse_happening(held)


@given(data=st.binary(max_size=300), size=st.integers(1, 50), tty=st.booleans())
def test_no_bytes_break_the_reading_of_a_log(data: bytes, size: int, tty: bool) -> None:
    reader = LogReader(tty=tty)
    for at in range(0, len(data), size):
        reader.feed(data[at : at + size])
    reader.flush()
