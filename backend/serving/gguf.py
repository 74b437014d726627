"""GGUF model files, checked before an engine is started on them.

Reads the header, the metadata and the tensor table and proves that every tensor lies inside the file. Reads no
tensor data, keeps no large arrays, and never trusts a length it has not compared with the file's size.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import Final

import msgspec

from backend.contract.errors import FileError

MAGIC: Final = b"GGUF"
SUPPORTED_VERSIONS: Final = (2, 3)
DEFAULT_ALIGNMENT: Final = 32
MAX_DIMS: Final = 4
MAX_KEY_BYTES: Final = 65_536
MAX_ENTRIES: Final = 1_000_000
MAX_NESTING: Final = 4
KEPT_STRING_BYTES: Final = 4_096
KEPT_ARRAY_ITEMS: Final = 4_096
"""Longer values (tokenizers, chat templates) are skipped, not stored."""

_SCALARS: Final[dict[int, struct.Struct]] = {
    0: struct.Struct("<B"),
    1: struct.Struct("<b"),
    2: struct.Struct("<H"),
    3: struct.Struct("<h"),
    4: struct.Struct("<I"),
    5: struct.Struct("<i"),
    6: struct.Struct("<f"),
    7: struct.Struct("<?"),
    10: struct.Struct("<Q"),
    11: struct.Struct("<q"),
    12: struct.Struct("<d"),
}
_STRING: Final = 8
_ARRAY: Final = 9
_U32: Final = struct.Struct("<I")
_U64: Final = struct.Struct("<Q")

_BLOCKS: Final[dict[int, tuple[int, int]]] = {
    0: (1, 4),
    1: (1, 2),
    2: (32, 18),
    3: (32, 20),
    6: (32, 22),
    7: (32, 24),
    8: (32, 34),
    9: (32, 36),
    10: (256, 84),
    11: (256, 110),
    12: (256, 144),
    13: (256, 176),
    14: (256, 210),
    15: (256, 292),
    16: (256, 66),
    17: (256, 74),
    18: (256, 98),
    19: (256, 50),
    20: (32, 18),
    21: (256, 110),
    22: (256, 82),
    23: (256, 136),
    24: (1, 1),
    25: (1, 2),
    26: (1, 4),
    27: (1, 8),
    28: (1, 8),
    29: (256, 56),
    30: (1, 2),
    34: (256, 54),
    35: (256, 66),
    39: (32, 17),
}
"""Tensor type -> (elements a block, bytes a block). A type not listed here has only its start checked."""

Value = str | int | float | bool | tuple[int, ...] | None


class GgufInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a model file says of itself. Null means the file does not say."""

    path: str
    size_bytes: int
    version: int
    tensor_count: int
    architecture: str
    name: str | None = None
    context_length: int | None = None
    """Tokens it was trained for."""
    block_count: int | None = None
    kv_bytes_per_token: int | None = None
    """Of a 16-bit KV cache, all layers."""


class _Broken(Exception):
    """The reader left the file or met an impossible value."""


class _Reader:
    """A cursor over the mapped file that cannot leave it."""

    def __init__(self, view: mmap.mmap, size: int) -> None:
        self.view, self.size, self.at = view, size, 4

    def take(self, form: struct.Struct) -> Value:
        self.need(form.size)
        value: int | float | bool = form.unpack_from(self.view, self.at)[0]
        self.at += form.size
        return value

    def u32(self) -> int:
        self.need(4)
        value: int = _U32.unpack_from(self.view, self.at)[0]
        self.at += 4
        return value

    def u64(self) -> int:
        self.need(8)
        value: int = _U64.unpack_from(self.view, self.at)[0]
        self.at += 8
        return value

    def need(self, count: int) -> None:
        if count > self.size - self.at:
            raise _Broken(f"it ends inside its header (at byte {self.size:,})")

    def skip(self, count: int) -> None:
        self.need(count)
        self.at += count

    def text(self, limit: int) -> str | None:
        """A string, or null for one longer than `limit` bytes (skipped)."""
        length = self.u64()
        self.need(length)
        start = self.at
        self.at += length
        return self.view[start : start + length].decode("utf-8", "replace") if length <= limit else None


def check_gguf(path: str | Path) -> GgufInfo:
    """Read and check a model file. Raises FileError with one sentence: missing, not readable, too short, not GGUF,
    unsupported version, damaged header, or truncated."""
    file = Path(path)
    try:
        with file.open("rb") as handle:
            size = handle.seek(0, 2)
            if size < 24:
                raise _error(file, f"is too short for a model file ({size} bytes).")
            with mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as view:
                return _check(file, view, size)
    except FileNotFoundError:
        raise FileError(
            str(file), "there is no such model file.", "Set MODEL_PATH to a GGUF file, or unset it."
        ) from None
    except IsADirectoryError:
        raise FileError(
            str(file), "is a directory, not a model file.", "Set MODEL_PATH to the .gguf file in it."
        ) from None
    except PermissionError:
        raise FileError(str(file), "the model file may not be read by this user.", "Check its permissions.") from None
    except _Broken as broken:
        raise _error(file, f"the model file is damaged: {broken}.") from None


def _error(file: Path, message: str) -> FileError:
    return FileError(str(file), message, "Download it again and compare its size and checksum.")


