"""What trinity.yaml says of a platform's workload is laid over what is seen of it, and nothing else is changed."""

from __future__ import annotations

from backend.contract.fleet import WorkloadSpec
from backend.fleet.overlay import overlay

SEEN = WorkloadSpec(
    name="llm", kind="Deployment", command=(), replicas=3, routes=(), max_replicas=10_000, revision="r1"
)


def test_a_workload_with_routes_gets_as_many_slots_at_the_edge_as_were_declared() -> None:
    said = WorkloadSpec(
        name="llm", of="deployment/llm", command=(), routes=("/v1",), port=8080, slots=4, max_replicas=24
    )
    laid = overlay(SEEN, [said])
    assert (laid.routes, laid.port, laid.slots, laid.max_replicas) == (("/v1",), 8080, 4, 24)
    assert (laid.replicas, laid.revision, laid.kind) == (3, "r1", "Deployment")


def test_a_workload_without_routes_may_have_as_many_replicas_as_its_platform_allows() -> None:
    said = WorkloadSpec(name="llm", of="llm", command=(), routes=(), max_replicas=16)
    assert overlay(SEEN, [said]).max_replicas == 10_000
    assert overlay(SEEN, [said]).slots == said.slots


def test_what_is_declared_of_another_kind_is_none_of_its_own() -> None:
    said = WorkloadSpec(name="llm", of="statefulset/llm", command=(), routes=("/v1",))
    assert overlay(SEEN, [said]) is SEEN


def test_every_replica_that_there_is_has_a_slot() -> None:
    said = WorkloadSpec(name="llm", of="llm", command=(), routes=("/v1",), max_replicas=2)
    assert overlay(SEEN, [said]).max_replicas == 3
