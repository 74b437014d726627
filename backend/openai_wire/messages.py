"""Requests and answers of the OpenAI shape as msgspec structs.

Owns field names only. Unknown fields of an answer are ignored (engines add their own, e.g. `timings`);
null and absent mean the same. Never validates what only an engine can know (context length, model names).
"""

from __future__ import annotations

import msgspec


class StreamOptions(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`stream_options` of a request."""

    include_usage: bool = False


class CompletionRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """POST /v1/completions."""

    prompt: str | list[str] | list[int]
    model: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    n: int | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    echo: bool = False
    user: str | None = None


class ChatMessage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One turn. `content` is null in a turn that only calls tools."""

    role: str = "assistant"
    content: str | None = None
    name: str | None = None


class ChatRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """POST /v1/chat/completions."""

    messages: list[ChatMessage]
    model: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    n: int | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    user: str | None = None


class EmbeddingRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """POST /v1/embeddings."""

    input: str | list[str]
    model: str | None = None
    encoding_format: str | None = None
    dimensions: int | None = None
    user: str | None = None


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Token counts as the engine counted them. `completion_tokens` is 0 for embeddings."""

    prompt_tokens: int
    completion_tokens: int = 0
    total_tokens: int = 0


class CompletionChoice(msgspec.Struct, frozen=True, kw_only=True):
    """One text, whole or (in a stream) the next piece of it."""

    text: str = ""
    index: int = 0
    finish_reason: str | None = None


class Completion(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of /v1/completions; in a stream every chunk has the same shape. `usage` comes last."""

    choices: list[CompletionChoice]
    id: str = ""
    object: str = "text_completion"
    created: int = 0
    model: str = ""
    usage: Usage | None = None


class ChatChoice(msgspec.Struct, frozen=True, kw_only=True):
    """One whole answer."""

    message: ChatMessage
    index: int = 0
    finish_reason: str | None = None


class ChatCompletion(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of /v1/chat/completions."""

    choices: list[ChatChoice]
    id: str = ""
    object: str = "chat.completion"
    created: int = 0
    model: str = ""
    usage: Usage | None = None


class ChatDelta(msgspec.Struct, frozen=True, kw_only=True):
    """The next piece of an answer; the first one often carries the role alone."""

    role: str | None = None
    content: str | None = None


class ChatChunkChoice(msgspec.Struct, frozen=True, kw_only=True):
    """One choice of a stream chunk."""

    delta: ChatDelta = ChatDelta()
    index: int = 0
    finish_reason: str | None = None


class ChatCompletionChunk(msgspec.Struct, frozen=True, kw_only=True):
    """One event of a chat stream. `choices` is empty in the chunk that carries `usage`."""

    choices: list[ChatChunkChoice]
    id: str = ""
    object: str = "chat.completion.chunk"
    created: int = 0
    model: str = ""
    usage: Usage | None = None


class Embedding(msgspec.Struct, frozen=True, kw_only=True):
    """One vector."""

    embedding: list[float]
    index: int = 0
    object: str = "embedding"


class EmbeddingResponse(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of /v1/embeddings."""

    data: list[Embedding]
    model: str = ""
    object: str = "list"
    usage: Usage | None = None


class ModelCard(msgspec.Struct, frozen=True, kw_only=True):
    """One served model. `id` is its alias, never a path."""

    id: str
    object: str = "model"
    created: int = 0
    owned_by: str = ""


class ModelList(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of /v1/models."""

    data: list[ModelCard]
    object: str = "list"


class ErrorDetail(msgspec.Struct, frozen=True, kw_only=True):
    """What went wrong, in the words of the OpenAI API. `code` is a number with some engines."""

    message: str
    type: str = "server_error"
    param: str | None = None
    code: str | int | None = None


class ErrorResponse(msgspec.Struct, frozen=True, kw_only=True):
    """The body of every answer with status >= 400, and of an error event inside a stream."""

    error: ErrorDetail
