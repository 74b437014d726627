"""The open-loop load generator: a program of its own (`python -m backend.load`) and a library.

Owns arrivals, the client's own view of each request, and what a run adds up to. Arrivals come from a seeded
schedule and never wait for answers. Knows nothing of fleets, edges or ledgers: it writes rows, others keep them.
"""

from backend.load.arrivals import arrivals, schedule
from backend.load.generator import run_load
from backend.load.messages import (
    Latency,
    LoadMessage,
    LoadSummary,
    ProgressMessage,
    RowMessage,
    SummaryMessage,
    had_first_byte,
)
from backend.load.process import LoadProcess
from backend.load.spec import LoadSpec
from backend.load.summary import summarize

__all__ = [
    "Latency",
    "LoadMessage",
    "LoadProcess",
    "LoadSpec",
    "LoadSummary",
    "ProgressMessage",
    "RowMessage",
    "SummaryMessage",
    "arrivals",
    "had_first_byte",
    "run_load",
    "schedule",
    "summarize",
]
