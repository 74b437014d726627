"""What a trinity.yaml says of a platform's workload, laid over what is seen of it."""

from __future__ import annotations

from backend.contract.fleet import WorkloadSpec
from backend.fleet.overlay import overlay

SEEN = WorkloadSpec(name="web", command=(), kind="Deployment", replicas=3, routes=(), max_replicas=10_000)


def test_the_edge_keeps_slots_for_what_is_declared_not_for_what_a_platform_could_make() -> None:
    said = WorkloadSpec(name="web", command=(), of="deployment/web", port=8080, routes=("/",), max_replicas=16)
    laid = overlay(SEEN, [said])
    assert (laid.routes, laid.port, laid.max_replicas, laid.replicas) == (("/",), 8080, 16, 3)


def test_every_replica_there_is_has_a_slot() -> None:
    said = WorkloadSpec(name="web", command=(), of="web", routes=("/",), max_replicas=2)
    assert overlay(SEEN, [said]).max_replicas == 3


def test_without_routes_or_without_a_declaration_the_platform_has_the_word() -> None:
    said = WorkloadSpec(name="web", command=(), of="web", routes=(), max_replicas=2)
    assert overlay(SEEN, [said]).max_replicas == 10_000
    assert overlay(SEEN, []) is SEEN
