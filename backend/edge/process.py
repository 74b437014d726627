"""The edge's files and its HAProxy process under a shim: what is written where, how it is started and checked.

Owns haproxy.cfg, the two maps and the slot memory on disk, always equal to the present slot table. Never decides
what the table should say.
"""

from __future__ import annotations

import asyncio
import re
import socket
import threading
from pathlib import Path
from typing import Final

import msgspec

from backend.config.paths import StatePaths
from backend.contract.errors import FileError, PortTaken, TrinityError
from backend.contract.shim import InheritedFile, ListenSocket, ShimSpec
from backend.edge import config
from backend.edge.config import LOG_FD, PUBLIC_FD, STATS_FD, EdgeFiles
from backend.edge.settings import EdgeSettings, HaproxyBinary
from backend.edge.slots import EdgeBackend, SlotTable
from backend.shim.record import ShimRecord, session_members, write_atomic

NAME: Final = "edge"
_PORTS_TRIED: Final = 64
_DIGEST: Final = re.compile(r"\b[0-9A-F]{64}\b")


class EdgeMemory(msgspec.Struct, frozen=True, kw_only=True):
    """What a later daemon needs to know of a running edge."""

    table: SlotTable = SlotTable()
    structure: str = ""
    """Digest of the structure that the running HAProxy has."""
    pid: int | None = None
    starts: int = 0


