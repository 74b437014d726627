"""A pod's stored log has each line once and in its life, however often the stream was opened again."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from backend.contract.log_notes import STARTS, read_notes
from backend.fleet.kube.log_store import CatchUp, Line, Mark, PodLog, read_line
from backend.ledger.log_chunks import ChunkFollower
from backend.ledger.logs import LogReader

SECOND = 1_000_000_000
BASE = 1_763_700_000 * SECOND


def at(us: int, message: str) -> Line:
    return Line(BASE + us * 1000, message.encode())


def messages(logs: Path, replica: str = "web-1") -> list[str]:
    return [row.message for row in LogReader(logs).tail(replicas=[replica], limit=1000).rows]


def test_stamps_of_every_form_are_read() -> None:
    assert read_line(b"2025-11-21T04:40:00.123456789Z hello") == Line(BASE + 123_456_789, b"hello")
    assert read_line(b"2025-11-21T04:40:00.5Z x").ns == BASE + SECOND // 2
    assert read_line(b"2025-11-21T05:40:00+01:00 x").ns == BASE
    assert read_line(b"2025-11-21T04:40:00Z ").message == b""
    assert read_line(b"unable to retrieve container logs") == Line(None, b"unable to retrieve container logs")


@given(st.binary(max_size=80))
def test_any_bytes_are_a_line(raw: bytes) -> None:
    read_line(raw)


@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=25).map(sorted),
    st.lists(st.integers(0, 25), max_size=4).map(sorted),
    st.booleans(),
)
def test_a_stream_that_is_opened_again_and_again_stores_each_line_once(
    stamps: list[int], breaks: list[int], afresh: bool
) -> None:
    """Each time the server sends from the second of the newest stored line on; the breaks fall anywhere, and with
    `afresh` each time is another daemon's, which knows only the files."""
    whole = [at(us * 300_000, f"line {number}") for number, us in enumerate(stamps)]
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place) / "web-1"
        log = PodLog(directory, ["app"])
        log.open()
        for upto in [*breaks, len(whole)]:
            if afresh:
                log.close()
                log = PodLog(directory, ["app"])
                log.open()
            mark = log.mark("app")
            since = mark.us // 1_000_000 * SECOND if mark.count else 0
            seen = CatchUp(Mark(mark.us, mark.count))
            sent = [line for line in whole[:upto] if (line.ns or 0) // SECOND * SECOND >= since]
            if whole[:upto]:
                log.write("app", [line for line in sent if seen.new(line)])
        log.close()
        assert messages(Path(place)) == [line.message.decode() for line in whole]


def test_containers_are_told_apart_and_found_again(tmp_path: Path) -> None:
    log = PodLog(tmp_path / "web-1", ["app", "proxy"])
    log.open()
    log.write("app", [at(1, "a"), at(1, "b")])
    log.write("proxy", [at(2, "c")])
    log.close()
    assert messages(tmp_path) == ["[app] a", "[app] b", "[proxy] c"]
    again = PodLog(tmp_path / "web-1", ["app", "proxy"])
    again.open()
    assert (again.mark("app").us, again.mark("app").count) == ((BASE // 1000) + 1, 2)
    assert again.mark("proxy").count == 1


def test_an_over_long_line_is_one_message(tmp_path: Path) -> None:
    log = PodLog(tmp_path / "web-1", ["app"])
    log.open()
    log.write("app", [at(1, "x" * 50_000), at(2, "after")])
    log.close()
    assert messages(tmp_path) == ["x" * 50_000, "after"]
    again = PodLog(tmp_path / "web-1", ["app"])
    again.open()
    assert again.mark("app").us == BASE // 1000 + 2


def test_lives_are_numbered_as_the_platform_counts_restarts(tmp_path: Path) -> None:
    log = PodLog(tmp_path / "web-1", ["app"])
    log.open()
    log.write("app", [at(100_000, "last words of the third")])
    # The API says only that it started in this second.
    log.begin_life("app", "containerd://4", BASE, restarts=3)
    log.begin_life("app", "containerd://4", BASE, restarts=3)
    log.write("app", [at(200_000, "first words of the fourth")])
    log.begin_life("app", "containerd://5", BASE + SECOND, restarts=4)
    log.write("app", [at(1_100_000, "fifth")])
    log.close()
    assert [number for number, _ in read_notes((tmp_path / "web-1" / STARTS).read_bytes())] == [4, 5]
    chunks = ChunkFollower(tmp_path, None, lines=100).poll()
    lives = {chunk.data.split(b" F ")[1].strip().decode(): chunk.incarnation for chunk in chunks}
    assert lives == {"last words of the third": 3, "first words of the fourth": 4, "fifth": 5}


def test_a_pods_containers_begin_one_life_together(tmp_path: Path) -> None:
    log = PodLog(tmp_path / "web-1", ["app", "proxy"])
    log.open()
    log.begin_life("app", "containerd://1", BASE, restarts=0)
    log.begin_life("proxy", "containerd://2", BASE, restarts=0)
    assert [number for number, _ in read_notes((tmp_path / "web-1" / STARTS).read_bytes())] == [1]
    log.begin_life("proxy", "containerd://3", BASE + SECOND, restarts=1)
    assert [number for number, _ in read_notes((tmp_path / "web-1" / STARTS).read_bytes())] == [1, 2]


def test_another_daemon_goes_on_counting(tmp_path: Path) -> None:
    first = PodLog(tmp_path / "web-1", ["app"])
    first.open()
    first.begin_life("app", "containerd://1", BASE, restarts=0)
    second = PodLog(tmp_path / "web-1", ["app"])
    second.open()
    assert second.knows("app", "containerd://1")
    # A pod of the same name (a StatefulSet's), whose restarts begin anew.
    second.begin_life("app", "containerd://9", BASE + SECOND, restarts=0)
    assert [number for number, _ in read_notes((tmp_path / "web-1" / STARTS).read_bytes())] == [1, 2]


def test_the_kubelets_own_words_are_stored_once(tmp_path: Path) -> None:
    log = PodLog(tmp_path / "web-1", ["app"])
    log.open()
    log.write("app", [at(1, "a"), Line(None, b"rpc error: no such container")])
    log.write("app", [Line(None, b"rpc error: no such container")])
    log.close()
    assert messages(tmp_path) == ["a", "rpc error: no such container"]
