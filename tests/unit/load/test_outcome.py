"""What the caller got, from what was on the wire."""

from __future__ import annotations

from typing import Any

import pytest

from backend.contract.words import RequestOutcome
from backend.load.outcome import Seen, classify, error_message, usage_of

GOOD = b'{"choices":[{"text":"a"}],"usage":{"prompt_tokens":2,"completion_tokens":1}}'
STREAM: dict[str, Any] = {"status": 200, "stream": True, "stream_is_sse": True, "stream_events": 3}


@pytest.mark.parametrize(
    ("seen", "outcome", "termination"),
    [
        (Seen(status=200, body=GOOD), RequestOutcome.OK, ""),
        (Seen(**STREAM, stream_done=True), RequestOutcome.OK, ""),
        (Seen(**STREAM), RequestOutcome.WRONG, "silent_end"),
        (Seen(**STREAM, stream_done=True, stream_error="lost"), RequestOutcome.FAILED, "stream_error"),
        (Seen(**{**STREAM, "stream_events": 0}, stream_done=True), RequestOutcome.WRONG, "bad_answer"),
        (Seen(status=200, stream=True, body=GOOD), RequestOutcome.WRONG, "bad_answer"),
        (Seen(status=200, body=b"<html>"), RequestOutcome.WRONG, "bad_answer"),
        (Seen(status=200, body=b'{"choices":[]}'), RequestOutcome.WRONG, "bad_answer"),
        (Seen(status=429), RequestOutcome.SHED, "http_429"),
        (Seen(status=503, retry_after=True), RequestOutcome.SHED, "http_503"),
        (Seen(status=503), RequestOutcome.FAILED, "http_503"),
        (Seen(status=400), RequestOutcome.FAILED, "http_400"),
        (Seen(status=302), RequestOutcome.FAILED, "http_302"),
        (Seen(error="refused"), RequestOutcome.FAILED, "refused"),
        (Seen(status=200, error="reset", body=GOOD), RequestOutcome.FAILED, "reset"),
    ],
)
def test_each_case_has_one_outcome(seen: Seen, outcome: RequestOutcome, termination: str) -> None:
    verdict = classify(seen, "completion")
    assert (verdict.outcome, verdict.termination) == (outcome, termination)


def test_slow_is_a_good_answer_that_came_late() -> None:
    good = Seen(status=200, body=GOOD)
    assert classify(good, "completion", latency_s=2.1, slow_over_s=2.0).outcome is RequestOutcome.SLOW
    assert classify(good, "completion", latency_s=1.9, slow_over_s=2.0).outcome is RequestOutcome.OK
    bad = Seen(status=500)
    assert classify(bad, "completion", latency_s=9.0, slow_over_s=2.0).outcome is RequestOutcome.FAILED


def test_kinds_differ_in_what_they_need() -> None:
    assert classify(Seen(status=200, body=b"anything"), "get").outcome is RequestOutcome.OK
    assert classify(Seen(status=200, body=b'{"data":[{}]}'), "embeddings").outcome is RequestOutcome.OK
    assert classify(Seen(status=200, body=GOOD), "embeddings").outcome is RequestOutcome.WRONG


def test_errors_speak_in_their_own_words() -> None:
    assert error_message(b'{"error":{"message":"too long","code":400}}') == "too long"
    assert error_message(b'{"error":"plain"}') == "plain"
    assert error_message(b"<h1>503</h1>\n") == "<h1>503</h1>"
    assert error_message(b'{"error":{}}') == '{"error":{}}'


def test_usage_is_null_where_nobody_counted() -> None:
    usage = usage_of(GOOD)
    assert usage is not None and (usage.prompt_tokens, usage.completion_tokens) == (2, 1)
    assert usage_of(b'{"choices":[]}') is None
    assert usage_of(b"{") is None
