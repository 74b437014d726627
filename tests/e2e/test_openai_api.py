"""The edge speaks OpenAI's API: curl and the official client work, streaming and not."""

from __future__ import annotations

import json
import subprocess

import pytest
from openai import OpenAI

from tests.e2e.harness import RealFleet, wait_for


def curl(fleet: RealFleet, path: str, body: dict[str, object], *options: str) -> str:
    done = subprocess.run(
        ["curl", "-sSN", *options, fleet.url + path, "-H", "Content-Type: application/json", "-d", json.dumps(body)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("path", "ask"),
    [
        ("/v1/completions", {"prompt": "The sky is"}),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Say hello"}]}),
    ],
)
def test_curl_plain_and_streaming(fleet: RealFleet, path: str, ask: dict[str, object]) -> None:
    plain = json.loads(curl(fleet, path, ask | {"max_tokens": 8, "temperature": 0}))
    assert plain["usage"]["completion_tokens"] >= 1
    lines = curl(fleet, path, ask | {"max_tokens": 8, "temperature": 0, "stream": True}).splitlines()
    chunks = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    assert chunks[-1] == "[DONE]"
    pieces = [json.loads(chunk)["choices"][0] for chunk in chunks[:-1] if json.loads(chunk)["choices"]]
    texts = [piece.get("text") or piece.get("delta", {}).get("content") or "" for piece in pieces]
    first = plain["choices"][0]
    assert "".join(texts) == first.get("text", first.get("message", {}).get("content"))


def test_official_client(fleet: RealFleet) -> None:
    client = OpenAI(base_url=f"{fleet.url}/v1", api_key="unused", max_retries=0)
    models = [model.id for model in client.models.list()]
    assert models == ["smollm2-135m"]
    assert "/" not in models[0]
    completion = client.completions.create(model=models[0], prompt="One, two,", max_tokens=6, seed=1, stop=["\n"])
    assert completion.model == "smollm2-135m"
    assert completion.usage is not None
    chat = client.chat.completions.create(
        model=models[0], messages=[{"role": "user", "content": "Hi"}], max_tokens=6, temperature=0
    )
    assert chat.choices[0].message.content
    with client.chat.completions.create(
        model=models[0], messages=[{"role": "user", "content": "Hi"}], max_tokens=6, temperature=0, stream=True
    ) as stream:
        text = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    assert text == chat.choices[0].message.content


def test_request_id_goes_in_and_out_and_into_the_ledger(fleet: RealFleet) -> None:
    head = curl(
        fleet,
        "/v1/completions",
        {"prompt": "a", "max_tokens": 2},
        "-D",
        "-",
        "-o",
        "/dev/null",
        "-H",
        "X-Request-ID: my-id-1",
    )
    assert "x-request-id: my-id-1" in head.lower()
    rows = wait_for(lambda: fleet.requests(request_id="my-id-1", vantage="edge"), 60.0, "ledger row")
    assert [(row.status, row.workload, row.route, row.stream, row.ttft_s) for row in rows] == [
        (200, "llm", "/v1/completions", False, None)
    ]
    assert rows[0].replica in {"llm-0", "llm-1"}


def test_errors_are_openai_shaped(fleet: RealFleet) -> None:
    unknown = json.loads(curl(fleet, "/v1/nothing", {}))
    assert unknown["error"]["message"]
    bad = json.loads(curl(fleet, "/v1/chat/completions", {"messages": "no list"}))
    assert bad["error"]["message"]
