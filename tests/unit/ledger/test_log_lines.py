"""What a log line says: time, stream, parts, level, correlation, fields."""

from __future__ import annotations

import pytest

from backend.contract.log_lines import MAX_MESSAGE_BYTES, join_pieces, level_of, parse_piece, stamp_of, to_row

TS = 1795246042.123456
HEAD = b"2026-11-21T07:27:22.123456Z"


def row_of(message: bytes):  # type: ignore[no-untyped-def]  # a LogRow; spelled out it hides the cases
    return to_row("llm-0", parse_piece(HEAD + b" stderr F " + message))


def test_a_stored_line() -> None:
    piece = parse_piece(HEAD + b" stdout F hello  world ")
    assert (piece.ts, piece.stream, piece.whole, piece.message) == (TS, "stdout", True, b"hello  world ")
    assert stamp_of(HEAD + b" stdout F x") == TS
    assert parse_piece(HEAD + b" stderr F ").message == b""


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"plain text",
        b"2026-99-99T07:27:22Z stderr F x",
        HEAD,
        HEAD + b" stdin F x",
        HEAD + b" stderr X x",
        b"\xff\x00",
    ],
)
def test_foreign_lines_are_kept_as_they_are(line: bytes) -> None:
    piece = parse_piece(line, fallback_ts=5.0)
    assert (piece.ts, piece.message, piece.whole) == (5.0, line, True)


def test_parts_are_joined_by_stream() -> None:
    lines = [
        HEAD + b" stdout P one ",
        HEAD + b" stderr F between",
        HEAD + b" stdout P two ",
        HEAD + b" stdout F three",
        HEAD + b" stdout P never ended",
    ]
    assert [(piece.stream, piece.message) for piece in join_pieces(lines)] == [
        ("stderr", b"between"),
        ("stdout", b"one two three"),
        ("stdout", b"never ended"),
    ]


def test_an_endless_line_does_not_fill_memory() -> None:
    part = HEAD + b" stdout P " + b"x" * 16384
    pieces = list(join_pieces([part] * 200))
    assert max(len(piece.message) for piece in pieces) < MAX_MESSAGE_BYTES + 20_000
    assert sum(len(piece.message) for piece in pieces) == 200 * 16384


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("0.00.012.345 I srv  load_model: loading", "info"),
        ("0.01.502.001 W slot update_slots: context full", "warning"),
        ("0.01.502.001 E main: exiting", "error"),
        ("0.01.502.001 D que post: new task", "debug"),
        ("I llama_model_loader: loaded meta data", "info"),
        ("INFO:     Application startup complete.", "info"),
        ("INFO 11-21 07:27:22 engine.py:99] Started", "info"),
        ("WARNING 11-21 07:27:22 config.py:1] x", "warning"),
        ("2026-11-21 07:27:22,123 ERROR vllm: out of memory", "error"),
        ("[WARNING]  (1234) : Server llm/s0 is DOWN", "warning"),
        ("[NOTICE]   (1) : New worker forked", "info"),
        ("[ALERT]    (1) : Starting frontend: cannot bind", "critical"),
        ("E1121 07:27:22.123456   1 server.go:1] bad", "error"),
        ('time=2026 level=warn msg="slow"', "warning"),
        ("error: unknown argument: --foo", "error"),
        ("CRITICAL worker timeout", "critical"),
        ("a line about an information desk", None),
        ("srv  update_slots: all slots are idle", None),
        ("I am a sentence", "info"),
        ("", None),
    ],
)
def test_levels(text: str, level: str | None) -> None:
    assert level_of(text) == level


def test_json_lines_become_fields() -> None:
    row = row_of(b'{"event":"cache hit","level":"warn","request_id":"ab-1","n":3,"deep":{"a":[1]},"none":null}')
    assert (row.message, row.level, row.correlation_id) == ("cache hit", "warning", "ab-1")
    assert row.fields["n"] == 3
    assert row.fields["deep"] == '{"a":[1]}'
    assert row.fields["none"] is None


@pytest.mark.parametrize(
    "text", [b'{"a":', b"{}x", b"{" * 5000, b'{"a":' * 5000, b'{"level":[1],"message":{"a":1}}', b"{}", b"[1]"]
)
def test_broken_json_is_text(text: bytes) -> None:
    row = row_of(text)
    assert row.message
    assert row.level is None


def test_correlation_in_text() -> None:
    assert row_of(b"srv: done request_id=0a1b-2c, 200").correlation_id == "0a1b-2c"
    assert row_of(b"X-Request-ID: q_1").correlation_id == "q_1"
    assert row_of(b"no id here").correlation_id is None
