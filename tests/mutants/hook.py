"""Breaks functions of modules in the instant they are imported. Imports nothing of the product by itself."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import inspect
import os
import sys
from collections.abc import Sequence
from types import ModuleType

from tests.mutants import LOST
from tests.mutants.table import MUTANTS, Mutation


class Breaker(importlib.abc.MetaPathFinder):
    """Finds modules as everybody does, and breaks those it is meant for once they have run."""

    def __init__(self, mutations: Sequence[Mutation], log: str) -> None:
        self._mutations, self._log = mutations, log
        self._finding = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        mine = [m for m in self._mutations if m.module == fullname]
        if not mine or self._finding:
            return None
        self._finding = True
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._finding = False
        if spec is None or spec.loader is None:
            lost(f"there is no module {fullname}")
        spec.loader = _Loader(spec.loader, mine, self._log)
        return spec


class _Loader(importlib.abc.Loader):
    def __init__(self, loader: importlib.abc.Loader, mutations: Sequence[Mutation], log: str) -> None:
        self._loader, self._mutations, self._log = loader, mutations, log

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        for mutation in self._mutations:
            try:
                break_it(module, mutation)
            except LookupError as error:
                lost(str(error))
            if self._log:
                with open(self._log, "a", encoding="utf-8") as log:
                    log.write(f"{mutation.module}.{mutation.target} {os.getpid()}\n")

    def get_code(self, name: str) -> object:
        """`python -m` asks for it; a module that is run as the program cannot be broken."""
        return self._loader.get_code(name)  # type: ignore[attr-defined]


def break_it(module: ModuleType, mutation: Mutation) -> None:
    """Replace the target by its broken form. Raises LookupError when it is not there or no callable."""
    *outer, name = mutation.target.split(".")
    owner: object = module
    for step in outer:
        owner = getattr(owner, step, None)
    original = None if owner is None else inspect.getattr_static(owner, name, None)
    if mutation.constant and original is not None and not callable(original):
        setattr(owner, name, mutation.broken(original))
        return
    if original is None or not (callable(original) or isinstance(original, classmethod | staticmethod)):
        raise LookupError(f"{mutation.module} has no {mutation.target} to break")
    if inspect.iscoroutinefunction(original) != mutation.asynchronous:
        raise LookupError(f"{mutation.module}.{mutation.target} is no longer of the kind that was broken")
    setattr(owner, name, mutation.broken(original))


def lost(why: str) -> None:
    """A mutant without its target proves nothing: end loudly."""
    sys.stderr.write(f"mutant {os.environ.get('MUTANT')}: {why}\n")
    sys.stderr.flush()
    os._exit(LOST)


def install(name: str, log: str) -> None:
    """From now on imports are watched."""
    if name not in MUTANTS:
        lost("there is no such mutant")
    sys.meta_path.insert(0, Breaker(MUTANTS[name].mutations, log))
