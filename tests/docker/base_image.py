"""A base for the shipped Dockerfiles, made from what runs the tests: interpreter, pip, a shell, all roles' packages.

Nothing is pulled, and a build on it needs no registry: pip finds every package of a role's lock installed already.
"""

from __future__ import annotations

import importlib.metadata
import shutil
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from backend.deploy import roles
from backend.deploy.places import IMAGES
from tests.docker import images

_APPLETS = ("sh", "mkdir", "chown", "sleep", "id")
_UNUSED = ("_polars_runtime_32/", "kubernetes/")
"""Large, and no part of a start without a cluster and a query."""
REFERENCE = "trinity-test-base:1"


def make_base(api: Any) -> str:
    """Import the base into the engine behind `api` (docker's low-level client); the image's reference."""
    with tempfile.TemporaryFile() as file, tempfile.TemporaryDirectory() as folder:
        images._write(file, dict(_contents(Path(folder))))
        file.seek(0)
        changes = [f"ENV PATH=/{images._HOME}/bin:/bin LD_LIBRARY_PATH=/{images._LIBS}"]
        repository, tag = REFERENCE.split(":")
        api.import_image_from_data(file, repository=repository, tag=tag, changes=changes)
    return REFERENCE


def _contents(folder: Path) -> Iterator[tuple[str, Path]]:
    """(path inside, file outside)."""
    python, stdlib = Path(sys.executable).resolve(), Path(sysconfig.get_path("stdlib"))
    inside = f"{images._HOME}/lib/python{sys.version_info.major}.{sys.version_info.minor}"
    yield f"{images._HOME}/bin/python3", python
    binaries = [python]
    for place, path in [*images._tree(stdlib, inside), *images._tree(_pip(folder), f"{inside}/site-packages")]:
        yield place, path
        binaries += [path] if path.suffix == ".so" else []
    packages = Path(sysconfig.get_path("purelib"))
    lists = [(IMAGES / "packages" / f"{role}.txt").read_text().split() for role in roles.ROLES]
    for name in sorted({name for listed in lists for name in listed}):
        for file in importlib.metadata.files(name) or []:
            path = Path(str(file.locate()))
            if ".." not in file.parts and path.is_file() and not str(file).startswith(_UNUSED):
                yield f"{inside}/site-packages/{file}", path
                binaries += [path] if ".so" in path.name or file.parent.name == "bin" else []
    unwinder = next(Path("/").glob("lib/*-linux-gnu*/libgcc_s.so.1"))  # no binary names it: threads load it as they end
    for library in {*images._closure(binaries, packages), unwinder}:
        yield (str(library)[1:] if library.name.startswith("ld-") else f"{images._LIBS}/{library.name}"), library
    busybox = shutil.which("busybox")
    assert busybox, "busybox is missing: apt-get install busybox-static"
    yield from ((f"bin/{applet}", Path(busybox)) for applet in _APPLETS)


def _pip(folder: Path) -> Path:
    """pip out of the wheel that every CPython brings along."""
    bundled = next((Path(sysconfig.get_path("stdlib")) / "ensurepip" / "_bundled").glob("pip-*.whl"))
    with zipfile.ZipFile(bundled) as wheel:
        wheel.extractall(folder)
    return folder
