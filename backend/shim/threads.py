"""What /proc says of a process's threads. Owns reading; never signals or traces."""

from __future__ import annotations

from pathlib import Path


def thread_ids(pid: int) -> list[int]:
    """The threads of a process, its main thread (`pid` itself) included; empty when it is gone."""
    try:
        return [int(entry.name) for entry in Path(f"/proc/{pid}/task").iterdir()]
    except OSError:
        return []


def thread_state(pid: int, tid: int) -> str | None:
    """One letter as ps prints it (`R`, `S`, `T` stopped, `t` held by a tracer, `Z`, ...); null when it is gone."""
    try:
        stat = Path(f"/proc/{pid}/task/{tid}/stat").read_bytes()
    except OSError:
        return None
    return stat[stat.rindex(b")") + 2 : stat.rindex(b")") + 3].decode()


def thread_name(pid: int, tid: int) -> str:
    """Its name of at most 15 characters; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/task/{tid}/comm").read_text(errors="replace").strip()
    except OSError:
        return ""


def run_ns(pid: int, tid: int) -> int | None:
    """Nanoseconds it has spent on a processor; null when it is gone or the kernel does not count."""
    try:
        return int(Path(f"/proc/{pid}/task/{tid}/schedstat").read_bytes().split()[0])
    except (OSError, IndexError):
        return None


def status_number(pid: int, tid: int, field: str) -> int | None:
    """A number of a thread's status file (`TracerPid`; `RssAnon` in KiB); null when it is gone or has none."""
    try:
        lines = Path(f"/proc/{pid}/task/{tid}/status").read_text(errors="replace").splitlines()
    except OSError:
        return None
    for line in lines:
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0])
    return None
