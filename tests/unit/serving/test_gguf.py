"""A model file that cannot be served is named with one clear sentence before any engine starts."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from backend.contract.errors import FileError
from backend.serving.gguf import check_gguf
from tests.unit.serving.gguf_files import model_file, string_entry, tensor, text, u32_entry

ARCHITECTURE = string_entry("general.architecture", "llama")


def test_a_good_file_says_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(model_file())
    info = check_gguf(path)
    assert (info.version, info.tensor_count, info.architecture, info.name) == (3, 2, "llama", "Tiny Test")
    assert (info.context_length, info.block_count) == (512, 2)
    assert info.kv_bytes_per_token == 2 * 2 * (16 + 16) * 2
    assert info.size_bytes == path.stat().st_size


def test_the_last_byte_counts(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(model_file()[:-1])
    with pytest.raises(FileError, match=r"truncated: it has .* bytes, its tensors need .*'b'"):
        check_gguf(path)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "too short for a model file"),
        (b"GGUF", "too short for a model file"),
        (model_file(magic=b"GGML"), "not a GGUF model file"),
        (model_file(version=1), "GGUF version 1"),
        (model_file(version=0x03000000), "GGUF version"),
        (model_file()[:60], "ends inside its header"),
        (model_file(entries=[u32_entry("a", 1)]), "does not name its architecture"),
        (model_file(entries=[ARCHITECTURE], tensors=[]), "holds no tensors"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**60, 1), "claims"),
        (model_file(entries=[ARCHITECTURE, text("k") + struct.pack("<I", 99)]), "unknown type 99"),
        (model_file(entries=[ARCHITECTURE, text("k") + struct.pack("<IIQ", 9, 8, 2**61)]), "ends inside its header"),
        (
            model_file(entries=[ARCHITECTURE, text("k") + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 8]),
            "nested too deeply",
        ),
        (model_file(tensors=[tensor("t", (1, 1, 1, 1, 1), 0, 0)]), "5 dimensions"),
        (model_file(tensors=[tensor("t", (2**40, 2**40), 0, 0)]), "truncated"),
    ],
)
def test_each_damage_has_its_sentence(tmp_path: Path, data: bytes, sentence: str) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(data)
    with pytest.raises(FileError, match=sentence) as caught:
        check_gguf(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_missing_and_directory(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="no such model file"):
        check_gguf(tmp_path / "absent.gguf")
    with pytest.raises(FileError, match="is a directory"):
        check_gguf(tmp_path)
