"""What is shared holds no secret, and is otherwise what it was: the same rows, the same objects where nothing was."""

from __future__ import annotations

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from backend.commands.redaction import REDACTED, Redactor, redact
from backend.contract.fleet import ExitRecord
from backend.contract.rows import LogRow
from tests.unit.console.sample import action, event, replica, snapshot

SECRET = "hunter2xyz"


def test_rows_without_a_secret_are_the_same_objects() -> None:
    clean = Redactor([SECRET])
    for row in (event(1), action("a"), LogRow(ts=1.0, replica="a", message="tokens: 12, monkey business")):
        assert clean(row) is row


def test_secrets_go_from_texts_arguments_and_nested_fields() -> None:
    clean = Redactor([SECRET])
    row = clean(action("a", args={"api_key": "abc", "replicas": 3}, reason=f"with {SECRET}", result="token=abcdef"))
    assert row.args == {"api_key": REDACTED, "replicas": 3}
    assert (row.reason, row.result) == (f"with {REDACTED}", f"token={REDACTED}")
    line = clean(LogRow(ts=1.0, replica="a", message="GET http://ada:pass@host/", fields={"x-api-key": "k", "n": None}))
    assert line.message == f"GET http://ada:{REDACTED}@host/"
    assert line.fields == {"x-api-key": REDACTED, "n": None}


def test_snapshots_keep_their_unchanged_replicas_and_lose_what_dying_programs_said() -> None:
    clean = Redactor([])
    died = replica("llm-1", last_exit=ExitRecord(ts=1.0, last_lines=("Authorization: Bearer abcdef", "bye")))
    first = clean.snapshot(snapshot(replicas=(replica("llm-0"), died), health_reason="password: abcdef"))
    last_exit = first.replicas[1].status.last_exit
    assert last_exit is not None
    assert last_exit.last_lines == (f"Authorization: {REDACTED}", "bye")
    assert first.health_reason == f"password: {REDACTED}"
    second = clean.snapshot(snapshot(seq=2, replicas=(replica("llm-2"), died)))
    assert second.replicas[1] is first.replicas[1]


PIECES = (
    "token",
    "PassWord",
    "API-key",
    "\u017fecret",
    "Bearer",
    "://",
    "ada:",
    "@",
    "stats auth a:",
    ": ",
    "=",
    '"',
    "\\",
    "é",
    "xyz1",
)


@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=8).map("".join))
@example("redis://ada:xyz1@host/0")
@example("max_tokens: token: xyz1")
def test_nothing_is_passed_over_for_speed(text: str) -> None:
    assert Redactor([])(LogRow(ts=1.0, replica="r0", message=text)).message == redact(text)


@given(st.text(max_size=8), st.text(max_size=8), st.text(min_size=4, max_size=8))
@example("\0\0\0", "", "\0\0\0\0")
def test_a_known_secret_never_remains(before: str, after: str, secret: str) -> None:
    if any(secret in word for word in (REDACTED, "stderr")):  # a secret that is a word of ours is redacted there too
        return
    row = Redactor([secret])(LogRow(ts=1.0, replica="r0", message=before + secret + after))
    assert msgspec.structs.replace(row, message="") == LogRow(ts=1.0, replica="r0", message="")
    assert (before + secret + after).replace(secret, REDACTED).startswith(row.message[: len(before)])
    assert not any(secret in piece for piece in row.message.split(REDACTED))