class EdgeStore:
    """The edge's files in the state and run directories."""

    def __init__(self, paths: StatePaths, settings: EdgeSettings) -> None:
        self.paths, self.settings = paths, settings
        self._writing = threading.Lock()  # the thread of a cancelled change still writes
        self.config_file = paths.edge_dir / "haproxy.cfg"
        self.memory_file = paths.edge_dir / "slots.json"
        self.admin_socket = paths.run_dir / "edge-admin.sock"
        self.files = EdgeFiles(
            admin_socket=str(self.admin_socket),
            slots_map=str(paths.edge_dir / "slots.map"),
            switches_map=str(paths.edge_dir / "switches.map"),
            inner_socket_prefix=str(paths.run_dir / "e-"),
        )

    def snippet(self) -> str:
        """The user's own lines. Raises FileError where the file cannot be read."""
        if self.settings.snippet is None:
            return ""
        try:
            return Path(self.settings.snippet).expanduser().read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise FileError(self.settings.snippet, f"edge.snippet cannot be read ({error}).") from error

    def structure(self, backends: tuple[EdgeBackend, ...], snippet: str) -> str:
        """Digest of what needs a reload."""
        return config.structure_digest(self.settings, self.files, backends, snippet)

    def write(self, memory: EdgeMemory, snippet: str) -> None:
        """Make configuration, maps and memory say what `memory` says; each file changes in one step."""
        table = memory.table
        with self._writing:
            write_atomic(self.files.slots_map, config.slots_map(table).encode())
            write_atomic(self.files.switches_map, config.switches_map(table).encode())
            write_atomic(self.config_file, config.render(self.settings, self.files, table, snippet).encode())
        self.remember(memory)

    def remember(self, memory: EdgeMemory) -> None:
        """Write the memory alone."""
        with self._writing:
            write_atomic(self.memory_file, msgspec.json.encode(memory))

    def recall(self) -> EdgeMemory:
        """The memory of the last daemon; empty where there is none that can be read."""
        try:
            return msgspec.json.decode(self.memory_file.read_bytes(), type=EdgeMemory)
        except (FileNotFoundError, msgspec.DecodeError):
            return EdgeMemory()

    def redacted(self) -> str:
        """haproxy.cfg for people: digests of keys and passwords blanked."""
        try:
            text = self.config_file.read_text("utf-8")
        except FileNotFoundError:
            return ""
        return _DIGEST.sub("<redacted>", text)

    async def check(self, binary: HaproxyBinary, table: SlotTable, snippet: str) -> None:
        """Let HAProxy parse what would be written. Raises FileError with its own words."""
        for path, text in (
            (self.files.slots_map, config.slots_map(table)),
            (self.files.switches_map, config.switches_map(table)),
        ):
            if not Path(path).exists():
                write_atomic(path, text.encode())
        text = config.render(self.settings, self.files, table, snippet)
        # Inherited descriptors do not exist in this process.
        for fd, port in ((PUBLIC_FD, 1), (STATS_FD, 2)):
            text = text.replace(f"bind fd@{fd}\n", f"bind 127.0.0.1:{port}\n")
        trial = self.paths.edge_dir / "haproxy.cfg.check"
        write_atomic(trial, text.replace(f"log fd@{LOG_FD} ", "log stdout ").encode())
        process = await asyncio.create_subprocess_exec(
            binary.path,
            "-c",
            "-f",
            str(trial),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        trial.unlink(missing_ok=True)
        if process.returncode != 0:
            said = [line for line in output.decode("utf-8", "replace").splitlines() if "[ALERT]" in line]
            source = self.settings.snippet if snippet else str(self.config_file)
            raise FileError(
                source or str(self.config_file),
                f"HAProxy {binary.version} rejects the configuration: {' '.join(said[:2]) or output.decode()[-300:]}",
                "Correct edge.snippet or the workload's routes.",
            )

    def shim_spec(self, binary: HaproxyBinary, port: int, stats_port: int) -> ShimSpec:
        """HAProxy in the foreground, one process, on sockets and a log that the shim holds."""
        host = self.settings.host
        return ShimSpec(
            name=NAME,
            workload=NAME,
            argv=(binary.path, "-db", "-f", str(self.config_file)),
            socket_path=str(self.paths.shim_socket(NAME)),
            record_path=str(self.paths.shim_record(NAME)),
            exit_path=str(self.paths.exit_record(NAME)),
            log_dir=str(self.paths.replica_log_dir(NAME)),
            nice=0,
            listen=(
                ListenSocket(name="the edge's public port", host=host, port=port, fd=PUBLIC_FD),
                ListenSocket(name="the edge's statistics page", host=host, port=stats_port, fd=STATS_FD),
            ),
            files=(InheritedFile(path=str(self.paths.edge_dir / "access-{start}.log"), fd=LOG_FD),),
            respawn=True,
            reload_argv=("-sf", "{pid}"),
            meta={"haproxy": binary.version, "haproxy_source": binary.source},
        )

    def fits(self, spec: ShimSpec) -> bool:
        """Whether a running edge listens where the settings want it to."""
        wanted = (self.settings.port, self.settings.stats_port)
        return all(
            socket_.host == self.settings.host and (self.settings.auto_port or socket_.port == port)
            for socket_, port in zip(spec.listen, wanted, strict=True)
        )


def living_processes(record: ShimRecord) -> set[int]:
    """Pids of every HAProxy under this shim, those replaced by a reload included. Reads /proc: not on the loop."""
    return set(session_members(record.shim_pid))


def listening_url(spec: ShimSpec, index: int) -> str:
    """Base URL of one of the edge's listening sockets, as reached from this machine."""
    listen = spec.listen[index]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(listen.host, listen.host)  # noqa: S104 - shown, not bound
    return f"http://{f'[{host}]' if ':' in host else host}:{listen.port}"


def choose_port(host: str, port: int, *, auto: bool, avoid: int = 0) -> int:
    """`port`, or the next free one when `auto`. Raises PortTaken when none of the next 64 is free."""
    if not auto:
        return port
    for candidate in range(port, min(port + _PORTS_TRIED, 65536)):
        if candidate != avoid and _is_free(host, candidate):
            return candidate
    raise PortTaken(host, port, "other programs, and so are the ports after it", "edge")


def _is_free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def last_words(error: TrinityError, log_dir: Path) -> TrinityError:
    """The same error with the last line HAProxy wrote."""
    try:
        lines = (log_dir / "current.log").read_text("utf-8", "replace").strip().splitlines()
    except OSError:
        return error
    return TrinityError(f"{error.message} HAProxy said: {lines[-1]}" if lines else error.message, error.next_step)
