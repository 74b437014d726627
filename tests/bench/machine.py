"""What every benchmark prints about where it ran, and the few statistics that they share. Measures nothing itself."""

from __future__ import annotations

import atexit
import importlib.metadata
import os
import platform
import random
import shutil
import statistics
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

from backend.quantiles import quantile
from backend.version import VERSION


def header(*packages: str, **more: object) -> None:
    """The machine, its load now, and the versions of what is measured."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    versions = [f"{name} {importlib.metadata.version(name)}" for name in packages]
    said = [f"{name} {value}" for name, value in more.items()]
    print(f"machine: {cpu}, {os.cpu_count()} cores, {platform.system()} {platform.release()}")
    print("versions: " + ", ".join([f"trinity {VERSION}", f"Python {platform.python_version()}", *versions]))
    forbidden = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
    said.append("Python's byte code is " + ("NOT cached: each start compiles" if forbidden else "cached"))
    print(", ".join([f"load average {os.getloadavg()[0]:.2f} at the start", *said]), flush=True)


class Others:
    """The CPU time that the machine spent while it was watched, in cores: all of it, and steal."""

    def __init__(self) -> None:
        self._before = psutil.cpu_times()

    def line(self) -> str:
        """Since the last line (or the start)."""
        before, now = self._before, psutil.cpu_times()
        self._before = now
        total = sum(now) - sum(before)
        idle = (now.idle + now.iowait) - (before.idle + before.iowait)
        cores = os.cpu_count() or 1
        busy, steal = cores * (1 - idle / total), cores * (now.steal - before.steal) / total
        return f"{busy:.2f} of {cores} cores busy in it all, {steal:.2f} stolen; load average {os.getloadavg()[0]:.2f}"


def keep_byte_code() -> None:
    """Programs started from now on find their byte code, as an installed program does from its second start on.

    Where the environment forbids writing it, it goes to a temporary directory that this process removes.
    """
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", "") and "PYTHONPYCACHEPREFIX" not in os.environ:
        place = tempfile.mkdtemp(prefix="bench-pyc-")
        atexit.register(shutil.rmtree, place, ignore_errors=True)
        os.environ["PYTHONPYCACHEPREFIX"] = place


def at(values: Sequence[float], q: float) -> float:
    """Nearest-rank quantile of at least one value."""
    found = quantile(values, q)
    assert found is not None, "no samples"
    return found


def goal(met: bool) -> str:
    """The word for a goal."""
    return "met" if met else "NOT MET"


def spread(values: Sequence[float], unit: str = "s", scale: float = 1.0) -> str:
    """`median (least to greatest, n)`."""
    shown = [value * scale for value in values]
    return f"{statistics.median(shown):.3g} {unit} ({min(shown):.3g} to {max(shown):.3g}, n={len(shown)})"


def bootstrap(
    values: Sequence[float],
    statistic: Callable[[Sequence[float]], float] = statistics.median,
    *,
    rounds: int = 4000,
    seed: int = 11,
) -> tuple[float, float]:
    """The 95 % percentile interval of a statistic of `values`."""
    source = random.Random(seed)
    found = sorted(statistic(source.choices(values, k=len(values))) for _ in range(rounds))
    return found[int(rounds * 0.025)], found[int(rounds * 0.975)]
