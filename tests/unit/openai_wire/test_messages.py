"""The structs read what engines write and write what engines read."""

from __future__ import annotations

import msgspec

from backend.openai_wire import (
    ChatCompletion,
    ChatCompletionChunk,
    ChatMessage,
    ChatRequest,
    Completion,
    CompletionRequest,
    ErrorResponse,
    StreamOptions,
)


def test_a_request_carries_only_what_was_set() -> None:
    request = CompletionRequest(
        prompt="x", max_tokens=4, temperature=0.0, stream=True, stream_options=StreamOptions(include_usage=True)
    )
    assert msgspec.json.decode(msgspec.json.encode(request)) == {
        "prompt": "x", "max_tokens": 4, "temperature": 0.0, "stream": True, "stream_options": {"include_usage": True},
    }  # fmt: skip
    chat = ChatRequest(messages=[ChatMessage(role="user", content="hi")])
    assert msgspec.json.decode(msgspec.json.encode(chat)) == {"messages": [{"role": "user", "content": "hi"}]}


def test_engine_extras_and_nulls_are_no_trouble() -> None:
    chunk = msgspec.json.decode(
        b'{"choices":[{"finish_reason":null,"index":0,"delta":{"role":"assistant","content":null}}],"timings":{},'
        b'"system_fingerprint":"b","usage":null}',
        type=ChatCompletionChunk,
    )
    assert chunk.choices[0].delta.role == "assistant" and chunk.usage is None
    last = msgspec.json.decode(
        b'{"choices":[],"usage":{"completion_tokens":2,"prompt_tokens":3,"total_tokens":5,"prompt_tokens_details":{}}}',
        type=ChatCompletionChunk,
    )
    assert last.usage is not None and last.usage.completion_tokens == 2
    whole = msgspec.json.decode(b'{"choices":[{"message":{"role":"assistant","content":"a"}}]}', type=ChatCompletion)
    assert whole.choices[0].message.content == "a"
    assert msgspec.json.decode(b'{"choices":[{"text":"a","logprobs":null}]}', type=Completion).choices[0].text == "a"


def test_an_error_code_may_be_a_number_or_a_word() -> None:
    for code in (b"503", b'"busy"', b"null"):
        body = b'{"error":{"message":"m","type":"t","code":' + code + b"}}"
        assert msgspec.json.decode(body, type=ErrorResponse).error.message == "m"
