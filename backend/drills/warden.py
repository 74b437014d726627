"""The warden: `python -m backend.drills.warden <run-dir> <expires-seconds>`, one small process per drill run.

Reads heartbeats from standard input. When they stop (end of file, or silence for the lease), or when a fault outlives
its time limit, it undoes what it can without a daemon, last in first out, and goes on after a failed undo; what only a
daemon can undo stays pending in the log. It shares nothing with the daemon but the undo log, and ignores the
signals that would take a terminal's whole process group. Ends after it acted, or on the line `done`.

Silence counts only as far as the warden itself was awake: a machine that stood still for longer than the lease has
stopped the controller too, and its next heartbeat needs a moment.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from backend.drills import direct, undo_log
from backend.drills.undo_log import Result, Undo, UndoKind

READY = b"ready\n"
DONE = b"done"
RETRY_FOR_S = 5.0
LOOK_S = 0.1
LONGEST_GAP_S = 0.2
"""What the time between two looks counts as at most."""


HERE = frozenset[UndoKind]({"resume", "holder"})
"""The kinds of undo that need no daemon: let a stopped process go on, ask a holder to let go."""


def main(argv: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if argv is None else argv
    if len(arguments) != 2:
        sys.stderr.write("usage: python -m backend.drills.warden RUN_DIR EXPIRES_SECONDS\n")
        return 64
    run_dir, expires_s = Path(arguments[0]), float(arguments[1])
    for ignored in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT, signal.SIGPIPE):
        signal.signal(ignored, signal.SIG_IGN)
    os.write(1, READY)
    reason = watch(run_dir, sys.stdin.fileno(), expires_s)
    if reason:
        undo_all(run_dir, reason)
    return 0


def watch(run_dir: Path, descriptor: int, expires_s: float) -> str:
    """Wait until there is cause to act; the cause, or empty when the run said it is done."""
    silent_s, looked = 0.0, time.monotonic()
    while True:
        readable, _, _ = select.select([descriptor], [], [], min(max(0.0, expires_s - silent_s), LOOK_S))
        before, looked = looked, time.monotonic()
        if readable:
            chunk = os.read(descriptor, 4096)
            if not chunk:
                return "the controller is gone"
            if DONE in chunk:
                return ""
            silent_s = 0.0
            continue
        silent_s += min(looked - before, LONGEST_GAP_S)
        if silent_s >= expires_s:
            return f"no heartbeat for {silent_s:.2f} s"
        if expired(run_dir, time.time()):
            return "a fault outlived its time limit"


def expired(run_dir: Path, now: float) -> bool:
    """Whether a pending undo that can be done here is past its time limit. What only a daemon can do or see (a replica
    that is let go, or that becomes Ready by itself) is the run's to wait for."""
    pending = undo_log.pending(undo_log.read(run_dir))
    return any(undo.kind in HERE and now > undo.written_ts + undo.ttl_s for undo in pending)


def undo_all(run_dir: Path, reason: str) -> None:
    """Try every pending undo until it is verified, each for a few seconds; one failure never stops the others.

    Begun last in first out, in threads: a holder that hangs keeps nobody else waiting.
    """
    left = undo_log.pending(undo_log.read(run_dir))
    give_up = time.monotonic() + RETRY_FOR_S
    last: dict[str, str] = {}
    while left:
        with ThreadPoolExecutor(max_workers=len(left)) as threads:
            tried = [(undo, threads.submit(undo_without_daemon, undo, reason)) for undo in left]
            results = [(undo, _outcome(undo, attempt, reason, last)) for undo, attempt in tried]
        undo_log.append(run_dir, *(result for _, result in results if result is not None))
        left = [undo for undo, result in results if result is None]
        if time.monotonic() > give_up:
            undo_log.append(run_dir, *(_result(undo, verified=False, detail=last[undo.id]) for undo in left))
            return
        if left:
            time.sleep(0.005)


def _outcome(undo: Undo, attempt: Future[Result | str], reason: str, last: dict[str, str]) -> Result | None:
    """The result to log; None, with the reason kept in `last`, to try again."""
    try:
        outcome = attempt.result()
    except Exception as error:
        outcome = f"{reason}: the undo broke: {type(error).__name__}: {error}"
    if isinstance(outcome, str):
        last[undo.id] = outcome
        return None
    return outcome


def undo_without_daemon(undo: Undo, reason: str) -> Result | str:
    """What can be done here and now; in words what is left, to try again."""
    if undo.kind not in HERE:
        return _result(undo, done=False, verified=False, detail=f"{reason}: left to the next daemon")
    attempt = direct.take_away(undo)
    detail = f"{reason}: {attempt.detail}"
    return _result(undo, verified=True, detail=detail) if attempt.gone else f"{detail}: still in place"


def _result(undo: Undo, *, verified: bool, detail: str, done: bool = True) -> Result:
    return Result(id=undo.id, done=done, verified=verified, by="warden", detail=detail, ts=time.time())


if __name__ == "__main__":
    sys.exit(main())
