"""The ledger: five append-only tables of everything observable.

Owns the files under the ledger directory: journals (JSON lines), segments (Parquet), retention; and reads the
log files that shims write. Never decides anything, never knows a fleet, an edge or a scrape. Importing it loads
no polars: queries and compaction run in processes of their own.
"""

from backend.ledger.limits import Limits
from backend.ledger.store import Ledger

__all__ = ["Ledger", "Limits"]
