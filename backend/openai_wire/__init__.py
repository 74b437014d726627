"""The OpenAI wire shape, once: requests, answers, stream chunks, errors, and server-sent events.

Owns how bytes on `/v1/*` are read and written. Does no I/O and knows nothing of engines or replicas.
"""

from backend.openai_wire.errors import error_body
from backend.openai_wire.messages import (
    ChatCompletion,
    ChatCompletionChunk,
    ChatMessage,
    ChatRequest,
    Completion,
    CompletionRequest,
    EmbeddingRequest,
    EmbeddingResponse,
    ErrorDetail,
    ErrorResponse,
    ModelCard,
    ModelList,
    StreamOptions,
    Usage,
)
from backend.openai_wire.sse import DONE, SseError, SseEvent, SseParser, encode_event

__all__ = [
    "DONE",
    "ChatCompletion",
    "ChatCompletionChunk",
    "ChatMessage",
    "ChatRequest",
    "Completion",
    "CompletionRequest",
    "EmbeddingRequest",
    "EmbeddingResponse",
    "ErrorDetail",
    "ErrorResponse",
    "ModelCard",
    "ModelList",
    "SseError",
    "SseEvent",
    "SseParser",
    "StreamOptions",
    "Usage",
    "encode_event",
    "error_body",
]
