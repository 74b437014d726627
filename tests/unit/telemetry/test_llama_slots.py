"""llama.cpp's slots: tokens of running requests, and how full the context is."""

from __future__ import annotations

import msgspec

from backend.telemetry.llama_slots import SlotsReading, read_slots


def slot(**fields: object) -> dict[str, object]:
    return {"id": 0, "n_ctx": 1000, "speculative": False, "is_processing": True, **fields}


def body(*slots: dict[str, object]) -> bytes:
    return msgspec.json.encode(slots)


def test_tokens_of_running_slots_are_added() -> None:
    reading = read_slots(
        body(
            slot(n_prompt_tokens=104, n_prompt_tokens_processed=81, next_token=[{"n_decoded": 23, "n_remain": 127}]),
            slot(n_prompt_tokens=87, is_processing=False, next_token=[{"n_decoded": 0}]),
        )
    )
    assert reading == SlotsReading(decoded=23, used_ratio=0.052)


def test_older_shape_with_one_object_and_a_prompt_without_its_output() -> None:
    reading = read_slots(body(slot(n_prompt_tokens_processed=50, next_token={"n_decoded": 50})))
    assert reading == SlotsReading(decoded=50, used_ratio=0.1)


def test_idle_slots() -> None:
    assert read_slots(body({"id": 0, "n_ctx": 2048, "is_processing": False})) == SlotsReading(decoded=0, used_ratio=0.0)


def test_no_size_means_no_ratio() -> None:
    assert read_slots(b"[]") == SlotsReading(decoded=0, used_ratio=None)


def test_something_else_is_nothing() -> None:
    for wrong in (b"", b"{}", b'{"error":{"code":501}}', b"<html>", b"[1]"):
        assert read_slots(wrong) is None
