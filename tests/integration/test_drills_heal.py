"""A phase that takes its fault away: a holder that stands still for a moment is asked again."""

from __future__ import annotations

from pathlib import Path

import pytest

from backend.contract.errors import TrinityError
from backend.contract.faults import FaultReport
from backend.drills import rollback
from backend.drills.catalogue import HeldBy
from tests.integration.test_drills_faults import Rig, rig


def moody(made: Rig, monkeypatch: pytest.MonkeyPatch, *, answers_at: int) -> list[str]:
    """Holders that do not answer before they were asked so often, each; what they were asked."""
    heal, asked = made.host.heal, list[str]()

    async def sometimes(run_id: str, replica: str, kind: HeldBy, fault_id: str) -> FaultReport | None:
        asked.append(replica)
        if asked.count(replica) < answers_at:
            raise TrinityError("it stands still")
        return await heal(run_id, replica, kind, fault_id)

    monkeypatch.setattr(made.host, "heal", sometimes)
    return asked


async def test_a_holder_that_stood_still_for_a_moment_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with rig(tmp_path, "net.latency") as made:
        assert await made.inject()
        asked = moody(made, monkeypatch, answers_at=3)
        assert await made.injector.heal("f")
        assert {replica: asked.count(replica) for replica in asked} == {"llm-0": 3, "llm-1": 3, "llm-2": 3}
        assert not any(made.host.orders.values())
        assert made.stamps.t_healed is not None
        await made.roll_back()


async def test_one_that_never_lets_go_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollback, "HEAL_FOR_S", 0.3)
    async with rig(tmp_path, "net.latency") as made:
        assert await made.inject()
        asked = moody(made, monkeypatch, answers_at=1_000_000)
        assert not await made.injector.heal("f")
        assert len(asked) >= 3, "each at least once"
