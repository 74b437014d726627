"""Which texts are computed together."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from backend.serving.embedding.batches import MAX_BATCH_TOKENS, MAX_PADDING, split

LENGTHS = st.lists(st.integers(1, 256), max_size=80)


@given(LENGTHS, st.integers(1, 40))
def test_each_text_is_in_one_batch_and_no_batch_is_too_large(lengths: list[int], most: int) -> None:
    batches = split(lengths, most)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        padded = len(batch) * max(lengths[i] for i in batch)
        assert 1 <= len(batch) <= most
        assert len(batch) == 1 or padded <= MAX_BATCH_TOKENS
        assert padded - sum(lengths[i] for i in batch) <= MAX_PADDING * padded


def test_texts_of_like_length_go_together() -> None:
    assert split([5, 200, 6, 210, 5], 32) == [[0, 4, 2], [1, 3]]
    assert split([32] * 33, 32) == [list(range(32)), [32]]
    assert split([], 32) == []
