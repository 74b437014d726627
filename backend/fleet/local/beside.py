"""Becomes a program that ends with the daemon that started it, on the terminal that its standard input may be.

Run as a file of its own, in a new session. Imports nothing of ours: it starts each program that a person
runs.
"""

import ctypes
import fcntl
import os
import signal
import sys
import termios

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """`beside.py PARENT_PID PROGRAM [ARGUMENT...]`"""
    parent, argv = int(sys.argv[1]), sys.argv[2:]
    if os.isatty(0):
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGHUP)
        if os.getppid() != parent:
            os._exit(128 + signal.SIGHUP)  # it ended before we said so
    try:
        os.execvp(argv[0], argv)  # noqa: S606 - what was asked for, without a shell
    except OSError as error:
        os.write(2, f"{argv[0]}: {error.strerror}\n".encode())
        os._exit(127)


if __name__ == "__main__":
    main()
