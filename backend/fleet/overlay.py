"""What a trinity.yaml says of a workload that the platform keeps, laid over what is seen of it. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from backend.contract.fleet import WorkloadSpec

_DECLARED = ("slots", "routes", "port", "engine", "model_alias", "request_deadline_s", "drain_deadline_s")


def declared_for(name: str, kind: str, declared: Sequence[WorkloadSpec]) -> WorkloadSpec | None:
    """The declaration of a workload: `of: name`, or `of: kind/name` where two kinds share a name."""
    for spec in declared:
        if spec.of in (name, f"{kind.lower()}/{name}", f"{kind}/{name}"):
            return spec
    return None


def overlay(seen: WorkloadSpec, declared: Sequence[WorkloadSpec]) -> WorkloadSpec:
    """`seen` with the declaration's routes, port, slots, engine and deadlines, and, where requests
    come to it through our edge, its max_replicas; as it is where there is no declaration."""
    said = declared_for(seen.name, seen.kind, declared)
    if said is None:
        return seen
    laid = msgspec.structs.replace(seen, **{name: getattr(said, name) for name in _DECLARED})
    if not said.routes:
        return laid
    # The edge keeps a slot for each that there may be: what the platform could make is far too many.
    return msgspec.structs.replace(laid, max_replicas=max(said.max_replicas, seen.replicas))
