"""Named failures. Each carries a sentence that says what went wrong and one that says what to do next."""

from __future__ import annotations

from backend.contract import exit_codes


class TrinityError(Exception):
    """A failure a person can act on.

    `message` says what is wrong, `next_step` what to do about it, `exit_code` what a script sees.
    """

    exit_code: int = exit_codes.FAILED
    kind: str = "failed"

    def __init__(self, message: str, next_step: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step

    def __str__(self) -> str:
        return f"{self.message} {self.next_step}".strip()


class UsageError(TrinityError):
    """A wrong argument or a bad file."""

    exit_code = exit_codes.USAGE
    kind = "usage"


class FileError(UsageError):
    """A file that cannot be used: names the file and, where known, line and column (both from 1)."""

    def __init__(self, source: str, message: str, next_step: str = "", line: int = 0, column: int = 0) -> None:
        place = f"{source}:{line}:{column}" if line else source
        super().__init__(f"{place}: {message}", next_step)
        self.source, self.line, self.column = source, line, column


class Unreachable(TrinityError):
    """The daemon, an engine or a target does not answer."""

    exit_code = exit_codes.UNREACHABLE
    kind = "unreachable"


class InternalError(TrinityError):
    """A broken promise of our own code."""

    exit_code = exit_codes.INTERNAL
    kind = "internal"


class Refused(TrinityError):
    """A guard, a lease or read-only mode said no; nothing was done."""

    exit_code = exit_codes.REFUSED
    kind = "refused"


class LeaseHeld(Refused):
    """Another actor is working on the workload; `holder` names it."""

    def __init__(self, workload: str, holder: str) -> None:
        super().__init__(
            f"{workload} is being worked on by {holder}.", "Wait for it to finish, or see `trinity actions`."
        )
        self.workload, self.holder = workload, holder


class PortTaken(TrinityError):
    """A public port is in use; `owner` names who holds it where that can be known."""

    kind = "port-taken"

    def __init__(self, host: str, port: int, owner: str, purpose: str) -> None:
        super().__init__(
            f"Port {port} on {host} ({purpose}) is already used by {owner}.",
            "Stop that program, or name another port of this machine: TARGET:PORT:LOCAL."
            if purpose == "forward"
            else "Stop that program, choose another port, or pass --auto-port.",
        )
        self.host, self.port, self.owner = host, port, owner


BY_KIND: dict[str, type[TrinityError]] = {
    cls.kind: cls for cls in (TrinityError, UsageError, Unreachable, InternalError, Refused)
}


def from_wire(kind: str, message: str, next_step: str) -> TrinityError:
    """The error a control client raises for what the daemon answered."""
    return BY_KIND.get(kind, TrinityError)(message, next_step)
