"""Drills: scenario files, faults with guaranteed undo, and verdicts from a request-level ledger.

Runs inside the daemon (one that kills the daemon: in a process of its own beside it), and reaches fleet, edge and
gateway only through the protocols in `ports`. Holds no wiring.
"""
