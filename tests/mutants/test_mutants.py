"""The mutants themselves: each finds what it breaks, and one without its target is loud."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutants import LOST, applied, environment
from tests.mutants.table import MUTANTS, Mutant


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=list(MUTANTS))
def test_mutant_breaks_what_it_names(mutant: Mutant, tmp_path: Path) -> None:
    """In a process of its own, as it is in use: by the environment alone."""
    log = tmp_path / "log"
    modules = sorted({mutation.module for mutation in mutant.mutations})
    done = subprocess.run(
        [sys.executable, "-P", "-c", f"import {', '.join(modules)}"],
        env=dict(os.environ) | environment(mutant.name, log),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert {what for what, _ in applied(log)} == {f"{m.module}.{m.target}" for m in mutant.mutations}


def test_lost_target_ends_the_process_with_its_own_code(tmp_path: Path) -> None:
    program = """
import sys
from tests.mutants import hook, table
gone = table.Mutation("backend.quantiles", "no_such_function", table.nothing())
hook.MUTANTS = {"x": table.Mutant("x", "", "", frozenset(), (gone,))}
hook.install("x", "")
import backend.quantiles
"""
    root = str(Path(__file__).resolve().parents[2])
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == LOST
    assert "no_such_function" in done.stderr


def test_nothing_is_broken_without_a_mutant() -> None:
    for mutant in MUTANTS.values():
        for mutation in mutant.mutations:
            module = importlib.import_module(mutation.module)
            target: object = module
            for step in mutation.target.split("."):
                target = getattr(target, step)
            assert "tests.mutants" not in str(getattr(target, "__module__", ""))
