"""What waits long says in the events for what; what does not is quiet."""

from __future__ import annotations

from backend.contract.control import ActionRequest
from backend.contract.words import Severity, Verb
from backend.daemon.surface import progress_told


def test_a_node_drain_tells_how_it_gets_on_and_other_verbs_do_not() -> None:
    told: list[tuple[str, Severity, str, str]] = []

    def event(kind: str, severity: Severity, subject: str, message: str) -> None:
        told.append((kind, severity, subject, message))

    drain = progress_told(ActionRequest(verb=Verb.NODE_DRAIN, target="n1", actor="ada"), event)
    assert drain is not None
    drain("shop/db-0 may not leave yet: PodDisruptionBudget db")
    assert told == [("action.progress", Severity.INFO, "n1", "n1: shop/db-0 may not leave yet: PodDisruptionBudget db")]
    assert progress_told(ActionRequest(verb=Verb.SCALE, target="web", actor="ada"), event) is None
