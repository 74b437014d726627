"""The frames of an exec session: what was sent arrives, however it is cut; what is no frame is refused."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.contract.exec_frames import LARGEST, ExecFrame, encode_frame, read_frame

FRAMES = st.lists(st.tuples(st.sampled_from(ExecFrame), st.binary(max_size=300)), max_size=8)


async def frames_in(raw: bytes) -> list[tuple[ExecFrame, bytes]]:
    reader = asyncio.StreamReader()
    reader.feed_data(raw)
    reader.feed_eof()
    found = []
    while (frame := await read_frame(reader)) is not None:
        found.append(frame)
    return found


@given(frames=FRAMES, lost=st.integers(min_value=0, max_value=400))
async def test_whole_frames_arrive_and_half_ones_never(frames: list[tuple[ExecFrame, bytes]], lost: int) -> None:
    raw = b"".join(encode_frame(kind, payload) for kind, payload in frames)
    assert await frames_in(raw) == frames
    kept = await frames_in(raw[: max(0, len(raw) - lost)])
    assert kept == frames[: len(kept)]
    if lost and frames:
        assert len(kept) < len(frames)


@given(raw=st.binary(max_size=200))
async def test_any_bytes_are_frames_an_end_or_a_value_error(raw: bytes) -> None:
    try:
        await frames_in(raw)
    except ValueError:
        return


async def test_what_is_too_large_is_neither_sent_nor_taken() -> None:
    assert len(encode_frame(ExecFrame.INPUT, b"x" * LARGEST)) == LARGEST + 5
    with pytest.raises(ValueError, match="do not fit"):
        encode_frame(ExecFrame.INPUT, b"x" * (LARGEST + 1))
    with pytest.raises(ValueError, match="a frame of"):
        await frames_in(b"\x00" + (LARGEST + 1).to_bytes(4, "big") + b"x")
