"""Where Trinity keeps its files: one state directory, one short run directory. Creates nothing on import.

Owns every path below them; no other module joins names of its own onto the state directory.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

import msgspec

from backend.contract.errors import UsageError


def default_state_dir(environ: dict[str, str] | None = None) -> Path:
    """`$TRINITY_STATE`, else the platform's user state directory (`$XDG_STATE_HOME` or `~/.local/state`)."""
    env = os.environ if environ is None else environ
    if explicit := env.get("TRINITY_STATE"):
        return Path(explicit).expanduser().resolve()
    base = env.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base).expanduser().resolve() / "trinity"


class StatePaths(msgspec.Struct, frozen=True):
    """The paths of one state directory. `run_dir` is short because a unix socket path holds ~100 characters."""

    state_dir: Path

    @property
    def digest(self) -> str:
        """Eight hex digits that name this state directory in machine-wide name spaces."""
        import hashlib  # here and below: a console's first frame needs neither

        return hashlib.sha256(str(self.state_dir).encode()).hexdigest()[:8]

    @property
    def run_dir(self) -> Path:
        import tempfile

        base = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
        return Path(base) / f"trinity-{self.digest}"

    @property
    def control_socket(self) -> Path:
        return self.run_dir / "control.sock"

    @property
    def daemon_lock(self) -> Path:
        return self.run_dir / "daemon.lock"

    @property
    def daemon_log(self) -> Path:
        return self.state_dir / "logs" / "trinityd.log"

    @property
    def wanted_file(self) -> Path:
        return self.state_dir / "wanted.json"

    @property
    def ledger_dir(self) -> Path:
        return self.state_dir / "ledger"

    @property
    def logs_dir(self) -> Path:
        return self.state_dir / "logs"

    @property
    def drills_dir(self) -> Path:
        return self.state_dir / "drills"

    @property
    def edge_dir(self) -> Path:
        return self.state_dir / "edge"

    @property
    def recording_dir(self) -> Path:
        """Segments of the flight recorder."""
        return self.state_dir / "recording"

    @property
    def recordings_dir(self) -> Path:
        """Recordings of others, put here by `trinity record import`."""
        return self.state_dir / "recordings"

    @property
    def fleets_file(self) -> Path:
        """The fleets that the daemon looks after beside its own."""
        return self.state_dir / "fleets.json"

    @property
    def forwards_file(self) -> Path:
        return self.state_dir / "forwards.json"

    def of_fleet(self, slug: str) -> StatePaths:
        """The files of a further fleet of the same daemon."""
        return StatePaths(self.state_dir / "fleets" / slug)

    def further_fleets(self) -> list[StatePaths]:
        """Of every further fleet that was ever opened here."""
        return [StatePaths(path) for path in sorted(self.state_dir.glob("fleets/*")) if path.is_dir()]

    def exec_socket(self, session: str) -> Path:
        return self.run_dir / f"exec-{session}.sock"

    def replica_log_dir(self, replica: str) -> Path:
        return self.logs_dir / replica

    def shim_socket(self, replica: str) -> Path:
        return self.run_dir / f"{replica}.sock"

    def shim_record(self, replica: str) -> Path:
        return self.run_dir / f"{replica}.json"

    def exit_record(self, replica: str) -> Path:
        return self.run_dir / f"{replica}.exit.json"

    def container_record(self, replica: str) -> Path:
        """Of a container of ours: what its labels cannot say."""
        return self.run_dir / f"{replica}.container.json"

    def fault_switch(self, replica: str) -> Path:
        return self.run_dir / f"{replica}.switch"

    def create(self) -> StatePaths:
        """Make the directories, private to this user. Raises OSError where that is impossible."""
        for path in (self.state_dir, self.run_dir, self.ledger_dir, self.logs_dir, self.drills_dir, self.edge_dir):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self


def state_dir_error(paths: StatePaths, error: OSError) -> UsageError:
    """The sentence for a state or run directory that cannot be made or written."""
    where = Path(os.fsdecode(error.filename)) if error.filename else paths.state_dir
    why = {
        errno.EEXIST: "it is a file, not a directory",
        errno.ENOTDIR: "a part of its path is a file, not a directory",
        errno.ENOSPC: "no space is left on its disk",
        errno.EDQUOT: "the disk quota is used up",
        errno.EACCES: "you may not write there",
        errno.EPERM: "you may not write there",
        errno.EROFS: "its file system is read-only",
        errno.ENAMETOOLONG: "its name is too long",
    }.get(error.errno or 0, (error.strerror or str(error)).lower())
    if paths.run_dir in (where, *where.parents):
        next_step = "Set XDG_RUNTIME_DIR to a directory of your own with room and rights."
        return UsageError(f"The run directory {paths.run_dir} cannot be used: {why}.", next_step)
    return UsageError(
        f"The state directory {paths.state_dir} cannot be used: {why}.",
        "Make room or rights there, or choose another with --state.",
    )
