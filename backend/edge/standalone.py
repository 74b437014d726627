"""`python -m backend.edge.standalone`: the edge as a container's program.

Owns the way from edge.yaml and the environment to a HAProxy that has taken this process's place. Finds replicas by
DNS (see discovery.py), talks to no daemon and starts nothing else. Exit code 64 for a wrong file or setting.
"""

from __future__ import annotations

import argparse
import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

from backend.config.edge_file import EdgeAloneFile, read_edge_file
from backend.contract import exit_codes
from backend.contract.errors import FileError, TrinityError, UsageError
from backend.edge import config, discovery
from backend.edge.discovery import Ports
from backend.edge.settings import HaproxyBinary, find_haproxy, is_loopback
from backend.edge.slots import SlotTable


def main(argv: list[str] | None = None) -> NoReturn:
    """Become HAProxy, or with `--check` only say whether the file is right."""
    parser = argparse.ArgumentParser(prog="trinity-edge", description="The edge of a fleet, found by DNS.")
    parser.add_argument("--file", type=Path, default=Path("/etc/trinity/edge.yaml"), help="edge.yaml")
    parser.add_argument("--run", type=Path, default=Path("/run/trinity"), help="where sockets and files may be")
    parser.add_argument("--check", action="store_true", help="check the file, start nothing")
    for name, port in zip(Ports.__struct_fields__, (8080, 8081, 9090, 8404), strict=True):
        parser.add_argument(f"--{name}-port", type=int, default=port, metavar="PORT")
    arguments = parser.parse_args(argv)
    ports = Ports(**{name: getattr(arguments, f"{name}_port") for name in Ports.__struct_fields__})
    try:
        written = prepare(arguments.file, arguments.run, ports, checking=arguments.check)
        binary = find_haproxy()
        check(binary, written, arguments.file)
    except TrinityError as error:
        sys.stderr.write(f"trinity-edge: {error}\n")
        sys.exit(error.exit_code)
    if arguments.check:
        sys.exit(exit_codes.OK)
    os.execv(binary.path, [binary.path, "-db", "-f", str(written)])  # noqa: S606 - it is the container's program


def prepare(file: Path, run_dir: Path, ports: Ports, *, checking: bool = False) -> Path:
    """Write haproxy.cfg and what it names into `run_dir`; returns its path. Raises FileError or UsageError."""
    read = read_edge_file(file)
    _check_file(read, file)
    key = None if read.open else os.environ.get("TRINITY_API_KEY") or None
    if key is None and not (read.open or checking or is_loopback(read.listen)):
        raise UsageError(
            f"The edge would listen on {read.listen} for everyone.",
            "Set TRINITY_API_KEY, or `open: true` in edge.yaml where the network around it keeps others out.",
        )
    password = os.environ.get("TRINITY_STATS_PASSWORD") or secrets.token_urlsafe(18)
    settings = discovery.settings_of(read, ports, api_key=key, stats_password=password)
    files = discovery.files_in(str(run_dir), read, ports)
    table = SlotTable(backends=discovery.backends_of(read))
    try:
        run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        Path(files.slots_map).write_text(config.slots_map(table))
        Path(files.switches_map).write_text(config.switches_map(table))
        written = run_dir / "haproxy.cfg"
        written.touch(mode=0o600)
        written.write_text(discovery.render(settings, files, read, ports))
    except OSError as error:
        raise UsageError(
            f"{run_dir} cannot be written: {(error.strerror or str(error)).lower()}.",
            "Give the edge a writable directory there (a tmpfs is enough), or another with --run.",
        ) from None
    return written


def check(binary: HaproxyBinary, written: Path, file: Path) -> None:
    """Let HAProxy parse it. Raises FileError with its own words."""
    done = subprocess.run(
        [binary.path, "-c", "-f", str(written)], check=False, capture_output=True, text=True, timeout=30
    )
    if done.returncode != 0:
        said = [line for line in (done.stdout + done.stderr).splitlines() if "[ALERT]" in line]
        raise FileError(
            str(file),
            f"HAProxy {binary.version} rejects what follows from it: {' '.join(said[:2]) or done.stderr[-300:]}",
            "Correct the names and routes there.",
        )


def _check_file(read: EdgeAloneFile, file: Path) -> None:
    """What types alone do not say. Raises FileError."""
    for name, workload in read.workloads.items():
        if not workload.routes or any(not route.startswith("/") or " " in route for route in workload.routes):
            raise FileError(str(file), f"workload `{name}`: routes are paths.", "Begin each with /, without spaces.")
        if not 1 <= workload.max_replicas <= 1000 or not 1 <= workload.slots <= 10_000:
            raise FileError(
                str(file),
                f"workload `{name}`: a count is out of range.",
                "max_replicas is 1 to 1000, slots 1 to 10000.",
            )
        for port in (workload.port, workload.health_port or workload.port):
            if not 1 <= port <= 65_535:
                raise FileError(str(file), f"workload `{name}`: {port} is no port.", "Ports are 1 to 65535.")


if __name__ == "__main__":
    main()
