"""The llm replica whose engine is built once the file named by TEST_GATE is there: it loads as long as a test wants."""

from __future__ import annotations

import os
import time
from pathlib import Path

from backend.serving.llm import program
from backend.serving.llm.engine import Engine, EngineSettings


def gated(settings: EngineSettings) -> Engine:
    gate = Path(os.environ["TEST_GATE"])
    while not gate.exists():
        time.sleep(0.01)
    return Engine(settings)


if __name__ == "__main__":
    program.Engine = gated  # type: ignore[assignment,misc]  # it is only called
    program.main()
