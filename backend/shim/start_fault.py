"""A spoilt start, as a program before the program: `start_fault.py UNTIL DELAY CODE ARGV...` (CODE `-`: none).

Until the instant UNTIL (wall clock) it waits DELAY seconds before it becomes ARGV, or ends with CODE instead. Run as a
file with nothing but the standard library, so that it needs no path to our packages.
"""

from __future__ import annotations

import os
import signal
import sys
import time


def wait_s(now_ts: float, until_ts: float, delay_s: float) -> float:
    """How long to wait: the delay, but never beyond the fault's own end. Pure."""
    return max(0.0, min(delay_s, until_ts - now_ts))


def main(arguments: list[str]) -> int:
    until_ts, delay_s, code, argv = float(arguments[0]), float(arguments[1]), arguments[2], arguments[3:]
    if time.time() < until_ts:
        if code != "-":
            sys.stderr.write(f"A drill's start fault: it ends with code {code} instead of starting.\n")
            return int(code)
        time.sleep(wait_s(time.time(), until_ts, delay_s))
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)  # the interpreter's own settings must not be inherited
    try:
        os.execvp(argv[0], argv)  # noqa: S606 - no shell on purpose
    except OSError as error:
        sys.stderr.write(f"{argv[0]} cannot be started: {error.strerror}.\n")
        return 127


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
