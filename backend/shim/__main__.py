"""`python -m backend.shim <spec.json>`: leave the launcher, start the program, report once, supervise.

Owns the way from a launched command to a detached process. The launcher reads one line from standard output.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import traceback
from pathlib import Path

import msgspec

from backend.contract.clock import SystemClock
from backend.contract.shim import ShimSpec
from backend.shim.protocol import StartReport, encode_line
from backend.shim.spawn import ExecFailed
from backend.shim.supervisor import Supervisor


def main(arguments: list[str]) -> int:
    """Returns in the first process at once, in the detached one when all is over."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m backend.shim SPEC.json\n")
        return 64
    spec = msgspec.json.decode(Path(arguments[0]).read_bytes(), type=ShimSpec)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))  # what the launcher's event loop leaked must not live on here
    if os.fork():
        os._exit(0)
    os.setsid()
    supervisor = Supervisor(spec, SystemClock())
    try:
        report = StartReport(record=supervisor.start())
    except ExecFailed as error:
        report = StartReport(kind="program", message=str(error))
    except OSError as error:
        report = _failure(spec, error)
    try:
        os.write(1, encode_line(report))
    except BrokenPipeError:
        # The launcher has given up waiting: to it nothing was started. The loop takes the signal as any other.
        os.kill(os.getpid(), signal.SIGTERM)
    if report.record is None:
        os._exit(1)  # the launcher reads to the end, so it knows by then that nothing of ours is left
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    try:
        supervisor.run()
    except Exception:
        # Nobody reads our standard error any more; the program ends with us, and this says why.
        (Path(spec.log_dir) / "shim-error.txt").write_text(traceback.format_exc())
        raise
    os._exit(0)  # at once: a restart waits for this process to be gone


def _failure(spec: ShimSpec, error: OSError) -> StartReport:
    if error.errno == errno.EADDRINUSE:
        for wanted in spec.listen:
            if wanted.name == error.filename:
                return StartReport(kind="port-taken", host=wanted.host, port=wanted.port, purpose=wanted.name)
    return StartReport(kind="other", message=f"{error.strerror}: {error.filename}" if error.filename else str(error))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
