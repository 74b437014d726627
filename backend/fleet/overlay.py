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
    """`seen` with the declaration's routes, port, slots, engine and deadlines; as it is where there is none."""
    said = declared_for(seen.name, seen.kind, declared)
    if said is None:
        return seen
    # The edge has a slot for each replica that there may be; what gets no requests has no such limit.
    names = (*_DECLARED, "max_replicas") if said.routes else _DECLARED
    return msgspec.structs.replace(seen, **{name: getattr(said, name) for name in names})
