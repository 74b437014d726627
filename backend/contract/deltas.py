"""What changed from one snapshot to the next, and how to put it back together. Pure.

The stream sends it instead of all replicas each second, the recorder stores it, replay reads it.
"""

from __future__ import annotations

from collections import deque
from itertools import compress
from operator import attrgetter, is_not
from typing import Final

import msgspec

from backend.contract.control import ReplicaView, Snapshot, SnapshotDelta

_NAME: Final = attrgetter("status.name")
_SEEN: Final[deque[tuple[ReplicaView, ...]]] = deque(maxlen=4)
"""Replicas of the last snapshots, in which no name comes twice: to see that takes longer than all the rest."""


def make_delta(base: Snapshot, new: Snapshot) -> SnapshotDelta | None:
    """What leads from `base` to `new`; None where only the whole of `new` says it (replicas in another order, or two
    of one name)."""
    if (others := _other_objects(base, new)) is not None:
        if not _one_of_each(base, new):
            return None
        differ = tuple(view for _, old, view in others if old != view)
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
    if (others := _other_objects(base, new)) is not None:
        kept = list(new.replicas)
        for place, former, view in others:
            if former == view:
                kept[place] = former
        return msgspec.structs.replace(new, replicas=tuple(kept))
    known = {view.status.name: view for view in base.replicas}
    views = tuple(
        view if (old := known.get(view.status.name)) is None or old is view or old != view else old
        for view in new.replicas
    )
    return msgspec.structs.replace(new, replicas=views)


def _other_objects(base: Snapshot, new: Snapshot) -> list[tuple[int, ReplicaView, ReplicaView]] | None:
    """(place, old, new) of the replicas that are not the same objects, where both snapshots have the same names in the
    same order; else None. So it is nearly always, and of thousands of replicas nearly all are the same objects: that is
    seen without a step of Python for each."""
    if len(base.replicas) != len(new.replicas):
        return None
    both = zip(range(len(new.replicas)), base.replicas, new.replicas, strict=True)
    others = list(compress(both, map(is_not, base.replicas, new.replicas)))
    return others if all(old.status.name == view.status.name for _, old, view in others) else None


def _one_of_each(base: Snapshot, new: Snapshot) -> bool:
    """Whether no name comes twice in `new`, which has the names of `base`: known where it was seen of that before."""
    known = any(seen is base.replicas for seen in tuple(_SEEN))
    if not known and len(set(map(_NAME, new.replicas))) < len(new.replicas):
        return False
    _SEEN.append(new.replicas)
    return True


def _differs(old: ReplicaView | None, new: ReplicaView) -> bool:
    return old is not new and old != new
