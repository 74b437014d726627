"""What starts fast stays light: no screen library outside the screen, no heavy library for a help text."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
SCREEN = {"textual", "rich"}
HEAVY = {"httpx", "polars", "pydantic", "pydantic_settings", "prometheus_client", "uvicorn", "starlette", "asyncio"}


def loaded(code: str, *names: str) -> set[str]:
    """Which of `names` a fresh interpreter has imported after `code`."""
    code += f"\nimport sys; print(' '.join(sorted({set(names)!r} & set(sys.modules))), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=clean())
    assert done.returncode == 0, done.stderr
    return set(done.stderr.splitlines()[-1].split())


def clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("TRINITY_")}


def modules(package: str) -> list[str]:
    """Every module of a package, those that are programs (`__main__`) left out."""
    root = ROOT / package.replace(".", "/")
    if root.with_suffix(".py").is_file():
        return [package]
    names = (path.relative_to(ROOT).with_suffix("") for path in root.rglob("*.py") if path.stem != "__main__")
    return sorted(".".join(name.parts).removesuffix(".__init__") for name in names)


@pytest.mark.parametrize(
    "argv", [["--help"], ["drill", "--help"], ["status", "--help"], ["drill", "run", "--help"], ["up", "--help"]]
)
def test_help_loads_no_screen_library_and_nothing_heavy(argv: list[str]) -> None:
    wanted = SCREEN | HEAVY - ({"asyncio"} if argv[0] in {"status", "up"} else set())
    assert loaded(f"from console.cli import run\nassert run({argv!r}) == 0", *wanted) == set()


def test_an_unknown_command_loads_as_little() -> None:
    assert loaded("from console.cli import run\nassert run(['scal']) == 64", *SCREEN, *HEAVY) == set()


def test_the_backend_and_the_headless_console_load_no_screen_library() -> None:
    names = [*modules("backend"), *modules("console.state"), *modules("console.render"), *modules("console.commands")]
    names += ["console.cli", "console.plain", "console.opening"]
    assert len(names) > 100
    assert loaded("import " + "\nimport ".join(names), *SCREEN) == set()


def test_this_test_sees_a_screen_library_where_there_is_one() -> None:
    assert loaded("import textual.app", *SCREEN) == SCREEN


def test_a_kubernetes_fleet_loads_its_client_when_it_is_opened_and_not_the_one_beside_it() -> None:
    names = ["kubernetes", "aiohttp", "requests", "urllib3", "kubernetes.config"]
    assert loaded("import backend.daemon.main, backend.fleet.kube", *names) == set()
    opened = "from backend.fleet.kube.links import _libraries\n_libraries()"
    assert loaded(opened, *names) == {"kubernetes", "aiohttp"}
