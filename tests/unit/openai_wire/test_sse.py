"""Whole events come out whatever pieces the bytes arrive in."""

from __future__ import annotations

import pytest

from backend.openai_wire import SseError, SseEvent, SseParser, encode_event, error_body


def _all(data: bytes) -> list[SseEvent]:
    return SseParser().feed(data)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_every_line_end_is_understood(end: bytes) -> None:
    data = end.join([b"data: a", b"", b": ping", b"data: b", b"data: c", b"", b"data: [DONE]", b"", b""])
    parser = SseParser()
    assert [event.data for event in parser.feed(data)] == [b"a", b"b\nc", b"[DONE]"]
    assert parser.done and parser.comments == 1 and not parser.pending


def test_a_cr_and_its_lf_may_come_apart() -> None:
    parser = SseParser()
    assert parser.feed(b"data: a\r") == []
    assert parser.feed(b"\n\r") == [SseEvent(b"a")]
    assert parser.feed(b"\ndata: b\r\n\r\n") == [SseEvent(b"b")]


def test_fields_follow_the_standard() -> None:
    events = _all(b"\xef\xbb\xbfevent: error\nid: 7\ndata:x\n\ndata:  y\n\nevent: z\n\ndata\n\nretry: 5\nother\n\n")
    assert events == [SseEvent(b"x", "error", "7"), SseEvent(b" y", "message", "7"), SseEvent(b"", "message", "7")]


def test_a_cut_stream_is_pending_and_not_done() -> None:
    parser = SseParser()
    parser.feed(b'data: {"x"')
    assert parser.pending and not parser.done
    parser = SseParser()
    parser.feed(b"data: x\n")
    assert parser.pending


def test_text_that_holds_the_mark_is_not_the_mark() -> None:
    parser = SseParser()
    assert not parser.feed(b'data: {"text":"[DONE]"}\n\n')[0].is_done
    assert not parser.done


@pytest.mark.parametrize("data", [b"data: " + b"x" * 200, b"data: xxxxxxxx\n" * 20])
def test_an_endless_event_is_refused(data: bytes) -> None:
    parser = SseParser(max_event_bytes=100)
    with pytest.raises(SseError):
        parser.feed(data)


def test_many_events_in_one_piece_are_not_one_large_event() -> None:
    assert len(SseParser(max_event_bytes=100).feed(b"data: xxxxxxxx\n\n" * 100)) == 100


def test_what_is_encoded_is_parsed() -> None:
    assert _all(encode_event(b"a\n\nb", "kind")) == [SseEvent(b"a\n\nb", "kind")]
    with pytest.raises(ValueError, match="CR"):
        encode_event(b"a\rb")


@pytest.mark.parametrize(
    ("status", "kind"), [(400, "invalid_request_error"), (429, "rate_limit_error"), (418, "invalid_request_error"),
                         (503, "overloaded_error"), (500, "server_error"), (502, "server_error")],
)  # fmt: skip
def test_error_bodies_have_the_openai_shape(status: int, kind: str) -> None:
    assert f'"type":"{kind}"'.encode() in error_body(status, "no")
    assert error_body(status, "no").startswith(b'{"error":{"message":"no"')
