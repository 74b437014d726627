"""Wrong loads are refused with a sentence; right ones make the bodies they promise."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from backend.contract.errors import FileError, UsageError
from backend.load import LoadSpec
from backend.load.prompts import planner, read_prompts
from backend.load.spec import check_spec, target_of

URL = "http://127.0.0.1:8080"


@pytest.mark.parametrize(
    ("url", "kind", "wanted"),
    [
        (URL, "completion", ("127.0.0.1", 8080, "/v1/completions", "127.0.0.1:8080")),
        (URL + "/", "chat", ("127.0.0.1", 8080, "/v1/chat/completions", "127.0.0.1:8080")),
        (URL, "get", ("127.0.0.1", 8080, "/", "127.0.0.1:8080")),
        ("http://h/v1/models?x=1", "get", ("h", 80, "/v1/models?x=1", "h")),
        ("https://user:pw@[::1]:9/x", "chat", ("::1", 9, "/x", "[::1]:9")),
    ],
)
def test_targets(url: str, kind: str, wanted: tuple[str, int, str, str]) -> None:
    target = target_of(LoadSpec(url=url, kind=kind))  # type: ignore[arg-type]  # a literal from the table above
    assert (target.host, target.port, target.path, target.authority) == wanted


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"url": "ftp://x"}, "URL"), ({"url": "http://x:99999"}, "URL"), ({"url": "x"}, "URL"),
        ({"url": "http://x/a b"}, "URL"), ({"rate": 0.0}, "rate"), ({"rate": float("nan")}, "rate"),
        ({"count": 0}, "count"), ({"duration_s": 0.0}, "duration_s"), ({"concurrency": 0}, "concurrency"),
        ({"prompt_tokens_min": 9, "prompt_tokens_max": 8}, "range"), ({"max_tokens": 0}, "max_tokens"),
        ({"stream_fraction": 1.5}, "stream_fraction"), ({"deadline_s": 0.0}, "deadline_s"),
        ({"headers": {"X": "a\r\nY: b"}}, "header"), ({"api_key": "a\nb"}, "API key"), ({"run_id": "a\n"}, "run_id"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named(wrong: dict[str, object], word: str) -> None:
    with pytest.raises(UsageError, match=word):
        check_spec(LoadSpec(**{"url": URL, **wrong}))  # type: ignore[arg-type]  # wrong on purpose


def test_bodies_are_seeded_and_of_the_wanted_lengths() -> None:
    spec = LoadSpec(url=URL, prompt_tokens_min=10, prompt_tokens_max=2000, stream_fraction=0.5, seed=4)
    first, again = ([planner(spec)(0) for _ in range(1)], [planner(spec)(0) for _ in range(1)])
    assert first == again
    plan = planner(spec)
    planned = [plan(index) for index in range(400)]
    lengths = sorted(len(json.loads(request.body)["prompt"].split()) for request in planned)
    assert lengths[0] >= 10 and lengths[-1] <= 2000
    assert 100 < lengths[200] < 200  # the median of log-uniform 10..2000 is 141
    assert 150 < sum(request.stream for request in planned) < 250
    assert all(("stream_options" in json.loads(request.body)) == request.stream for request in planned)


def test_kinds_have_their_bodies() -> None:
    chat = json.loads(planner(LoadSpec(url=URL, kind="chat", model="m"))(0).body)
    assert chat["messages"][0]["role"] == "user" and chat["model"] == "m" and chat["temperature"] == 0.0
    assert "input" in json.loads(planner(LoadSpec(url=URL, kind="embeddings"))(0).body)
    assert planner(LoadSpec(url=URL, kind="get"))(0).body == b""


def test_prompt_files(tmp_path: Path) -> None:
    lines = tmp_path / "p.txt"
    lines.write_text("one\n\n{two}\n")
    assert read_prompts(lines) == ["one", "{two}"]
    listed = tmp_path / "p.jsonl"
    listed.write_text('"a"\n{"prompt": "b", "x": 1}\n')
    assert read_prompts(listed) == ["a", "b"]
    plan = planner(LoadSpec(url=URL, prompts_file=str(listed), stream_fraction=0.0))
    assert [json.loads(plan(index).body)["prompt"] for index in range(3)] == ["a", "b", "a"]


@pytest.mark.parametrize(("text", "place"), [('"a"\n[1]\n', ":2:1"), ("{\n", ":1:1"), ("\n", "no prompt")])
def test_a_bad_prompt_file_names_the_line(tmp_path: Path, text: str, place: str) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(text)
    with pytest.raises(FileError, match=place):
        read_prompts(path)
    with pytest.raises(FileError, match="cannot be read"):
        read_prompts(tmp_path / "absent")
