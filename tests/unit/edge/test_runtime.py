"""Commands to HAProxy and its statistics, without HAProxy."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from backend.contract.errors import TrinityError
from backend.contract.fleet import WorkloadSpec
from backend.contract.words import SlotState
from backend.edge import slots
from backend.edge.runtime import (
    HeldRuntime,
    ServerStat,
    mend_commands,
    observed_servers,
    observed_workloads,
    parse_stat,
)
from backend.edge.slots import SlotTable

TABLE = slots.declare(SlotTable(), [WorkloadSpec(name="llm", command=("x",), max_replicas=2)])


def stat(proxy: str, server: str, status: str = "UP", **changes: object) -> ServerStat:
    given: dict[str, object] = {
        "current": 0,
        "queued": 0,
        "total": 0,
        "errors": 0,
        "retries": 0,
        "redispatched": 0,
        "weight": 1,
        "check": "",
        "address": "127.0.0.1:7001",
        "maxconn": 4,
        "last_change_s": 1.0,
        "aborted": 0,
    }
    return ServerStat(proxy=proxy, server=server, status=status, **(given | changes))  # type: ignore[arg-type]


def filled(state: SlotState = SlotState.READY) -> SlotTable:
    table, _ = slots.fill(TABLE, "llm", "llm-0", host="127.0.0.1", port=7001, check_port=7001, maxconn=4)
    return slots.set_state(table, "llm", "llm-0", state)


EMPTY = (stat("llm:1", "s", "MAINT"), stat("llm", "s1", "MAINT (via llm:1/s)"))
GOOD = (stat("llm:0", "s"), stat("llm", "s0"), *EMPTY)


def test_equal_slots_need_no_word() -> None:
    assert mend_commands(filled(), GOOD, "m") == ()
    drained = (GOOD[0], stat("llm", "s0", "DRAIN", weight=0), *EMPTY)
    assert mend_commands(filled(SlotState.DRAIN), drained, "m") == ()


@pytest.mark.parametrize(
    ("table", "seen", "word"),
    [
        (filled(), (stat("llm:0", "s", "MAINT"), stat("llm", "s0", "MAINT"), *EMPTY), "state ready"),
        (filled(), (stat("llm:0", "s", address="127.0.0.1:9"), stat("llm", "s0"), *EMPTY), "addr 127.0.0.1 port 7001"),
        (filled(SlotState.DRAIN), GOOD, "llm/s0 state drain"),
        (filled(), (GOOD[0], stat("llm", "s0", "DRAIN", weight=0), *EMPTY), "llm/s0 state ready"),
        (TABLE, GOOD, "llm:0/s state maint"),
    ],
)
def test_differing_slots_are_told(table: SlotTable, seen: tuple[ServerStat, ...], word: str) -> None:
    assert any(word in command for command in mend_commands(table, seen, "m"))


def test_health_is_never_set_on_the_outer_server() -> None:
    for table in (filled(), filled(SlotState.DRAIN), TABLE):
        for command in mend_commands(table, (stat("llm:0", "s", "MAINT"), stat("llm", "s0"), *EMPTY), "m"):
            assert "health" not in command


def test_observation_joins_both_layers() -> None:
    seen = (
        stat("llm:0", "s", errors=2, check="L7OK 200"),
        stat("llm", "s0", current=3, total=9),
        stat("llm", "BACKEND", queued=5, retries=1),
        *EMPTY,
    )
    server = observed_servers(filled(), seen)[0]
    assert (server.in_flight, server.errors_total, server.check, server.up) == (3, 2, "L7OK 200", True)
    total = observed_workloads(filled(), seen)[0]
    assert (total.in_flight, total.queued, total.retries_total) == (3, 5, 1)


def test_answer_that_is_no_statistics_is_an_error() -> None:
    with pytest.raises(TrinityError):
        parse_stat("Permission denied\n")


async def test_a_question_given_up_does_not_answer_the_next(tmp_path: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := (await reader.readline()).decode().strip():
            if line != "prompt":
                await asyncio.sleep(0.1)
            writer.write(f"answer to {line}\n\n> ".encode())
        writer.close()

    socket_path = tmp_path / "admin"
    async with await asyncio.start_unix_server(serve, str(socket_path)):
        held = await HeldRuntime.open(1, socket_path)
        given_up = asyncio.ensure_future(held.ask("one"))
        await asyncio.sleep(0.02)
        given_up.cancel()
        assert await held.ask("two") == "answer to two\n\n"
        assert await held.ask("three") == "answer to three\n\n"
        held.close()
