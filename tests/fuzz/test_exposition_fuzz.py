"""What engines answer is not to be trusted: any text, any bytes, no exception, only finite metrics."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from backend.telemetry.engine_names import ENGINES, read_values
from backend.telemetry.exposition import parse
from backend.telemetry.llama_slots import read_slots

_WORDS = ("llamacpp:requests_processing", "vllm:num_requests_running", "a", "1", "-1", "1e999", "NaN", "+Inf", *"{},=#")
_PIECES = st.sampled_from(
    [*_WORDS, '"', "\\", " ", "\n", "\t", "\x00", "é", "\u2028", '{engine="0"}', "# TYPE x counter\n"]
)


@settings(max_examples=500, deadline=None)
@given(st.one_of(st.text(max_size=300), st.lists(_PIECES, max_size=60).map("".join)))
def test_any_text_reads_without_an_error(text: str) -> None:
    samples = list(parse(text + "\n"))
    for engine in ENGINES:
        assert all(math.isfinite(value) for value in read_values(engine, samples).values())


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=200),
        st.lists(
            st.dictionaries(
                st.sampled_from(["is_processing", "n_ctx", "n_prompt_tokens", "next_token", "n_prompt_tokens_cache"]),
                st.one_of(st.booleans(), st.integers(-10, 10**6), st.lists(st.just({"n_decoded": 3})), st.none()),
            )
        ).map(lambda slots: str(slots).replace("'", '"').replace("True", "true").replace("False", "false").encode()),
    )
)
def test_any_slots_read_without_an_error(body: bytes) -> None:
    reading = read_slots(body)
    assert reading is None or reading.used_ratio is None or reading.used_ratio <= 1.0
