"""Which capability a verb needs of a driver, and what a fleet without it is said to be unable to do."""

from __future__ import annotations

from typing import Final

from backend.contract.fleet import Fleet, Killable, Restartable
from backend.contract.platform import Evictable, Executable, Forwardable, HasNodes, Pausable, Reversible
from backend.contract.words import Verb

_NEEDS: Final[dict[Verb, tuple[type, str]]] = {
    Verb.KILL: (Killable, "kill replicas"),
    Verb.RESTART: (Restartable, "restart single replicas"),
    Verb.PAUSE: (Pausable, "pause replicas"),
    Verb.UNPAUSE: (Pausable, "pause replicas"),
    Verb.EVICT: (Evictable, "evict replicas"),
    Verb.ROLLBACK: (Reversible, "return to former revisions"),
    Verb.CORDON: (HasNodes, "act on nodes"),
    Verb.UNCORDON: (HasNodes, "act on nodes"),
    Verb.NODE_DRAIN: (HasNodes, "act on nodes"),
    Verb.EXEC: (Executable, "run programs in replicas"),
    Verb.FORWARD: (Forwardable, "forward ports"),
}


def lacks(fleet: Fleet) -> dict[str, str]:
    """Verb -> why this driver cannot do it, as a clause: `local cannot pause replicas`."""
    return {
        str(verb): f"{fleet.name} cannot {what}" for verb, (able, what) in _NEEDS.items() if not isinstance(fleet, able)
    }


def refusal_of(fleet: Fleet, verb: Verb) -> str:
    """A sentence where this driver cannot do the verb; else empty."""
    able, what = _NEEDS.get(verb, (object, ""))
    return "" if isinstance(fleet, able) else f"Fleet {fleet.name} cannot {what}."
