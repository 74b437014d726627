"""The fault switch of our own replica programs: a drill can let one end itself with a code. Production refuses it.

Owns the switch file: the program writes `armed <pid>` into it, whoever throws the switch writes `exit <code>` and
sends SIGUSR1. The driver names the file in TRINITY_FAULT_SWITCH, and only where the environment is none of production.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Final

VARIABLE: Final = "TRINITY_FAULT_SWITCH"
SIGNAL: Final = signal.SIGUSR1
_PRODUCTION: Final = frozenset({"prod", "production"})


def is_production(environment: str) -> bool:
    """Whether an environment's name means production, where no fault switch is armed."""
    return environment.strip().lower() in _PRODUCTION


def install(environ: Mapping[str, str] = os.environ) -> bool:
    """Arm the switch; call it once, in the main thread, before the engine is loaded. False: not wanted here.

    It works whenever the main thread comes back to the interpreter.
    """
    path = environ.get(VARIABLE, "")
    if not path or is_production(environ.get("TRINITY_ENVIRONMENT", "")):
        return False

    def thrown(_number: int, _frame: FrameType | None) -> None:
        code = ordered_exit(Path(path))
        if code is not None:
            os._exit(code)

    signal.signal(SIGNAL, thrown)
    try:
        _replace(Path(path), f"armed {os.getpid()}\n")
    except OSError:
        return False  # who would throw it sees that it is not armed, and says so
    return True


def is_armed(path: Path, pid: int) -> bool:
    """Whether that very process waits for its switch."""
    return _words(path) == ["armed", str(pid)]


def order_exit(path: Path, code: int) -> None:
    """Write what the program is to do when the signal comes. Raises OSError."""
    _replace(path, f"exit {code}\n")


def ordered_exit(path: Path) -> int | None:
    """The code the program is to end with; null when nothing was ordered."""
    match _words(path):
        case ["exit", code] if code.isascii() and code.isdigit() and int(code) <= 255:
            return int(code)
        case _:
            return None


def _words(path: Path) -> list[str]:
    with contextlib.suppress(OSError):
        return path.read_text().split()
    return []


def _replace(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_text(text)
    part.replace(path)
