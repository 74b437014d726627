"""`trinity deploy render images`: a folder to build images in, one Dockerfile per role.

Owns the roles and what a build needs beside the Dockerfiles: the project's wheel and its lock. Builds nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from backend.contract.errors import FileError
from backend.deploy.places import IMAGES, shipped

ROLES: Final = ("llm", "embedding", "edge", "daemon")
LOCK: Final = "requirements.lock"


def render(wheel: Path | None, lock: Path | None) -> dict[str, str | bytes]:
    """The Dockerfiles, with the wheel and the lock where given. Raises FileError for a missing one."""
    tree: dict[str, str | bytes] = {
        ".dockerignore" if name == "dockerignore" else name: text for name, text in shipped(IMAGES).items()
    }
    if wheel is not None:
        tree[f"dist/{wheel.name}"] = _read(wheel, "Build it with `uv build --wheel`.")
    if lock is not None:
        tree[LOCK] = _read(lock, "It lies beside pyproject.toml.")
    return tree


def found(here: Path) -> tuple[Path | None, Path | None]:
    """The newest wheel and the lock of the project in `here`, where it is one."""
    wheels = sorted(here.glob("dist/trinity_console-*.whl"), key=lambda path: path.stat().st_mtime)
    lock = here / LOCK
    return (wheels[-1] if wheels else None), (lock if lock.is_file() else None)


def _read(path: Path, next_step: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FileError(str(path), f"cannot be read: {(error.strerror or str(error)).lower()}.", next_step) from None
