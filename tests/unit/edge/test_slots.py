"""The slot table: invariants under any sequence of changes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.contract.errors import Refused
from backend.contract.fleet import ProbeSpec, ProbesSpec, WorkloadSpec
from backend.contract.words import SlotState
from backend.edge import slots
from backend.edge.slots import SlotTable

SPECS = [
    WorkloadSpec(name="llm", command=("x",), max_replicas=3, slots=4, routes=("/",)),
    WorkloadSpec(name="embedding", command=("x",), max_replicas=2, slots=8, routes=("/embed",)),
]
TABLE = slots.declare(SlotTable(), SPECS)


def put(table: SlotTable, workload: str, replica: str, port: int = 1) -> SlotTable:
    return slots.fill(table, workload, replica, host="127.0.0.1", port=port, check_port=port, maxconn=4)[0]


changes = st.lists(
    st.tuples(
        st.sampled_from(["fill", "drain", "ready", "clear", "narrow", "wide"]),
        st.sampled_from(["llm", "embedding"]),
        st.integers(0, 4),
    ),
    max_size=40,
)


@given(changes)
def test_no_slot_holds_two_replicas_and_no_replica_two_slots(sequence: list[tuple[str, str, int]]) -> None:
    table = TABLE
    for verb, workload, number in sequence:
        replica = f"{workload}-{number}"
        if verb == "fill":
            try:
                table = put(table, workload, replica)
            except Refused:
                backend = table.backend(workload)
                used = sum(a.workload == workload for a in table.filled)
                assert backend is None or used == backend.slots
        elif verb == "clear":
            table = slots.clear(table, workload, replica)
            assert table.find(workload, replica) is None
        elif verb in ("narrow", "wide"):
            table = slots.declare(table, SPECS[:1] if verb == "narrow" else SPECS)
        else:
            state = SlotState.DRAIN if verb == "drain" else SlotState.READY
            table = slots.set_state(table, workload, replica, state)
        assert len({(a.workload, a.slot) for a in table.filled}) == len(table.filled)
        assert len({(a.workload, a.replica) for a in table.filled}) == len(table.filled)
        widths = {b.workload: b.slots for b in table.backends}
        assert all(0 <= a.slot < widths[a.workload] for a in table.filled)


def test_filling_twice_keeps_the_slot_and_makes_it_ready() -> None:
    table = put(put(TABLE, "llm", "llm-0"), "llm", "llm-1")
    table = slots.set_state(table, "llm", "llm-1", SlotState.DRAIN)
    again, made = slots.fill(table, "llm", "llm-1", host="127.0.0.1", port=9, check_port=9, maxconn=2)
    assert made.slot == 1 and made.state is SlotState.READY and made.port == 9
    assert len(again.filled) == 2


def test_full_and_undeclared_workloads_are_refused_with_a_next_step() -> None:
    table = TABLE
    for number in range(3):
        table = put(table, "llm", f"llm-{number}")
    with pytest.raises(Refused, match=r"All 3 slots.*max_replicas"):
        put(table, "llm", "llm-3")
    with pytest.raises(Refused, match="no backend"):
        put(table, "nobody", "nobody-0")


def test_workload_without_routes_is_not_behind_the_edge() -> None:
    worker = WorkloadSpec(name="worker", command=("x",), routes=())
    assert slots.declare(TABLE, [worker]).backends == ()


def test_readiness_probe_gives_the_check_path() -> None:
    http = WorkloadSpec(name="a", command=("x",), probes=ProbesSpec(readiness=ProbeSpec(path="/health/ready")))
    tcp = WorkloadSpec(name="b", command=("x",), probes=ProbesSpec(readiness=ProbeSpec(kind="tcp")))
    assert slots.backend_of(http).check_path == "/health/ready"
    assert slots.backend_of(tcp).check_path is None
