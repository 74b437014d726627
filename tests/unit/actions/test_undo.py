"""Undo: an action of its own, once, that survives a restart."""

from __future__ import annotations

import asyncio

import pytest

from backend.contract.control import ActionRequest
from backend.contract.errors import Refused, TrinityError
from backend.contract.words import Verb
from tests.fakes.ledger import MemoryLedger
from tests.unit.actions.gateway_room import REQUESTS, Desk, ask


@pytest.mark.parametrize(
    ("request_", "inverse"),
    [
        (REQUESTS[Verb.SCALE], ("scale", "llm", 3, "cli:bob")),
        (REQUESTS[Verb.DRAIN], ("undrain", "llm-0")),
        (REQUESTS[Verb.UNDRAIN], ("drain", "llm-0")),
        (REQUESTS[Verb.AUTOSCALE], ("autoscale", "llm", False)),
        (REQUESTS[Verb.MAINTENANCE], ("maintenance", "llm", False)),
    ],
)
async def test_undo_does_the_inverse_as_an_action_of_its_own(
    request_: ActionRequest, inverse: tuple[object, ...]
) -> None:
    desk = Desk()
    row = await desk.gateway.perform(request_)
    assert row.undoable
    desk.calls.clear()
    undo = await desk.gateway.perform(ask(Verb.UNDO, actor="cli:bob", id=row.id))
    assert desk.calls == [inverse]
    assert (undo.undo_of, undo.actor, undo.outcome, undo.target) == (row.id, "cli:bob", "ok", row.target)
    with pytest.raises(Refused, match=f"undone already, by {undo.id}"):
        await desk.gateway.perform(ask(Verb.UNDO, id=row.id))


async def test_undo_survives_a_restart_of_the_daemon() -> None:
    ledger = MemoryLedger()
    row = await Desk(ledger=ledger).gateway.perform(REQUESTS[Verb.SCALE])
    desk = Desk(ledger=ledger)
    desk.wanted = 2
    preview = desk.gateway.preview(ask(Verb.UNDO, id=row.id))
    assert preview.verb == Verb.UNDO and "llm: 2 → 3 replicas" in preview.summary
    assert (await desk.gateway.perform(ask(Verb.UNDO, row.id))).outcome == "ok"
    assert desk.wanted == 3


async def test_undo_without_an_id_takes_the_newest_that_can_be_undone() -> None:
    desk = Desk()
    first = await desk.gateway.perform(REQUESTS[Verb.SCALE])
    second = await desk.gateway.perform(REQUESTS[Verb.DRAIN])
    await desk.gateway.perform(REQUESTS[Verb.KILL])
    assert (await desk.gateway.perform(ask(Verb.UNDO))).undo_of == second.id
    assert (await desk.gateway.perform(ask(Verb.UNDO))).undo_of == first.id
    with pytest.raises(Refused, match="no action that can be undone"):
        await desk.gateway.perform(ask(Verb.UNDO))


async def test_what_cannot_be_undone_says_why() -> None:
    desk = Desk()
    kill = await desk.gateway.perform(REQUESTS[Verb.KILL])
    with pytest.raises(Refused, match="the process is gone"):
        await desk.gateway.perform(ask(Verb.UNDO, id=kill.id))
    same = await desk.gateway.perform(ask(Verb.SCALE, "llm", replicas=3))
    assert not same.undoable
    with pytest.raises(Refused, match="changed nothing"):
        await desk.gateway.perform(ask(Verb.UNDO, id=same.id))
    desk.fail = TrinityError("no")
    failed = await desk.gateway.perform(REQUESTS[Verb.SCALE])
    with pytest.raises(Refused, match="was failed: there is nothing to undo"):
        await desk.gateway.perform(ask(Verb.UNDO, id=failed.id))


async def test_two_undos_at_once_undo_once() -> None:
    desk = Desk()
    row = await desk.gateway.perform(REQUESTS[Verb.SCALE])
    both = await asyncio.gather(
        *(desk.gateway.perform(ask(Verb.UNDO, id=row.id)) for _ in range(2)), return_exceptions=True
    )
    assert sorted(type(result).__name__ for result in both) == ["ActionRow", "Refused"]


async def test_a_failed_undo_can_be_tried_again() -> None:
    desk = Desk()
    row = await desk.gateway.perform(REQUESTS[Verb.SCALE])
    desk.fail = TrinityError("no")
    assert (await desk.gateway.perform(ask(Verb.UNDO, id=row.id))).outcome == "failed"
    desk.fail = None
    assert (await desk.gateway.perform(ask(Verb.UNDO, id=row.id))).outcome == "ok"
