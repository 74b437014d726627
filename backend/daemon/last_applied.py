"""The trinity.yaml that a state directory was last told to run. Reads the wanted state, writes nothing."""

from __future__ import annotations

from pathlib import Path

import msgspec

from backend.reconcile.wanted import WantedState


def last_applied(wanted_file: Path) -> tuple[str, str]:
    """Text and name of the file last applied here; empty where there is none. A damaged wanted state is the
    reconciler's to report and keep aside."""
    try:
        state = msgspec.json.decode(wanted_file.read_bytes(), type=WantedState)
    except (OSError, msgspec.MsgspecError):
        return "", ""
    return state.applied_yaml, state.applied_source
