"""What the requests say: seeded prompts of known length, or a file's, and the bodies made of them.

Owns request bodies. Sends nothing. Built-in prompts are of common English words that most tokenizers keep whole, so
the wanted length in tokens is met within a few percent; they differ from their first word on, so that an engine's
prefix cache does not make them cheaper than they look. Embeddings ask for sentences (see sentences.py).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from backend.contract.errors import FileError
from backend.load.sentences import corpus
from backend.load.spec import LoadSpec
from backend.openai_wire import ChatMessage, ChatRequest, CompletionRequest, EmbeddingRequest, StreamOptions

_COMMON: Final = (
    "the of and to in is that for it as was with be by on not he his but at are this have from or had an they which "
    "one you were her all she there would their we him been has when who will more no if out so said what up its "
    "about into than them can only other new some could time these two may then do first any my now such like our "
    "over man me even most made after also did many before must through back years where much your way well down "
    "should because each just those people how too little state good very make world still own see men work long "
    "get here between both life being under never day same another know while last might us great old year off come "
    "since against go came right used take three house water light river stone garden music paper window table "
    "school city road field summer winter morning evening color number letter story question answer"
)
WORDS: Final = tuple(_COMMON.split())


class PlannedRequest(msgspec.Struct, frozen=True):
    """One request's body, before it is sent."""

    body: bytes
    """Empty for `get`."""
    stream: bool
    text: str = ""
    """What is asked about."""


def planner(spec: LoadSpec) -> Callable[[int], PlannedRequest]:
    """A function from the arrival's index (called in rising order) to its request. Raises FileError."""
    source = random.Random(f"prompts-{spec.seed}")  # noqa: S311 - reproducible prompts, no secret
    listed = read_prompts(Path(spec.prompts_file)) if spec.prompts_file else None

    def plan(index: int) -> PlannedRequest:
        if spec.kind == "get":
            return PlannedRequest(b"", False)
        if listed:
            text = listed[index % len(listed)]
        else:
            text = source.choice(corpus()) if spec.kind == "embeddings" else _words(spec, source)
        stream = spec.kind != "embeddings" and source.random() < spec.stream_fraction
        return PlannedRequest(encode_request(spec, text, stream=stream), stream, text)

    return plan


def _words(spec: LoadSpec, source: random.Random) -> str:
    low, high = math.log(spec.prompt_tokens_min), math.log(spec.prompt_tokens_max)
    tokens = round(math.exp(source.uniform(low, high)))
    return " ".join(source.choices(WORDS, k=max(1, tokens)))


def encode_request(spec: LoadSpec, text: str, *, stream: bool) -> bytes:
    """The JSON body of one request; streams ask for `usage` in their last chunk."""
    options = StreamOptions(include_usage=True) if stream else None
    if spec.kind == "chat":
        return msgspec.json.encode(
            ChatRequest(
                messages=[ChatMessage(role="user", content=text)],
                model=spec.model or None,
                max_tokens=spec.max_tokens,
                temperature=spec.temperature,
                stream=stream,
                stream_options=options,
            )
        )
    if spec.kind == "embeddings":
        return msgspec.json.encode(EmbeddingRequest(input=text, model=spec.model or None))
    return msgspec.json.encode(
        CompletionRequest(
            prompt=text,
            model=spec.model or None,
            max_tokens=spec.max_tokens,
            temperature=spec.temperature,
            stream=stream,
            stream_options=options,
        )
    )


def read_prompts(path: Path) -> list[str]:
    """Prompts of a file: one a line, or JSON lines (strings, or objects with `prompt`). Empty lines are skipped.

    Raises FileError for a missing, empty or malformed file. A file is JSON lines when its name ends in `.jsonl`.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise FileError(str(path), f"the prompts cannot be read: {error.strerror}.", "Check the path.") from None
    except UnicodeDecodeError:
        raise FileError(str(path), "the prompts are not UTF-8 text.", "Convert the file.") from None
    found: list[str] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        found.append(_json_prompt(path, number, line) if path.suffix == ".jsonl" else line)
    if not found:
        raise FileError(str(path), "there is no prompt in the file.", "Write one prompt a line.")
    return found


def _json_prompt(path: Path, number: int, line: str) -> str:
    try:
        value = msgspec.json.decode(line)
    except msgspec.DecodeError as error:
        raise FileError(str(path), f"this line is not JSON: {error}.", "Correct it.", line=number, column=1) from None
    prompt = value.get("prompt") if isinstance(value, dict) else value
    if not isinstance(prompt, str):
        raise FileError(
            str(path), "this line holds no prompt.", 'Write a string or {"prompt": "…"}.', line=number, column=1
        )
    return prompt
