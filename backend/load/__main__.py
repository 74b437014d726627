"""Entry point: `python -m backend.load`."""

from __future__ import annotations

from backend.load.program import main

if __name__ == "__main__":
    main()
