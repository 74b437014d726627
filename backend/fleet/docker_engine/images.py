"""Images pulled from a registry and built from a folder, with progress as it comes.

Owns the engine's streams of both. Never decides which image a workload has.
"""

from __future__ import annotations

import asyncio
import io
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import msgspec

from backend.contract.errors import TrinityError, UsageError
from backend.fleet.docker_engine.client import EngineClient
from backend.fleet.docker_engine.errors import NotThere
from backend.fleet.docker_engine.reading import text, whole

_SILENCE_S: Final = 120.0
_MAX_CONTEXT: Final = 512 * 1024 * 1024


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a pull or a build. `current` of `total` bytes where the engine counts them."""

    text: str
    layer: str = ""
    current: int | None = None
    total: int | None = None


async def pull(client: EngineClient, image: str) -> AsyncIterator[Progress]:
    """Fetch an image, with the credentials that the Docker program has stored. Raises TrinityError where that fails."""
    name, tag = split_reference(image)
    auth = await client.call(lambda api: _auth_header(api, name))
    headers = {"X-Registry-Auth": auth} if auth else {}
    params = {"fromImage": name, "tag": tag}
    async with client.stream("/images/create", params, method="POST", silence_s=_SILENCE_S, headers=headers) as answer:
        async for step in _steps(answer.aiter_raw(), f"The image {image} cannot be pulled"):
            yield step


async def build(
    client: EngineClient, folder: Path, tag: str, *, dockerfile: str = "Dockerfile"
) -> AsyncIterator[Progress]:
    """Build the Dockerfile of a folder and tag the image. Raises UsageError without one, TrinityError on a failure."""
    if not (folder / dockerfile).is_file():
        raise UsageError(f"There is no {dockerfile} in {folder}.", "Name a folder with one.")
    context = await asyncio.to_thread(_pack, folder, dockerfile)
    params: dict[str, str | int] = {"t": tag, "dockerfile": dockerfile, "rm": 1, "forcerm": 1}
    headers = {"Content-Type": "application/x-tar"}
    what = f"The image {tag} cannot be built from {folder}"
    async with client.stream(
        "/build", params, method="POST", silence_s=None, content=context, headers=headers
    ) as answer:
        async for step in _steps(answer.aiter_raw(), what):
            yield step


async def present(client: EngineClient, image: str) -> bool:
    """Whether the engine has an image."""
    try:
        await client.get(f"/images/{image}/json")
    except NotThere:
        return False
    return True


def split_reference(image: str) -> tuple[str, str]:
    """(name, tag or digest): `latest` where none is said. A registry's port is no tag."""
    if "@" in image:
        name, _, digest = image.partition("@")
        return name, digest
    name, divider, tag = image.rpartition(":")
    if not divider or "/" in tag:
        return image, "latest"
    return name, tag


def parse_progress(line: bytes, what: str) -> Progress | None:
    """One line of the engine's answer; null for one without words. Raises TrinityError where it tells of a failure."""
    try:
        held = msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError):
        return None
    failure = text(held, "errorDetail", "message") or text(held, "error")
    if failure:
        raise TrinityError(f"{what}: {' '.join(failure.split()).rstrip('.')}.", "Mend what it names, and try again.")
    said = (text(held, "stream") or text(held, "status")).strip()
    if not said:
        return None
    return Progress(
        text=said,
        layer=text(held, "id"),
        current=whole(held, "progressDetail", "current"),
        total=whole(held, "progressDetail", "total"),
    )


async def _steps(pieces: AsyncIterator[bytes], what: str) -> AsyncIterator[Progress]:
    rest = b""
    async for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            step = parse_progress(line, what)
            if step is not None:
                yield step
    step = parse_progress(rest, what)
    if step is not None:
        yield step


def _auth_header(api: Any, name: str) -> str:
    """The header for an image's registry from the Docker program's stored logins; empty without one."""
    from docker.auth import get_config_header, resolve_repository_name

    registry, _ = resolve_repository_name(name)
    header = get_config_header(api, registry)
    return header.decode("ascii") if isinstance(header, bytes) else header or ""


def _pack(folder: Path, dockerfile: str) -> bytes:
    """The folder as a tar, without what its .dockerignore names. Raises UsageError where it is too large."""
    from docker.utils.build import exclude_paths

    ignore = folder / ".dockerignore"
    patterns = []
    if ignore.is_file():
        lines = (line.strip() for line in ignore.read_text(encoding="utf-8").splitlines())
        patterns = [line for line in lines if line and not line.startswith("#")]
    names = sorted(exclude_paths(str(folder), patterns, dockerfile=dockerfile))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in names:
            tar.add(folder / name, arcname=name, recursive=False, filter=_as_root)
            if buffer.tell() > _MAX_CONTEXT:
                raise UsageError(
                    f"{folder} holds more than {_MAX_CONTEXT // 2**20} MiB for a build.",
                    "Name what is not needed in its .dockerignore.",
                )
    return buffer.getvalue()


def _as_root(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    info.uname = info.gname = "root"
    return info
