"""A fleet without a model: a web server behind the real edge. Starts in a second; for what no engine is needed for."""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Iterator

from tests.e2e.harness import PORTS, RealFleet

WEB = f"""\
trinity: 1
workloads:
  web:
    command: [{sys.executable}, -m, http.server, "{{port}}", --bind, 127.0.0.1]
    routes: [/web]
    replicas: 2
    stop_grace: 1s
    drain_deadline: 5s
    probes:
      startup: {{http: /, period: 100ms, failure_threshold: 100}}
      readiness: {{http: /, period: 250ms}}
"""


class LightFleet(RealFleet):
    """A state directory whose trinity.yaml names a web server; not started yet."""

    def __init__(self, yaml: str = WEB, **env: str) -> None:
        super().__init__(yaml=yaml, **env)
        self.state.mkdir()
        (self.root / "web").mkdir()
        (self.root / "web" / "index.html").write_text("hello")

    def write(self, yaml: str) -> None:
        (self.root / "trinity.yaml").write_text(yaml)

    def refused(self, *args: str, code: int = 64) -> str:
        """Run a command that must fail with that code: one sentence on stderr, nothing on stdout, nothing started."""
        done = self.trinity(*args, check=False)
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        assert done.stdout == ""
        assert "Traceback" not in done.stderr
        sentence = done.stderr.strip()
        assert sentence.startswith("trinity: "), sentence
        assert len(sentence.splitlines()) == 1, sentence
        self.assert_nothing_runs()
        return sentence

    def assert_nothing_runs(self, *, but_ports: tuple[int, ...] = ()) -> None:
        """No process of this state directory, and its ports free."""
        assert self.processes() == []
        for name in PORTS:
            port = int(self.env[name])
            if port in but_ports:
                continue
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", port))


@contextlib.contextmanager
def light_fleet(*up_args: str, yaml: str = WEB, **env: str) -> Iterator[LightFleet]:
    """A light fleet that is up."""
    with LightFleet(yaml, **env) as fleet:
        fleet.up(*up_args)
        yield fleet
