"""Entry point: `python -m backend.serving.llm`."""

from __future__ import annotations

from backend.serving.llm.program import main

if __name__ == "__main__":
    main()
