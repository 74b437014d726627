"""What happened to a replica between two looks at it, as rows of the ledger, in the local driver's words.

A pod may end and start again between two looks; what can be told is told from its last exit and its present state.
"""

from __future__ import annotations

from backend.contract.events import EventRecorder
from backend.contract.fleet import ReplicaStatus
from backend.contract.rows import Scalar
from backend.contract.words import Phase, Severity
from backend.fleet.supervision.cause import exit_phrase
from backend.fleet.supervision.replica_events import died_message, exit_attributes


def tell(recorder: EventRecorder, old: ReplicaStatus | None, new: ReplicaStatus | None) -> None:
    """Rows for what is worth one. Of a new replica old is None, of one that is gone new."""
    if new is None:
        if old is not None:
            where: dict[str, Scalar] = {"workload": old.workload, "node": old.node}
            recorder.record("replica.removed", Severity.INFO, old.name, f"{old.name} is gone", **where)
        return
    where = {"workload": new.workload, "node": new.node}
    _tell_exit(recorder, old, new, where)
    if new.pid is not None and new.pid != (old.pid if old is not None else None):
        on = f" on {new.node}" if new.node else ""
        recorder.record("replica.started", Severity.INFO, new.name, f"{new.name} started{on}", pid=new.pid, **where)
    former = old.phase if old is not None else None
    if new.phase == former:
        return
    name, why = new.name, f": {new.reason}" if new.reason else ""
    if new.phase == Phase.READY:
        recorder.record("replica.ready", Severity.INFO, name, f"{name} is Ready", pid=new.pid, **where)
    elif new.phase == Phase.CRASH_LOOP:
        recorder.record(
            "replica.crashloop",
            Severity.ERROR,
            name,
            f"{name} is in a crash loop{why}",
            restarts=new.restarts,
            next_start_ts=new.next_start_ts,
            **where,
        )
    elif new.phase == Phase.FAILED:
        recorder.record("replica.failed", Severity.ERROR, name, f"{name} failed{why}", why=new.reason, **where)
    elif new.phase == Phase.PENDING and new.reason:
        recorder.record("replica.pending", Severity.WARNING, name, f"{name} waits{why}", why=new.reason, **where)
    elif new.phase == Phase.TERMINATING:
        recorder.record("replica.terminating", Severity.INFO, name, f"{name} is ending{why}", **where)
    elif new.phase == Phase.NOT_READY and former == Phase.READY:
        recorder.record(
            "replica.notready", Severity.WARNING, name, f"{name} is not Ready{why}", why=new.reason, **where
        )
    elif new.phase == Phase.COMPLETED:
        recorder.record("replica.completed", Severity.INFO, name, f"{name} has completed", **where)


def _tell_exit(
    recorder: EventRecorder, old: ReplicaStatus | None, new: ReplicaStatus, where: dict[str, Scalar]
) -> None:
    """A container that ended since."""
    ended = new.last_exit
    if ended is None or old is None or (old.last_exit is not None and old.last_exit.ts >= ended.ts):
        return
    if ended.reason == "Completed" and new.phase == Phase.COMPLETED:
        return
    wanted = new.phase == Phase.TERMINATING
    severity = Severity.INFO if wanted else Severity.ERROR
    attributes = {**exit_attributes(ended), **where, "restarts": new.restarts}
    recorder.record("replica.died", severity, new.name, died_message(new.name, ended, missed=False), **attributes)
    if ended.reason == "OOMKilled":
        words = f"{new.name} went over its memory limit: {exit_phrase(ended)}"
        recorder.record(
            "replica.oom_killed", Severity.ERROR, new.name, words, limit_bytes=new.memory_limit_bytes, **where
        )
