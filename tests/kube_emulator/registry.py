"""Making, changing and deleting objects by the rules of the API server: generations, status kept apart, conflicts,
preconditions, grace, finalizers, owners. Used by the HTTP side, by the controllers and by tests. Knows nothing of HTTP.
"""

from __future__ import annotations

import copy
import random
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from tests.kube_emulator.defaults import check, check_change, fill, timestamp
from tests.kube_emulator.kinds import KINDS, Kind, kind_of
from tests.kube_emulator.status import (
    ApiError,
    already_exists,
    bad_request,
    conflict,
    invalid,
    not_found,
)
from tests.kube_emulator.store import Change, Object, Store, Stored

_SUFFIX = "bcdfghjklmnpqrstvwxz2456789"
_FOREGROUND = "foregroundDeletion"


class Registry:
    """Rules above a Store. With `kubelet_runs`, pods with a node end gracefully: a kubelet removes them."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.kubelet_runs = False
        self._owned: dict[str, set[tuple[str, str, str]]] = {}
        """uid of the owner -> (kind, namespace, name) of what it owns."""
        self._kind_of_table = {kind.table: kind for kind in reversed(KINDS)}
        store.listen(self._index)

    # reading

    def get(self, kind: Kind | str, namespace: str, name: str) -> Object:
        """The stored object, not to be changed. Raises ApiError 404."""
        return self.stored(kind, namespace, name).obj

    def stored(self, kind: Kind | str, namespace: str, name: str) -> Stored:
        kind = kind_of(kind) if isinstance(kind, str) else kind
        found = self.store.get(kind.table, namespace if kind.namespaced else "", name)
        if found is None:
            raise not_found(kind, name)
        return found

    def all(self, kind: str, namespace: str = "") -> list[Object]:
        return [stored.obj for stored in self.store.all(kind_of(kind).table, namespace)]

    def owned(self, uid: str, kind: str) -> list[Object]:
        """Objects of that kind with an owner of that uid, by name."""
        found = (self.store.get(kind_of(k).table, ns, name) for k, ns, name in self._dependents(uid) if k == kind)
        return [stored.obj for stored in found if stored is not None]

    # making

    def create(self, kind: Kind | str, obj: Mapping[str, Any], *, namespace: str = "") -> Stored:
        """Raises ApiError 404 (namespace), 409, 422. The status in `obj` is dropped where it is a subresource."""
        return self._create(kind_of(kind) if isinstance(kind, str) else kind, obj, namespace, keep_status=False)

    def seed(self, kind: str, obj: Mapping[str, Any], *, namespace: str = "") -> Stored:
        """As `create`, status and all: for tests that set a scene."""
        return self._create(kind_of(kind), obj, namespace, keep_status=True)

    def _create(self, kind: Kind, given: Mapping[str, Any], namespace: str, *, keep_status: bool) -> Stored:
        obj: Object = copy.deepcopy({key: value for key, value in given.items() if key not in ("kind", "apiVersion")})
        metadata = obj.setdefault("metadata", {})
        if kind.namespaced:
            named = metadata.get("namespace") or namespace or "default"
            if namespace and named != namespace:
                raise bad_request(
                    "the namespace of the provided object does not match the namespace sent on the request"
                )
            metadata["namespace"] = named
            self._admit(kind, named)
        else:
            metadata.pop("namespace", None)
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = metadata["generateName"] + "".join(random.choices(_SUFFIX, k=5))
        if metadata.get("resourceVersion"):
            raise bad_request("resourceVersion should not be set on objects to be created")
        metadata["uid"] = str(uuid.uuid4()) if not (keep_status and metadata.get("uid")) else metadata["uid"]
        if not (keep_status and metadata.get("creationTimestamp")):
            metadata["creationTimestamp"] = timestamp()
        metadata.pop("deletionTimestamp", None)
        if kind.has_status and not keep_status:
            obj.pop("status", None)
        if "spec" in obj and kind.kind not in ("Pod", "Node", "Namespace", "Service"):
            metadata["generation"] = 1
        fill(kind, obj)
        check(kind, obj)
        if self.store.get(kind.table, metadata.get("namespace", ""), metadata["name"]) is not None:
            raise already_exists(kind, metadata["name"])
        return self.store.write(kind.table, obj)

    def _admit(self, kind: Kind, namespace: str) -> None:
        place = self.store.get("namespaces", "", namespace)
        if place is None:
            raise not_found(kind_of("Namespace"), namespace)
        if place.obj["metadata"].get("deletionTimestamp"):
            message = (
                f"{kind.qualified} is forbidden: unable to create new content in namespace {namespace} because it is "
                "being terminated"
            )
            raise ApiError(403, "Forbidden", message, details={"causes": [{"reason": "NamespaceTerminating"}]})

    # changing

    def update(
        self,
        kind: Kind | str,
        namespace: str,
        name: str,
        change: Callable[[Object], Object],
        *,
        subresource: str = "",
    ) -> Stored:
        """`change` is given a copy and returns the object wanted. Raises ApiError 404, 409 where the returned object
        names another resourceVersion or uid than the stored one, 422."""
        kind = kind_of(kind) if isinstance(kind, str) else kind
        stored = self.stored(kind, namespace, name)
        before = stored.obj
        wanted = change(copy.deepcopy(before))
        asked = wanted.get("metadata") or {}
        if asked.get("name", name) != name:
            message = f"the name of the object ({asked['name']}) does not match the name on the URL ({name})"
            raise bad_request(message)
        if asked.get("resourceVersion", "") not in ("", before["metadata"]["resourceVersion"]):
            raise conflict(kind, name)
        if asked.get("uid", stored.uid) != stored.uid:
            why = f"Precondition failed: UID in precondition: {asked['uid']}, UID in object meta: {stored.uid}"
            raise conflict(kind, name, why)
        after = self._combined(kind, before, wanted, subresource)
        if not subresource:
            fill(kind, after)
            check(kind, after)
            check_change(kind, before, after)
        if "generation" in before["metadata"] and before.get("spec") != after.get("spec"):
            after["metadata"]["generation"] = before["metadata"]["generation"] + 1
        result = self.store.write(kind.table, after)
        return self._finished(kind, result)

    @staticmethod
    def _combined(kind: Kind, before: Object, wanted: Object, subresource: str) -> Object:
        """What the writer may change, on top of what it may not."""
        wanted = {key: value for key, value in wanted.items() if key not in ("kind", "apiVersion")}
        kept = before["metadata"]
        fixed = {
            key: kept[key]
            for key in ("uid", "creationTimestamp", "namespace", "name", "generation", "resourceVersion",
                        "deletionTimestamp", "deletionGracePeriodSeconds", "generateName")
            if key in kept
        }  # fmt: skip
        if subresource == "status":
            return copy.deepcopy(before) | {"status": wanted.get("status") or {}}
        metadata = copy.deepcopy(wanted.get("metadata") or {})
        for key in ("deletionTimestamp", "deletionGracePeriodSeconds"):
            metadata.pop(key, None)
        after = wanted | {"metadata": metadata | fixed}
        if kind.has_status:
            after.pop("status", None)
            if "status" in before:
                after["status"] = copy.deepcopy(before["status"])
        return after

    def set_status(self, kind: str, namespace: str, name: str, change: Callable[[Object], None]) -> Stored:
        """`change` is given the whole object and changes its status in place."""

        def wanted(obj: Object) -> Object:
            obj.setdefault("status", {})
            change(obj)
            return obj

        return self.update(kind, namespace, name, wanted, subresource="status")

    def _finished(self, kind: Kind, stored: Stored) -> Stored:
        metadata = stored.obj["metadata"]
        pending = kind.kind == "Pod" and metadata.get("deletionGracePeriodSeconds", 0) > 0
        if metadata.get("deletionTimestamp") and not metadata.get("finalizers") and not pending:
            return self.store.remove(kind.table, stored.key)
        return stored

    # deleting

    def delete(
        self, kind: Kind | str, namespace: str, name: str, options: Mapping[str, Any] | None = None
    ) -> tuple[Stored, bool]:
        """Returns its last state and whether it is gone already. Raises ApiError 404, 409 (preconditions), 422."""
        kind = kind_of(kind) if isinstance(kind, str) else kind
        stored, options = self.stored(kind, namespace, name), options or {}
        self._preconditions(kind, stored, options.get("preconditions") or {})
        obj = copy.deepcopy(stored.obj)
        metadata = obj["metadata"]
        policy = options.get("propagationPolicy")
        if policy not in (None, "Background", "Foreground", "Orphan"):
            why = f'Unsupported value: "{policy}": supported values: "Background", "Foreground", "Orphan"'
            raise invalid(kind, name, "propagationPolicy", why, "FieldValueNotSupported")
        finalizers = list(metadata.get("finalizers") or ())
        if policy == "Foreground" and self._dependents(stored.uid):
            finalizers = [*(f for f in finalizers if f != _FOREGROUND), _FOREGROUND]
        if policy == "Orphan":
            self._orphan(stored.uid)
        if finalizers:
            metadata["finalizers"] = finalizers
        grace = self._grace(kind, obj, options)
        if kind.kind == "Namespace":
            return self._end_namespace(stored)
        if not finalizers and grace == 0:
            return self.store.remove(kind.table, stored.key), True
        already = metadata.get("deletionGracePeriodSeconds")
        if "deletionTimestamp" not in metadata or (already is not None and grace < already):
            metadata["deletionTimestamp"] = timestamp()
            metadata["deletionGracePeriodSeconds"] = grace
            if "generation" in metadata:
                metadata["generation"] += 1
        marked = self.store.write(kind.table, obj)
        if _FOREGROUND in finalizers:
            for dependent in self._dependents(stored.uid):
                self.delete(*dependent, {"propagationPolicy": "Foreground"})
            current = self.store.get(kind.table, *stored.key)
            return (current or marked), current is None
        return marked, False

    def _grace(self, kind: Kind, obj: Object, options: Mapping[str, Any]) -> int:
        if kind.kind != "Pod":
            return 0
        asked = options.get("gracePeriodSeconds")
        grace = int(obj["spec"].get("terminationGracePeriodSeconds", 30) if asked is None else asked)
        bound = bool(obj["spec"].get("nodeName")) and self.kubelet_runs
        ended = (obj.get("status") or {}).get("phase") in ("Succeeded", "Failed")
        return grace if bound and not ended else 0

    @staticmethod
    def _preconditions(kind: Kind, stored: Stored, wanted: Mapping[str, Any]) -> None:
        name, version = stored.key[1], stored.obj["metadata"]["resourceVersion"]
        if wanted.get("uid") not in (None, stored.uid):
            why = f"Precondition failed: UID in precondition: {wanted['uid']}, UID in object meta: {stored.uid}"
            raise conflict(kind, name, why)
        if wanted.get("resourceVersion") not in (None, version):
            why = (
                f"Precondition failed: ResourceVersion in precondition: {wanted['resourceVersion']}, "
                f"ResourceVersion in object meta: {version}"
            )
            raise conflict(kind, name, why)

    def _end_namespace(self, stored: Stored) -> tuple[Stored, bool]:
        name = stored.key[1]
        obj = copy.deepcopy(stored.obj)
        obj["metadata"]["deletionTimestamp"] = timestamp()
        obj["status"] = {"phase": "Terminating"}
        marked = self.store.write("namespaces", obj)
        for kind in {kind.table: kind for kind in reversed(KINDS) if kind.namespaced}.values():
            for inside in list(self.store.all(kind.table, name)):
                if self.store.get(kind.table, *inside.key) is not None:
                    self.delete(kind, name, inside.key[1], {"gracePeriodSeconds": 0})
        left = any(
            next(self.store.all(table, name), None) for table in {kind.table for kind in KINDS if kind.namespaced}
        )
        if left:
            return marked, False
        return self.store.remove("namespaces", stored.key), True

    # owners

    def _index(self, change: Change) -> None:
        kind = self._kind_of_table[change.table]
        entry = (kind.kind, *change.after.key)
        for owner in (change.before.obj["metadata"].get("ownerReferences") or ()) if change.before else ():
            self._owned.get(owner["uid"], set()).discard(entry)
        if change.type == "DELETED":
            self._collect(change.after)
            return
        for owner in change.after.obj["metadata"].get("ownerReferences") or ():
            self._owned.setdefault(owner["uid"], set()).add(entry)

    def _dependents(self, uid: str) -> list[tuple[str, str, str]]:
        return sorted(self._owned.get(uid) or ())

    def _collect(self, gone: Stored) -> None:
        """What was owned by nothing else goes too; an owner that waited for this one may go now."""
        for kind_name, namespace, name in self._dependents(gone.uid):
            stored = self.store.get(kind_of(kind_name).table, namespace, name)
            if stored is None:
                continue
            owners = stored.obj["metadata"].get("ownerReferences") or ()
            if not any(self._exists(owner, namespace) for owner in owners):
                self.delete(kind_name, namespace, name)
        self._owned.pop(gone.uid, None)
        for owner in gone.obj["metadata"].get("ownerReferences") or ():
            self._foreground(owner, gone.key[0])

    def _foreground(self, owner: Mapping[str, Any], namespace: str) -> None:
        try:
            stored = self.stored(owner["kind"], namespace, owner["name"])
        except (ApiError, KeyError):
            return
        metadata = stored.obj["metadata"]
        if _FOREGROUND in (metadata.get("finalizers") or ()) and not self._owned.get(stored.uid):
            self.update(owner["kind"], namespace, owner["name"], _without_finalizer(_FOREGROUND))

    def _exists(self, owner: Mapping[str, Any], namespace: str) -> bool:
        try:
            return self.stored(owner["kind"], namespace, owner["name"]).uid == owner["uid"]
        except (ApiError, KeyError):
            return False

    def _orphan(self, uid: str) -> None:
        for kind_name, namespace, name in self._dependents(uid):

            def released(obj: Object) -> Object:
                owners = obj["metadata"].get("ownerReferences") or ()
                obj["metadata"]["ownerReferences"] = [owner for owner in owners if owner["uid"] != uid]
                return obj

            self.update(kind_name, namespace, name, released)


def _without_finalizer(name: str) -> Callable[[Object], Object]:
    def change(obj: Object) -> Object:
        left = [finalizer for finalizer in obj["metadata"].get("finalizers") or () if finalizer != name]
        if left:
            obj["metadata"]["finalizers"] = left
        else:
            obj["metadata"].pop("finalizers", None)
        return obj

    return change
