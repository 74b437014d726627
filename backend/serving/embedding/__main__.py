"""Entry point: `python -m backend.serving.embedding`."""

from __future__ import annotations

from backend.serving.embedding.program import main

if __name__ == "__main__":
    main()
