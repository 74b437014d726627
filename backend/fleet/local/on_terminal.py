"""Becomes a program whose controlling terminal is its standard input. Run as a file of its own, in a new session.

Owns nothing; imports nothing of ours: it is started for each program that a person runs in a replica.
"""

import fcntl
import os
import sys
import termios


def main() -> None:
    """`on_terminal.py PROGRAM [ARGUMENT...]`"""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    try:
        os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 - what was asked for, without a shell
    except OSError as error:
        os.write(2, f"{sys.argv[1]}: {error.strerror}\n".encode())
        os._exit(127)


if __name__ == "__main__":
    main()
