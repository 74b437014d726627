"""The fault switch: armed only where it is wanted and production is not, thrown only by a well-formed order."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.serving import fault_switch

PROGRAM = """
import os, signal
from backend.serving import fault_switch
print(fault_switch.install(), flush=True)
while True: signal.pause()
"""


@pytest.fixture(autouse=True)
def _handler() -> Iterator[None]:
    before = signal.getsignal(fault_switch.SIGNAL)
    yield
    signal.signal(fault_switch.SIGNAL, before)


@pytest.mark.parametrize("name", ["prod", "production", " PROD "])
def test_production_refuses_it(tmp_path: Path, name: str) -> None:
    path = tmp_path / "switch"
    assert fault_switch.is_production(name)
    assert not fault_switch.install({"TRINITY_FAULT_SWITCH": str(path), "TRINITY_ENVIRONMENT": name})
    assert not path.exists()


def test_without_a_file_nothing_is_armed() -> None:
    before = signal.getsignal(fault_switch.SIGNAL)
    assert not fault_switch.install({})
    assert signal.getsignal(fault_switch.SIGNAL) is before


def test_it_is_armed_for_this_very_process_only(tmp_path: Path) -> None:
    path = tmp_path / "switch"
    assert fault_switch.install({"TRINITY_FAULT_SWITCH": str(path)})
    assert fault_switch.is_armed(path, os.getpid())
    assert not fault_switch.is_armed(path, os.getpid() + 1)
    assert not fault_switch.is_armed(tmp_path / "none", os.getpid())


@pytest.mark.parametrize("text", ["", "exit", "exit -1", "exit 256", "exit 7 8", "armed 7", "exit ²"])
def test_what_is_no_order_ends_nothing(tmp_path: Path, text: str) -> None:
    path = tmp_path / "switch"
    path.write_text(text)
    assert fault_switch.ordered_exit(path) is None


def test_a_program_ends_with_the_ordered_code(tmp_path: Path) -> None:
    path = tmp_path / "switch"
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "TRINITY_FAULT_SWITCH": str(path), "TRINITY_ENVIRONMENT": "dev"},
        stdout=subprocess.PIPE,
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == b"True\n"
        program.send_signal(fault_switch.SIGNAL)  # nothing ordered: nothing happens
        fault_switch.order_exit(path, 42)
        program.send_signal(fault_switch.SIGNAL)
        assert program.wait(60.0) == 42
