"""A platform's edge, observed: each request once under the names of this fleet, whoever restarts; its counts summed."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.contract.errors import Refused, UsageError
from backend.contract.platform import Trouble
from backend.contract.words import Phase
from backend.daemon.observed.addresses import KEEP_S, AddressBook
from backend.daemon.observed.edge import GONE_S, PATIENCE_S
from backend.daemon.observed.page import counts_in
from backend.daemon.once_sink import OnceSink
from tests.unit.daemon.platform_edge import T0, Rig, request, spec, status
from tests.unit.edge.test_join import END


async def test_rows_have_the_names_of_this_fleet(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.platform.say("edge-a", *request("one", "1-1-0"), *request("two", "1-1-1", "10.0.0.9"))
    rig.platform.say(
        "edge-a", END | {"u": "1-1-2", "id": "lost", "be": "edge-public", "rep": "-", "st": 404, "t1": "0"}
    )
    await rig.read()
    assert [(r.workload, r.replica, r.ttft_s) for r in rig.rows()] == [
        ("shop-llm", "llm-x", 0.201),
        ("shop-llm", "llm-y", 0.201),
        ("shop-edge", None, None),
    ], "its own release's llm, by the pods' addresses; what it answered itself is its own"
    assert [(r.workload, r.replica) for r in rig.rows("attempt")] == [("shop-llm", "llm-x"), ("shop-llm", "llm-y")]
    assert rig.edge.present and rig.edge.observe().up


async def test_next_daemon_goes_on_where_the_last_one_stopped(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    first, end = request("one", "1-1-0")
    rig.platform.say("edge-a", first)
    await rig.read()
    await rig.edge.close()
    rig.platform.replicas = [r for r in rig.platform.replicas if r.name != "llm-x"]
    rig.platform.say("edge-a", end)
    rig.again()
    await rig.read()
    await rig.edge.close()
    rig.again()
    await rig.read()
    assert rig.seen() == [("one", "--")] and len(rig.rows("attempt")) == 1
    assert rig.rows()[0].replica == "llm-x", "it went while no daemon ran, and is still known by its address"


async def test_a_daemon_killed_before_it_kept_its_place_repeats_no_row(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.platform.say("edge-a", *request("one", "1-1-0"))
    await rig.edge.read_all()
    (rig.platform.paths.edge_dir / "observed.json").unlink(missing_ok=True)
    rig.edge = rig._made()
    rig.edge._sink = OnceSink(rig.ledger, list(rig.ledger.rows))
    for held in rig.edge._replicas.values():
        held.log._sink = rig.edge._sink
    rig.platform.say("edge-a", *request("two", "1-1-1"))
    await rig.edge.read_all()
    assert rig.seen() == [("one", "--"), ("two", "--")]


async def test_what_a_restarted_container_had_open_is_lost(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.platform.restarted("edge-a", 1)
    rig.platform.say("edge-a", request("cut", "1-1-0")[0], *request("whole", "1-1-1"))
    await rig.read()
    rig.platform.restarted("edge-a", 2)
    rig.platform.say("edge-a", *request("new", "1-1-0"))
    await rig.read()
    assert rig.seen() == [("whole", "--"), ("cut", "edge_lost"), ("new", "--")], "HAProxy's words may come again"
    rig.platform.say("edge-a", request("silent", "1-2-0")[0])
    await rig.read()
    rig.platform.restarted("edge-a", 3)
    await rig.read()
    assert rig.seen()[-1] == ("silent", "edge_lost"), "though the new life has written nothing yet"


@pytest.mark.parametrize("then", ["ends", "restarts", "vanishes"])
async def test_what_is_open_while_the_daemon_restarts_is_the_next_one_s(tmp_path: Path, then: str) -> None:
    rig = Rig(tmp_path)
    first, end = request("long", "1-1-0")
    rig.platform.restarted("edge-a", 1)
    rig.platform.say("edge-a", first)
    await rig.read()
    await rig.edge.close()
    match then:
        case "ends":
            rig.platform.say("edge-a", end)
        case "restarts":
            rig.platform.restarted("edge-a", 2)
        case "vanishes":
            rig.platform.replicas = rig.platform.replicas[1:]
    rig.again()
    await rig.read()
    rig.clock.advance(GONE_S)
    await rig.read()
    assert rig.seen() == [("long", "--" if then == "ends" else "edge_lost")]


async def test_what_a_vanished_replica_had_open_is_lost_but_not_while_nobody_sees(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.platform.say("edge-a", request("cut", "1-1-0")[0])
    await rig.read()
    gone = [r for r in rig.platform.replicas if r.workload != "shop-edge"]
    rig.platform.down = Trouble(kind="unreachable", message="It is away.", next_step="Wait.", since_ts=T0)
    rig.platform.replicas = []
    rig.clock.advance(GONE_S + 1)
    await rig.read()
    assert rig.seen() == [], "nobody knows whether it went"
    rig.platform.down, rig.platform.replicas = None, gone
    await rig.read()
    assert rig.seen() == []
    rig.clock.advance(GONE_S)
    await rig.read()
    assert rig.seen() == [("cut", "edge_lost")]
    await rig.edge.save()
    # A compose container comes back under its name.
    rig.platform.replicas = [*gone, status("edge-a", "shop-edge", "10.0.0.1")]
    rig.platform.say("edge-a", *request("new", "1-9-0"))
    await rig.read()
    assert rig.seen() == [("cut", "edge_lost"), ("new", "--")]


async def test_an_end_that_comes_after_its_request_was_given_up_counts_no_second_time(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    first, end = request("cut", "1-1-0")
    rig.platform.say("edge-a", first)
    rig.platform.replicas[0] = msgspec.structs.replace(rig.platform.replicas[0], pid=None, phase=Phase.FAILED)
    await rig.read()
    rig.clock.advance(GONE_S)
    await rig.read()
    rig.platform.say("edge-a", end)
    await rig.read()
    assert rig.seen() == [("cut", "edge_lost")]


async def test_two_edges_may_use_the_same_words(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.platform.replicas.append(status("edge-b", "shop-edge", "10.0.0.2"))
    first, end = request("of a", "1-1-0")
    rig.platform.say("edge-a", first)
    rig.platform.say("edge-b", *request("of b", "1-1-0", "10.0.0.9"))
    await rig.read()
    rig.platform.say("edge-a", end)
    await rig.read()
    assert rig.seen() == [("of b", "--"), ("of a", "--")]
    assert {row.request_id: row.replica for row in rig.rows()} == {"of b": "llm-y", "of a": "llm-x"}


async def test_lines_of_other_containers_of_its_pod_are_not_its_own(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    first, end = request("one", "1-1-0")
    rig.platform.say("edge-a", '[mesh] {"k":"end","u":"no"}', f"[edge] {json.dumps(first)}")
    rig.platform.say("edge-a", f"[edge] {json.dumps(end)}", '{"k":"end","u":')
    await rig.read()
    assert rig.seen() == [("one", "--")]
    assert rig.edge._replicas["edge-a"].log.unreadable == 1


@settings(max_examples=25, deadline=None)
@given(
    deeds=st.lists(st.sampled_from(["request", "first", "end", "read", "restart daemon"]), max_size=40),
    max_bytes=st.sampled_from([600, 2000, 2**20]),
)
def test_each_request_is_one_row_however_files_turn_and_daemons_come(
    deeds: list[str], max_bytes: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    async def run() -> None:
        rig = Rig(tmp_path_factory.mktemp("edge"))
        waiting: list[dict[str, object]] = []
        wanted: list[str] = []
        unread = 0
        for number, deed in enumerate(deeds):
            if unread >= 6:  # the writer deletes what nobody read in time: not what this is about
                await rig.read()
                unread = 0
            name = f"r{number}"
            first, end = request(name, f"1-1-{number}")
            match deed:
                case "request":
                    rig.platform.say("edge-a", first, end, max_bytes=max_bytes)
                    wanted.append(name)
                    unread += 2
                case "first":
                    rig.platform.say("edge-a", first, max_bytes=max_bytes)
                    waiting.append(end)
                    unread += 1
                case "end" if waiting:
                    rig.platform.say("edge-a", waiting[0], max_bytes=max_bytes)
                    wanted.append(str(waiting.pop(0)["id"]))
                    unread += 1
                case "read":
                    await rig.read()
                    unread = 0
                case "restart daemon":
                    await rig.edge.close()
                    rig.again()
        await rig.read()
        assert sorted(row.request_id for row in rig.rows()) == sorted(wanted)
        assert rig.edge._replicas["edge-a"].log.open_count == len(waiting)

    asyncio.run(run())


def test_an_address_is_whose_it_was_then() -> None:
    book = AddressBook()
    book.see([status("old", "llm", "10.0.0.8", started_ts=T0)], T0)
    book.see([], T0 + 50)
    new = status("new", "llm", "10.0.0.8", started_ts=T0 + 100)
    book.see([new, status("done", "job", "10.0.0.8", phase=Phase.FAILED)], T0 + 100)
    found = [book.name_of("10.0.0.8", T0 + at) for at in (-5, 10, 60, 101, 500)]
    assert found == ["old", "old", "old", "new", "new"], "a pod that is done shows an address that is another's"
    assert book.name_of("10.0.0.99", T0) is None
    again = AddressBook(book.tenants())
    assert again.name_of("10.0.0.8", T0 + 10) == "old"
    again.see([new], T0 + 50 + KEEP_S + 1)
    assert again.name_of("10.0.0.8", T0 + 10) == "new", "the former tenant is forgotten in the end"


def test_a_container_is_known_by_each_of_its_networks() -> None:
    book = AddressBook()
    book.see([status("web-1", "web", "127.0.0.1", addresses=("172.18.0.2", "172.19.0.2"))], T0)
    assert {book.name_of(at, T0) for at in ("172.18.0.2", "172.19.0.2")} == {"web-1"}
    assert book.name_of("127.0.0.1", T0) is None


PAGE = """\
# TYPE haproxy_backend_current_queue gauge
haproxy_backend_current_queue{proxy="llm"} 3
haproxy_backend_current_queue{proxy="llm:pool"} 90
haproxy_backend_current_queue{proxy="edge-attempts"} 90
haproxy_backend_current_sessions{proxy="llm"} 5
haproxy_backend_sessions_total{proxy="llm"} 100
haproxy_backend_retry_warnings_total{proxy="llm"} 4
haproxy_backend_connection_errors_total{proxy="llm"} 1
haproxy_backend_response_errors_total{proxy="llm"} 2
"""


async def asked(rig: Rig) -> None:
    """Its pages were asked once more."""
    rig.clock.advance(1.0)
    rig.edge.look()
    await asyncio.gather(*(held.asking for held in rig.edge._replicas.values() if held.asking is not None))


async def test_counts_of_all_edge_replicas_are_summed_by_workload(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.platform.page = PAGE
    rig.platform.replicas.append(status("edge-b", "shop-edge", "10.0.0.2"))
    await asked(rig)
    [llm] = rig.edge.observe().workloads
    assert (llm.workload, llm.queued, llm.in_flight, llm.sessions_total) == ("shop-llm", 6, 4, 200)
    assert (llm.retries_total, llm.errors_total) == (8, 6)
    rig.platform.hangs_up = True
    for _ in range(3):
        await asked(rig)
        assert rig.edge.observe().workloads == (llm,), "a connection that was closed meanwhile is no gap"
    assert len(rig.platform.dialled) == 3, "one connection each, and one more where one broke"
    rig.platform.replicas = [
        msgspec.structs.replace(r, phase=Phase.NOT_READY) if r.workload == "shop-edge" else r
        for r in rig.platform.replicas
    ]
    await asked(rig)
    assert rig.edge.observe().workloads == () and not rig.edge.observe().up, "old numbers are none"


async def test_who_answers_at_the_edge_s_address_and_is_no_edge_is_not_believed(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.platform.page = "trinity_queue_depth 7\n"  # a daemon in a container: port 9090 of this machine is its own
    await asked(rig)
    assert rig.edge.observe().workloads == () and rig.edge._replicas["edge-a"].elsewhere
    rig.platform.page = PAGE
    await asked(rig)
    assert [w.queued for w in rig.edge.observe().workloads] == [3]


@pytest.mark.parametrize("why", ["barred", "read-only", "silent"])
async def test_without_the_page_there_are_rows_all_the_same_and_it_is_said_once(tmp_path: Path, why: str) -> None:
    barred = {"forward": "needs `create` on `pods/portforward`"} if why == "barred" else {}
    rig = Rig(tmp_path, barred=barred, forward=why != "read-only")
    rig.platform.say("edge-a", *request("one", "1-1-0"))
    for _ in range(3):
        await asked(rig)
    assert len(rig.ledger.events("edge.metrics-unread")) == (0 if why == "silent" else 1)
    for _ in range(3):
        rig.clock.advance(PATIENCE_S)
        await asked(rig)
    [event] = rig.ledger.events("edge.metrics-unread")
    assert {"barred": "needs `create`", "read-only": "read-only", "silent": "Nothing listens"}[why] in event.message
    await rig.read()
    assert rig.seen() == [("one", "--")]


def test_a_page_cut_short_gives_what_came() -> None:
    assert counts_in(PAGE + 'haproxy_backend_current_queue{proxy="x')["llm"].queued == 3
    assert counts_in("") == {}


async def test_an_edge_that_is_none_of_ours_is_left_alone(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.platform.found = (spec("nginx"), spec("shop-llm", "llm"))
    rig.again()
    rig.platform.say("edge-a", *request("one", "1-1-0"))
    await rig.read()
    await rig.edge._wish()
    assert (rig.edge.present, rig.seen(), rig.platform.wished) == (False, [], [])
    with pytest.raises(UsageError, match="no edge of ours"):
        await rig.edge.stat_text()


async def test_it_is_watched_and_never_changed(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    await rig.edge._wish()
    assert rig.platform.wished == [["edge-a"]]
    with pytest.raises(Refused, match="The platform runs this fleet's edge"):
        await rig.edge.reload()
    with pytest.raises(Refused, match="observed only"):
        await rig.edge.fill("shop-llm", "llm-x", host="h", port=1, check_port=1, maxconn=1)
    assert rig.edge.observe().servers == ()
