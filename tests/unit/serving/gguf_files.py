"""Builds small GGUF files for tests."""

from __future__ import annotations

import struct


def text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def string_entry(key: str, value: str) -> bytes:
    return text(key) + struct.pack("<I", 8) + text(value)


def u32_entry(key: str, value: int) -> bytes:
    return text(key) + struct.pack("<II", 4, value)


def strings_entry(key: str, values: list[str]) -> bytes:
    return text(key) + struct.pack("<IIQ", 9, 8, len(values)) + b"".join(map(text, values))


def tensor(name: str, shape: tuple[int, ...], kind: int, offset: int) -> bytes:
    dims = struct.pack(f"<{len(shape)}Q", *shape)
    return text(name) + struct.pack("<I", len(shape)) + dims + struct.pack("<IQ", kind, offset)


def model_file(
    *,
    magic: bytes = b"GGUF",
    version: int = 3,
    entries: list[bytes] | None = None,
    tensors: list[bytes] | None = None,
    data_bytes: int = 256,
) -> bytes:
    """A whole model: two F32 tensors of 32 elements unless told otherwise."""
    if entries is None:
        entries = [
            string_entry("general.architecture", "llama"),
            string_entry("general.name", "Tiny Test"),
            u32_entry("llama.context_length", 512),
            u32_entry("llama.block_count", 2),
            u32_entry("llama.embedding_length", 64),
            u32_entry("llama.attention.head_count", 4),
            u32_entry("llama.attention.head_count_kv", 2),
            strings_entry("tokenizer.ggml.tokens", ["a", "b", "c"]),
        ]
    if tensors is None:
        tensors = [tensor("a", (32,), 0, 0), tensor("b", (8, 4), 0, 128)]
    head = magic + struct.pack("<IQQ", version, len(tensors), len(entries)) + b"".join(entries) + b"".join(tensors)
    return head + b"\0" * (-len(head) % 32) + b"\1" * data_bytes
