"""ControllerRevisions of StatefulSets and DaemonSets: one per template, numbered, the newest the one in force."""

from __future__ import annotations

import copy

from tests.kube_emulator.pods import owner_reference, stripped, template_hash
from tests.kube_emulator.registry import Registry
from tests.kube_emulator.store import Object


def current_revision(registry: Registry, kind: str, owner: Object) -> str:
    """The name of the revision of the owner's present template, made or renumbered if need be."""
    template = stripped(owner["spec"]["template"])
    name = f"{owner['metadata']['name']}-{template_hash(template)}"
    known = registry.owned(owner["metadata"]["uid"], "ControllerRevision")
    highest = max((revision["revision"] for revision in known), default=0)
    found = next((revision for revision in known if revision["metadata"]["name"] == name), None)
    namespace = owner["metadata"]["namespace"]
    if found is None:
        labels = dict(template.get("metadata", {}).get("labels") or {})
        made = {
            "metadata": {
                "name": name,
                "labels": labels | {"controller-revision-hash": name},
                "ownerReferences": [owner_reference(kind, owner)],
            },
            "data": {"spec": {"template": copy.deepcopy(template) | {"$patch": "replace"}}},
            "revision": highest + 1,
        }
        registry.create("ControllerRevision", made, namespace=namespace)
    elif found["revision"] < highest:

        def renumber(obj: Object) -> Object:
            obj["revision"] = highest + 1
            return obj

        registry.update("ControllerRevision", namespace, name, renumber)
    return name
