"""The wanted-state file: what it keeps, what it survives."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from backend.contract.errors import TrinityError
from backend.contract.fleet import WorkloadSpec
from backend.reconcile.wanted import WantedState, WantedStore, WorkloadWanted, merge
from tests.fakes.clock import FakeClock
from tests.fakes.ledger import MemoryLedger


def store(path: Path) -> tuple[WantedStore, MemoryLedger]:
    ledger = MemoryLedger()
    return WantedStore(path, ledger, FakeClock()), ledger


def spec(replicas: int, name: str = "llm", max_replicas: int = 16) -> WorkloadSpec:
    return WorkloadSpec(name=name, command=("serve",), replicas=replicas, max_replicas=max_replicas)


STATE = WantedState(
    workloads={"llm": WorkloadWanted(replicas=3, declared=2, drained=("llm-1",), autoscale=True)}, retries_on=False
)


async def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    wanted, ledger = store(tmp_path / "wanted.json")
    assert await wanted.load() == WantedState()
    await wanted.save(STATE)
    assert await store(tmp_path / "wanted.json")[0].load() == STATE
    assert [path.name for path in tmp_path.iterdir()] == ["wanted.json"]
    assert (tmp_path / "wanted.json").stat().st_mode & 0o077 == 0
    assert ledger.events() == []


@pytest.mark.parametrize(
    "damage",
    [b"", b"{", b'{"format": 2}', b'{"workloads": {"llm": {"replicas": -1, "declared": 1}}}', b"\xff\xfe", b"[]"],
)
async def test_a_damaged_file_is_kept_aside_with_an_event(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "wanted.json"
    path.write_bytes(damage)
    wanted, ledger = store(path)
    assert await wanted.load() == WantedState()
    (event,) = ledger.events("wanted.corrupt")
    (aside,) = tmp_path.iterdir()
    assert aside.read_bytes() == damage
    assert event.attributes["path"] == str(aside)
    assert event.severity == "error" and "declared counts are used" in event.message


async def test_a_crash_between_write_and_rename_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, _ = store(tmp_path / "wanted.json")
    await wanted.save(STATE)

    def no_space(fd: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", no_space)
        with pytest.raises(TrinityError, match="No space left on device"):
            await wanted.save(WantedState())
    assert await wanted.load() == STATE


async def test_an_unreadable_file_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "wanted.json").mkdir()
    with pytest.raises(TrinityError, match="cannot be read"):
        await store(tmp_path / "wanted.json")[0].load()


def test_the_operators_count_wins_until_the_declaration_changes() -> None:
    asked = merge(STATE, [spec(2)])
    assert asked.of("llm").replicas == 3
    assert asked.of("llm").drained == ("llm-1",)
    assert merge(asked, [spec(5)]).of("llm").replicas == 5
    assert merge(asked, [spec(2, max_replicas=2)]).of("llm").replicas == 2
    assert merge(asked, [spec(1, "api")]).workloads == {"api": WorkloadWanted(replicas=1, declared=1)}
    assert not merge(asked, [spec(2)]).retries_on


def test_files_of_the_first_format_stay_readable() -> None:
    """A field that is added needs a default: this is a file as version 0.1 writes it."""
    text = b"""{"format": 1, "workloads": {"llm": {"replicas": 3, "declared": 2, "maintenance": false,
      "autoscale": true, "drained": ["llm-1"]}}, "retries_on": false, "applied_yaml": "", "applied_source": ""}"""
    assert msgspec.json.decode(text, type=WantedState) == STATE
