"""Data on stdout, words on stderr; times and sizes as people read them."""

from __future__ import annotations

import time

import pytest

from backend.commands import output
from backend.commands.redaction import redact
from backend.commands.watching import since_ts
from backend.contract.errors import UsageError


def test_a_table_pads_every_column_but_the_last(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table(("A", "LONG", "C"), [(1, "x", "y"), ("22", "yy", "a b c")])
    assert capsys.readouterr().out.splitlines() == ["A   LONG  C", "1   x     y", "22  yy    a b c"]


def test_a_table_without_rows_is_its_header(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table(("A", "B"), [])
    assert capsys.readouterr().out == "A  B\n"


def test_json_is_one_line_on_stdout_and_narration_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_json({"a": [1, None, "ä\n"]})
    output.narrate("hm")
    shown = capsys.readouterr()
    assert shown.out == '{"a":[1,null,"ä\\n"]}\n'
    assert shown.err == "hm\n"


def test_progress_off_a_terminal_is_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    progress = output.Progress(every_s=1000.0)
    for text in ("a", "b", "c"):
        progress.show(text)
    progress.end()
    assert capsys.readouterr().err == "a\n"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (-3.0, "0s"), (0.0, "0s"), (59.9, "59s"), (60, "1m"), (3599, "59m"), (7200, "2h"), (90000, "1d")],
)
def test_ages_are_coarse(seconds: float | None, text: str) -> None:
    assert output.age(seconds) == text


def test_units_say_what_is_unknown() -> None:
    assert (output.milliseconds(None), output.milliseconds(0.0415)) == ("-", "42 ms")
    assert (output.mebibytes(None), output.mebibytes(3 * 2**20), output.mebibytes(652 * 2**10)) == (
        *("-", "3 MiB", "652 KiB"),
    )
    assert output.clock(1.5).endswith(".500")
    assert output.clock(time.time()).count(":") == 2


@pytest.mark.parametrize(
    ("text", "start"),
    [(None, 0.0), ("10m", 400.0), ("1h30m", -4400.0), ("1795250964", 1795250964.0), ("1795250964.5", 1795250964.5)],
)
def test_since_is_a_span_or_a_point_in_time(text: str | None, start: float) -> None:
    assert since_ts(text, 1000.0) == start


@pytest.mark.parametrize("text", ["", "5", "yesterday", "-5m", "5 m", "inf", "nan", "1e9"])
def test_since_refuses_what_it_would_have_to_guess(text: str) -> None:
    with pytest.raises(UsageError, match="unit"):
        since_ts(text, 1000.0)


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer hunter2xyz",
        "authorization: hunter2xyz",
        "TRINITY_API_KEY=hunter2xyz",
        '{"trinity_api_key":"hunter2xyz"}',
        "api-key: hunter2xyz",
        "stats auth password=hunter2xyz",
        "password 'hunter2xyz'",
        "http://h/?token=hunter2xyz&a=b",
        "client_secret: hunter2xyz",
        '"HF_TOKEN": "hunter2xyz"',
        "curl http://admin:hunter2xyz@127.0.0.1:8404/",
        "stats auth trinity:hunter2xyz",
    ],
)
def test_a_secret_never_leaves_in_a_bundle(text: str) -> None:
    assert "hunter2xyz" not in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "http://127.0.0.1:8080/v1",
        '{"tokens_out":12,"tokens_per_s":3.5}',
        "tokens: 12 in, 40 out",
        "max_tokens=32",
        "llm-0 Ready",
    ],
)
def test_what_is_no_secret_stays_readable(text: str) -> None:
    assert redact(text) == text


def test_a_known_secret_is_found_without_its_name() -> None:
    assert redact("x hunter2xyz y", ["hunter2xyz"]) == "x [redacted] y"
