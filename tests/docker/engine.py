"""A Docker engine of the tests' own: its data, its sockets and its network in a temporary folder, gone afterwards.

Owns starting it, killing it, starting it again on the same data, and ending it by pid with all that it left. A machine
without dockerd, or one where it cannot start, fails the tests: nothing is skipped.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import docker
import psutil

_START_S = 120.0
_STORAGE = ("overlay2", "vfs")
"""The first that works: where the temporary folder is an overlay itself, only vfs does."""


class EngineUnusable(AssertionError):
    """dockerd is missing or does not start; the message says why, and what to do."""


class Engine:
    """One dockerd. `start` first; `stop` at the end, always."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="trinity-engine-", dir="/tmp"))  # its sockets need a short path
        self.socket = self.folder / "docker.sock"
        self.host = f"unix://{self.socket}"
        self.log = self.folder / "dockerd.log"
        self.storage = ""
        self._number = 16 + os.getpid() % 200
        self._bridge = f"trinity{os.getpid()}"
        self._before = set(psutil.net_if_stats())
        self._process: subprocess.Popen[bytes] | None = None
        self._sdk: docker.DockerClient | None = None

    @property
    def pid(self) -> int:
        """Of its dockerd, which runs."""
        assert self._process is not None
        return self._process.pid

    @property
    def sdk(self) -> docker.DockerClient:
        """The tests' own way to it, apart from the code under test."""
        if self._sdk is None:
            self._sdk = docker.DockerClient(base_url=self.host, timeout=120)
        return self._sdk

    @property
    def api(self) -> Any:
        """The same without objects."""
        return self.sdk.api

    def start(self) -> Engine:
        """Until it answers. Raises EngineUnusable."""
        for program in ("dockerd", "containerd", "runc", "ip"):
            if shutil.which(program, path=_path()) is None:
                raise EngineUnusable(f"{program} is missing: apt-get install docker.io iproute2 busybox-static.")
        if os.geteuid() != 0:
            raise EngineUnusable("dockerd needs root: run these tests as root, or in CI's container.")
        self._make_bridge()
        for storage in (self.storage,) if self.storage else _STORAGE:
            if self._launch(storage):
                self.storage = storage
                return self
        said = self.log.read_text(errors="replace")[-3000:]
        raise EngineUnusable(f"dockerd does not start here. Its last words:\n{said}")

    def kill(self) -> None:
        """As a power cut would: dockerd and its containerd at once, containers' shims stay."""
        assert self._process is not None
        children = psutil.Process(self._process.pid).children(recursive=True)
        self._process.kill()
        self._process.wait()
        for child in children:
            if child.name() == "containerd":
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
        # A dead containerd that nobody reaps would still count as running.
        (self.folder / "exec" / "containerd" / "containerd.pid").unlink(missing_ok=True)
        (self.folder / "dockerd.pid").unlink(missing_ok=True)
        self._close_sdk()

    def stop(self) -> None:
        """End it and remove everything that is its own. Idempotent. At once: nothing of it is needed any more."""
        bridges: list[str] = []
        if self._process is not None and self._process.poll() is None:
            with contextlib.suppress(Exception):  # it may be half up
                bridges = self._bridges_made()
            self.kill()
        self._close_sdk()
        _end_leftovers(str(self.folder))
        _unmount_below(str(self.folder))
        for bridge in (self._bridge, *bridges):
            subprocess.run(["ip", "link", "delete", bridge], capture_output=True, env=_env())
        shutil.rmtree(self.folder, ignore_errors=True)

    def _launch(self, storage: str) -> bool:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    "dockerd",
                    *("--data-root", str(self.folder / "data"), "--exec-root", str(self.folder / "exec")),
                    *("--pidfile", str(self.folder / "dockerd.pid"), "--host", self.host),
                    *("--config-file", str(self._config())),
                    *("--bridge", self._bridge, "--storage-driver", storage),
                    # Published ports go through the userland proxy, so that no firewall rule is touched.
                    *("--iptables=false", "--ip6tables=false", "--userland-proxy=true", "--ip-masq=false"),
                    *("--shutdown-timeout", "2"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=_env(),
            )
        end = time.monotonic() + _START_S
        while time.monotonic() < end:
            if self._process.poll() is not None:
                return False
            if self.socket.exists() and self._answers():
                return True
            time.sleep(0.05)
        self._process.kill()
        self._process.wait()
        return False

    def _answers(self) -> bool:
        client = docker.APIClient(base_url=self.host, version="1.41", timeout=5)
        try:
            return bool(client.ping())
        except Exception:  # it is not up yet, in whatever way
            return False
        finally:
            client.close()

    def _config(self) -> Path:
        """An empty one: the machine's own configuration is none of ours."""
        path = self.folder / "daemon.json"
        path.write_text(json.dumps({}))
        return path

    def _make_bridge(self) -> None:
        """Of its own, so that it shares no addresses with another engine on this machine."""
        subprocess.run(["ip", "link", "add", "name", self._bridge, "type", "bridge"], capture_output=True, env=_env())
        address = f"10.{self._number}.0.1/17"
        subprocess.run(["ip", "addr", "add", address, "dev", self._bridge], capture_output=True, env=_env())
        up = subprocess.run(["ip", "link", "set", self._bridge, "up"], capture_output=True, text=True, env=_env())
        if up.returncode != 0:
            raise EngineUnusable(f"No bridge can be made for containers: {up.stderr.strip()}")

    def _bridges_made(self) -> list[str]:
        """The machine's interfaces that are networks of this engine's."""
        made = []
        for network in self.api.networks():
            if network["Driver"] == "bridge" and network["Name"] != "bridge":
                shared = network["Name"] == "docker_gwbridge"
                made.append("docker_gwbridge" if shared else f"br-{network['Id'][:12]}")
        return [name for name in made if name not in self._before]

    def _close_sdk(self) -> None:
        if self._sdk is not None:
            self._sdk.close()
            self._sdk = None


def _end_leftovers(folder: str) -> None:
    """Shims and programs of containers that its dockerd left: those whose command names our own folder."""
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if any(folder in word for word in words) and process.pid != os.getpid():
            for each in (*process.children(recursive=True), process):
                with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
                    os.kill(each.pid, signal.SIGKILL)


def _unmount_below(folder: str) -> None:
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in sorted((m for m in mounts if m.startswith(folder)), key=len, reverse=True):
        subprocess.run(["umount", "-l", mount], capture_output=True, env=_env())


def _path() -> str:
    return os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/local/sbin"


def _env() -> dict[str, str]:
    """Nothing of a test's: one that starts the engine again must not have it ended as its own leftover."""
    return {"PATH": _path(), "HOME": os.environ.get("HOME", "/root")}
