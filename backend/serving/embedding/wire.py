"""Requests and answers of the embedding service. Pure: bytes in, a checked question out; vectors in, bytes out.

`/v1/embeddings` has OpenAI's shape, `/embed` is `{"texts": [...]}`. What cannot be served is refused with a sentence,
never answered with something else: another model's name, another number of dimensions, token lists.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

import msgspec

from backend.serving.embedding.model import ALIAS, DIMENSIONS

if TYPE_CHECKING:
    from backend.serving.embedding.engine import Vector

_Shape = TypeVar("_Shape")

OPENAI_ROUTE: Final = "/v1/embeddings"
EMBED_ROUTE: Final = "/embed"
ACCEPTED_MODELS: Final = frozenset({"", ALIAS, "all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"})
MAX_TEXT_CHARS: Final = 200_000
"""The model reads 256 tokens; what lies far behind them is a mistake and would only cost tokenizing."""
_DECIMALS: Final = 8
"""Of a component in JSON: half of what 32-bit floats would print, with a cosine of 1 - 1e-14."""


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What a client asked for."""

    texts: tuple[str, ...]
    form: Literal["float", "base64"] = "float"


class BadRequest(Exception):
    """A request that cannot be served, with its HTTP status and the parameter that is wrong."""

    def __init__(self, message: str, *, status: int = 400, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.param, self.code = status, param, code


class _OpenAi(msgspec.Struct, frozen=True):
    input: Any
    model: str | None = None
    encoding_format: str | None = None
    dimensions: int | None = None


class _Embed(msgspec.Struct, frozen=True):
    texts: Any


def question_of(route: str, body: bytes, *, max_texts: int) -> Question:
    """The question in a request's body. Raises BadRequest."""
    if route == EMBED_ROUTE:
        return Question(texts=_texts(_decode(body, _Embed).texts, "texts", max_texts))
    asked = _decode(body, _OpenAi)
    if (asked.model or "") not in ACCEPTED_MODELS:
        message = f"The model {asked.model!r} is not served here, only {ALIAS!r} is."
        raise BadRequest(message, status=404, param="model", code="model_not_found")
    if asked.dimensions not in (None, DIMENSIONS):
        message = (
            f"This model's vectors have {DIMENSIONS} dimensions and cannot be shortened; {asked.dimensions} asked."
        )
        raise BadRequest(message, param="dimensions")
    if asked.encoding_format not in (None, "float", "base64"):
        raise BadRequest("encoding_format must be 'float' or 'base64'.", param="encoding_format")
    form: Literal["float", "base64"] = "base64" if asked.encoding_format == "base64" else "float"
    return Question(texts=_texts(asked.input, "input", max_texts), form=form)


def _decode(body: bytes, kind: type[_Shape]) -> _Shape:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise BadRequest(f"The request's shape is wrong: {error}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"The body is not JSON: {error}.") from None
    except RecursionError:
        raise BadRequest("The body is nested too deeply.") from None


def _texts(given: object, param: str, most: int) -> tuple[str, ...]:
    texts = [given] if isinstance(given, str) and param == "input" else given
    if not isinstance(texts, list):
        raise BadRequest(f"{param} must be {'a string or ' if param == 'input' else ''}a list of strings.", param=param)
    if not texts:
        raise BadRequest(f"{param} is empty.", param=param)
    if len(texts) > most:
        message = f"{param} holds {len(texts)} texts, at most {most} are taken at once."
        raise BadRequest(message, status=413, param=param, code="too_many_texts")
    for number, text in enumerate(texts):
        if isinstance(text, int | list):
            raise BadRequest(f"{param} holds token ids; only strings are taken.", param=param, code="tokens_refused")
        if not isinstance(text, str):
            raise BadRequest(f"{param}[{number}] is not a string.", param=param)
        if not text:
            raise BadRequest(f"{param}[{number}] is an empty string.", param=param)
        if len(text) > MAX_TEXT_CHARS:
            raise BadRequest(f"{param}[{number}] is longer than {MAX_TEXT_CHARS} characters.", param=param)
    return tuple(texts)


def openai_answer(vectors: Sequence[Vector], form: Literal["float", "base64"]) -> bytes:
    """The body of `/v1/embeddings`."""
    shown = _base64(vectors) if form == "base64" else _numbers(vectors)
    tokens = sum(vector.tokens for vector in vectors)
    return msgspec.json.encode(
        {
            "object": "list",
            "data": [{"object": "embedding", "index": i, "embedding": one} for i, one in enumerate(shown)],
            "model": ALIAS,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
    )


def embed_answer(vectors: Sequence[Vector]) -> bytes:
    """The body of `/embed`; `truncated` counts texts of which only the first 256 tokens were read."""
    return msgspec.json.encode(
        {
            "embeddings": _numbers(vectors),
            "model": ALIAS,
            "dimensions": DIMENSIONS,
            "tokens": sum(vector.tokens for vector in vectors),
            "truncated": sum(vector.cut for vector in vectors),
        }
    )


def _numbers(vectors: Sequence[Vector]) -> list[list[float]]:
    import numpy as np  # loaded with the model already

    joined = np.frombuffer(b"".join(vector.data for vector in vectors), "<f4").reshape(len(vectors), -1)
    rows: list[list[float]] = joined.astype(np.float64).round(_DECIMALS).tolist()
    return rows


def _base64(vectors: Sequence[Vector]) -> list[str]:
    return [base64.b64encode(vector.data).decode("ascii") for vector in vectors]
