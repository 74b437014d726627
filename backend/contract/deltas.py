"""What changed from one snapshot to the next, and how to put it back together. Pure.

The stream sends it instead of all replicas each second, the recorder stores it, replay reads it.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Final

import msgspec

from backend.contract.control import ReplicaView, Snapshot, SnapshotDelta

_NAME: Final = attrgetter("status.name")


def make_delta(base: Snapshot, new: Snapshot) -> SnapshotDelta | None:
    """What leads from `base` to `new`; None where only the whole of `new` says it (replicas in another order, or two
    of one name)."""
    if (ordered := _same_names(base, new)) is not None:
        if len(set(ordered)) < len(ordered):
            return None
        differ = tuple(view for old, view in zip(base.replicas, new.replicas, strict=True) if _differs(old, view))
        return SnapshotDelta(base_seq=base.seq, head=msgspec.structs.replace(new, replicas=()), changed=differ)
    known = {view.status.name: view for view in base.replicas}
    changed = tuple(view for view in new.replicas if _differs(known.get(view.status.name), view))
    names = {view.status.name for view in new.replicas}
    gone = tuple(name for name in known if name not in names)
    delta = SnapshotDelta(base_seq=base.seq, head=msgspec.structs.replace(new, replicas=()), changed=changed, gone=gone)
    if len(known) < len(base.replicas) or len(names) < len(new.replicas):
        return None
    kept = [name for name in known if name in names]
    added = [view.status.name for view in changed if view.status.name not in known]
    return delta if kept + added == [view.status.name for view in new.replicas] else None


def apply_delta(base: Snapshot, delta: SnapshotDelta) -> Snapshot:
    """The snapshot after `base`. Replicas that did not change are the same objects as before.

    Raises ValueError where `base` is not the one that the delta was made from."""
    if base.seq != delta.base_seq:
        raise ValueError(f"the delta is for snapshot {delta.base_seq}, not {base.seq}")
    if not delta.changed and not delta.gone:
        return msgspec.structs.replace(delta.head, replicas=base.replicas)
    views = {view.status.name: view for view in base.replicas}
    for name in delta.gone:
        views.pop(name, None)
    views.update((view.status.name, view) for view in delta.changed)
    return msgspec.structs.replace(delta.head, replicas=tuple(views.values()))


def keep_unchanged(base: Snapshot, new: Snapshot) -> Snapshot:
    """`new`, with the objects of `base` for the replicas that did not change: whoever keeps something by identity
    (rows of a table, the next delta) sees at once what stayed."""
    if _same_names(base, new) is not None:
        pairs = zip(base.replicas, new.replicas, strict=True)
        kept = tuple([old if old is view or old == view else view for old, view in pairs])
        return msgspec.structs.replace(new, replicas=kept)
    known = {view.status.name: view for view in base.replicas}
    views = tuple(
        view if (old := known.get(view.status.name)) is None or old is view or old != view else old
        for view in new.replicas
    )
    return msgspec.structs.replace(new, replicas=views)


def _same_names(base: Snapshot, new: Snapshot) -> list[str] | None:
    """The names of their replicas, where both have the same in the same order: so it is nearly always, and that is
    told a good deal faster than what changed in general."""
    if len(base.replicas) != len(new.replicas):
        return None
    names = list(map(_NAME, new.replicas))
    return names if names == list(map(_NAME, base.replicas)) else None


def _differs(old: ReplicaView | None, new: ReplicaView) -> bool:
    return old is not new and old != new
