"""The undo log: what is written is there, what is torn is not, the last word on each undo counts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.drills import processes, undo_log, warden
from backend.drills.undo_log import Closed, Entry, Result, Undo


def undo(name: str, *, written_ts: float = 100.0) -> Undo:
    return Undo(
        id=name, kind="resume", run_id="r", workload="llm", replica=name, pid=1, mark="m", written_ts=written_ts,
        ttl_s=10.0,
    )  # fmt: skip


def result(name: str, *, verified: bool, by: Literal["daemon", "warden", "recovery"] = "daemon") -> Result:
    return Result(id=name, done=True, verified=verified, by=by, ts=1.0)


def test_entries_come_back_in_order_and_a_torn_tail_is_left_out(tmp_path: Path) -> None:
    entries: list[Entry] = [undo("a"), result("a", verified=True), Closed(ts=1.0)]
    for entry in entries:
        undo_log.append(tmp_path, entry)
    with (tmp_path / undo_log.FILE_NAME).open("ab") as file:
        file.write(b'{"type":"undo"')
    assert undo_log.read(tmp_path) == entries
    assert undo_log.is_closed(entries)
    assert undo_log.read(tmp_path / "none") == []


def test_damage_inside_is_an_error_never_an_empty_log(tmp_path: Path) -> None:
    (tmp_path / undo_log.FILE_NAME).write_bytes(b"{}\n")
    with pytest.raises(msgspec.MsgspecError):
        undo_log.read(tmp_path)


@given(st.lists(st.tuples(st.sampled_from("uvf"), st.integers(0, 4)), max_size=30))
def test_pending_is_what_was_not_last_verified_last_in_first(steps: list[tuple[str, int]]) -> None:
    entries: list[Entry] = []
    known: list[str] = []
    state: dict[str, bool] = {}
    for kind, number in steps:
        name = str(number)
        if kind == "u" and name not in known:
            known.append(name)
            entries.append(undo(name))
        elif kind != "u":
            entries.append(result(name, verified=kind == "v"))
            state[name] = kind == "v"
    wanted = [name for name in reversed(known) if not state.get(name)]
    assert [entry.id for entry in undo_log.pending(entries)] == wanted


def test_the_time_limit_is_that_of_the_oldest_pending(tmp_path: Path) -> None:
    undo_log.append(tmp_path, undo("a", written_ts=100.0))
    assert not warden.expired(tmp_path, 109.0)
    assert warden.expired(tmp_path, 111.0)
    undo_log.append(tmp_path, result("a", verified=True))
    assert not warden.expired(tmp_path, 111.0)


def test_what_only_a_daemon_can_do_never_ends_the_lease(tmp_path: Path) -> None:
    waits = msgspec.structs.replace(undo("a", written_ts=100.0), kind="await-ready")
    undo_log.append(tmp_path, waits)
    assert not warden.expired(tmp_path, 1e9)


def test_process_identity() -> None:
    mark = processes.start_mark(os.getpid())
    assert mark is not None
    assert not processes.is_gone(os.getpid(), mark)
    assert processes.is_gone(os.getpid(), "another")
    assert not processes.resume(os.getpid(), "another")
    assert processes.start_mark(2**22 + 1) is None
    assert processes.state(2**22 + 1) is None


def test_a_late_warden_overturns_no_proof_and_its_own_counts() -> None:
    late, proof = result("a", verified=False, by="warden"), result("a", verified=True, by="recovery")
    assert undo_log.pending([undo("a"), proof, late]) == []
    assert undo_log.standing([undo("a"), proof, late]) == {"a": proof}
    assert undo_log.pending([undo("a"), late]) == [undo("a")]
    assert undo_log.pending([undo("a"), late, result("a", verified=True, by="warden")]) == []
    corrected = result("a", verified=False)
    assert undo_log.pending([undo("a"), result("a", verified=True), corrected]) == [undo("a")], "by who did it"
