"""What a replica serves, and that its alias is never a path."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.contract.errors import FileError
from backend.serving.models import BUNDLED_ALIAS, bundled_model, resolve_model, slug
from tests.unit.serving.gguf_files import model_file


def test_without_a_path_the_bundled_model_is_taken_and_said() -> None:
    model = resolve_model(None)
    assert (model.alias, model.source, model.path) == (BUNDLED_ALIAS, "bundled", str(bundled_model()))
    assert "MODEL_PATH is not set" in model.note


def test_an_explicit_file_is_named_after_itself(tmp_path: Path) -> None:
    path = tmp_path / "My Model (Q4).gguf"
    path.write_bytes(model_file())
    model = resolve_model(str(path))
    assert (model.alias, model.source) == ("my-model-q4", "MODEL_PATH")
    assert resolve_model(str(path), alias="/srv/models/Other").alias == "other"


def test_a_missing_file_is_no_reason_to_serve_the_bundled_one(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="no such model file"):
        resolve_model(str(tmp_path / "absent.gguf"))


@given(st.text(max_size=200))
def test_an_alias_is_never_a_path(name: str) -> None:
    alias = slug(name)
    assert not set(alias) & set("/\\ \n") and len(alias) <= 64
    assert slug(alias) == alias