def _check(file: Path, view: mmap.mmap, size: int) -> GgufInfo:
    if view[:4] != MAGIC:
        raise FileError(
            str(file),
            "is not a GGUF model file (wrong first four bytes).",
            "Convert the model to GGUF or name another.",
        )
    reader = _Reader(view, size)
    version = reader.u32()
    if version not in SUPPORTED_VERSIONS:
        raise FileError(
            str(file),
            f"has GGUF version {version}, this engine reads {SUPPORTED_VERSIONS[0]} and {SUPPORTED_VERSIONS[1]}.",
            "Convert the model with a current converter.",
        )
    tensors, entries = reader.u64(), reader.u64()
    if tensors > MAX_ENTRIES or entries > MAX_ENTRIES:
        raise _Broken(f"it claims {tensors:,} tensors and {entries:,} metadata entries")
    metadata = _metadata(reader, entries)
    architecture = metadata.get("general.architecture")
    if not isinstance(architecture, str) or not architecture:
        raise _Broken("it does not name its architecture")
    if tensors == 0:
        raise _Broken("it holds no tensors (a vocabulary-only file?)")
    _tensors(file, reader, tensors, metadata.get("general.alignment"))
    name = metadata.get("general.name")
    return GgufInfo(
        path=str(file),
        size_bytes=size,
        version=version,
        tensor_count=tensors,
        architecture=architecture,
        name=name if isinstance(name, str) else None,
        context_length=_whole(metadata.get(f"{architecture}.context_length")),
        block_count=_whole(metadata.get(f"{architecture}.block_count")),
        kv_bytes_per_token=_kv_bytes(metadata, architecture),
    )


def _metadata(reader: _Reader, entries: int) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for _ in range(entries):
        key = reader.text(MAX_KEY_BYTES)
        if key is None:
            raise _Broken("a metadata key is impossibly long")
        value = _value(reader, reader.u32(), 0)
        if value is not None:
            found[key] = value
    return found


def _value(reader: _Reader, kind: int, depth: int) -> Value:
    if kind == _STRING:
        return reader.text(KEPT_STRING_BYTES)
    if kind == _ARRAY:
        return _array(reader, depth)
    form = _SCALARS.get(kind)
    if form is None:
        raise _Broken(f"a metadata value has the unknown type {kind}")
    return reader.take(form)


def _array(reader: _Reader, depth: int) -> Value:
    if depth >= MAX_NESTING:
        raise _Broken("metadata arrays are nested too deeply")
    kind, count = reader.u32(), reader.u64()
    if kind in (_STRING, _ARRAY):
        # The shortest string takes 8 bytes, the shortest array 12: a larger count cannot be true.
        reader.need(count * 8)
        for _ in range(count):
            if kind == _STRING:
                reader.skip(reader.u64())
            else:
                _array(reader, depth + 1)
        return None
    form = _SCALARS.get(kind)
    if form is None:
        raise _Broken(f"a metadata array has the unknown type {kind}")
    reader.need(count * form.size)
    if count > KEPT_ARRAY_ITEMS or form.format in ("<f", "<d"):
        reader.skip(count * form.size)
        return None
    return tuple(int(reader.take(form) or 0) for _ in range(count))  # type: ignore[arg-type]  # scalars only


def _tensors(file: Path, reader: _Reader, count: int, alignment: Value) -> None:
    """Walk the tensor table; raise where a tensor's bytes lie outside the file."""
    ends: list[tuple[int, str]] = []
    for _ in range(count):
        name = reader.text(MAX_KEY_BYTES) or "?"
        dims = reader.u32()
        if not 1 <= dims <= MAX_DIMS:
            raise _Broken(f"tensor {name!r} has {dims} dimensions")
        elements = 1
        for _ in range(dims):
            elements *= reader.u64()
        per_block, block_bytes = _BLOCKS.get(reader.u32(), (1, 0))
        ends.append((reader.u64() + -(-elements // per_block) * block_bytes, name))
    step = _whole(alignment) or DEFAULT_ALIGNMENT
    data_start = -(-reader.at // step) * step
    last, name = max(ends)
    if data_start + last > reader.size:
        raise _error(
            file,
            f"the model file is truncated: it has {reader.size:,} bytes, its tensors need {data_start + last:,} "
            f"(up to {name!r}).",
        )


def _whole(value: Value) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _kv_bytes(metadata: dict[str, Value], architecture: str) -> int | None:
    """Bytes of a 16-bit KV cache a token needs over all layers, where the file says enough."""
    layers = _whole(metadata.get(f"{architecture}.block_count"))
    heads = _whole(metadata.get(f"{architecture}.attention.head_count"))
    width = _whole(metadata.get(f"{architecture}.embedding_length"))
    kv_heads = metadata.get(f"{architecture}.attention.head_count_kv", heads)
    if layers is None:
        return None
    total_heads = sum(kv_heads) if isinstance(kv_heads, tuple) else (_whole(kv_heads) or 0) * layers
    default_head = width // heads if width and heads else 0
    key = _whole(metadata.get(f"{architecture}.attention.key_length")) or default_head
    value = _whole(metadata.get(f"{architecture}.attention.value_length")) or default_head
    return total_heads * (key + value) * 2 or None
