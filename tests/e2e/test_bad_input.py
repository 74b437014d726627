"""Bad input: one clear sentence each, the documented exit code, and nothing half started."""

from __future__ import annotations

import os
import resource
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
import pytest

from backend.contract.control import VersionInfo
from backend.serving.models import bundled_model
from tests.e2e.harness import PORTS, TRINITY, RealFleet, wait_for
from tests.e2e.light_fleet import WEB, LightFleet


@pytest.fixture
def light() -> Iterator[LightFleet]:
    with LightFleet() as fleet:
        yield fleet


# -- trinity.yaml


def test_an_unknown_key_is_named_with_file_line_and_what_is_allowed(light: LightFleet) -> None:
    light.write(WEB + "    replica: 3\n")
    line = len(WEB.splitlines()) + 1
    sentence = light.refused("up")
    assert f"trinity.yaml:{line}:5: unknown key `replica` in workloads.web. Did you mean `replicas`?" in sentence
    assert "Allowed here: builtin, command, cwd," in sentence


@pytest.mark.parametrize(
    ("yaml", "words"),
    [
        ("", "trinity.yaml:1:1: the file is empty"),
        ("trinity: 2\n", "trinity.yaml:1:10: trinity: `2` does not fit: allowed: 1"),
        ("trinity: 1\nworkloads:\n\tllm: {}\n", "trinity.yaml:3:1: not valid YAML"),
        ("trinity: 1\nsettings:\n  MAX_INSTANCE: 2\n", "trinity.yaml:3:3: unknown setting `MAX_INSTANCE`"),
        ("trinity: 1\nlisten: 0.0.0.0\n", "no API key is set"),
        (WEB.replace("http.server", "http.server]\n    x: [1"), "unknown key `x`"),
        (WEB + "    port: 99999\n", "has port 99999"),
        (WEB + "  other: {command: [nosuchprogram]}\n", "there is no program nosuchprogram on PATH"),
        (WEB + "  llm: {builtin: llm, model: no.gguf}\n", "no.gguf: there is no such model file"),
    ],
)
def test_a_wrong_trinity_yaml_starts_nothing(light: LightFleet, yaml: str, words: str) -> None:
    light.write(yaml)
    assert words in light.refused("up")


def test_a_file_that_is_not_there_or_no_text(light: LightFleet) -> None:
    assert "nope.yaml: no such file" in light.refused("up", "--file", "nope.yaml")
    assert "is a directory" in light.refused("up", "--file", str(light.root))
    (light.root / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    assert "is not UTF-8 text" in light.refused("up", "--file", "bytes.yaml")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("MAX_INSTANCES", "many", "MAX_INSTANCES: `many` does not fit: a whole number is wanted"),
        ("NUM_THREADS", "0", "NUM_THREADS: `0` does not fit: at least 1"),
        ("LOG_LEVEL", "loud", "LOG_LEVEL=loud is no level"),
        ("LOG_PROFILE", "staging", "allowed: 'development', 'production'"),
        ("TRINITY_HAPROXY", "/bin/true", "/bin/true is not a HAProxy"),
    ],
)
def test_a_wrong_variable_is_named(light: LightFleet, name: str, value: str, words: str) -> None:
    light.env[name] = value
    assert words in light.refused("up")


def test_doctor_names_what_is_wrong_and_how_to_mend_it_and_goes_on(light: LightFleet) -> None:
    light.env["MAX_INSTANCES"] = "many"
    done = light.trinity("doctor", check=False)
    assert done.returncode == 1
    assert "✗ configuration    MAX_INSTANCES: `many` does not fit" in done.stdout
    assert "→ Correct it in the environment." in done.stdout
    assert "state directory" in done.stdout
    del light.env["MAX_INSTANCES"]
    done = light.trinity("doctor")
    assert f"✓ configuration    {light.root / 'trinity.yaml'}" in done.stdout
    assert f"✓ HEALTH_PORT      {light.env['HEALTH_PORT']} is free" in done.stdout


# -- the model file


def damaged_model(root: Path, how: str) -> Path:
    path = root / f"{how}.gguf"
    if how == "corrupt":
        path.write_bytes(os.urandom(4096))
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "truncated":
        shutil.copyfile(bundled_model(), path)
        os.truncate(path, 50_000_000)
    return path


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("missing", "there is no such model file"),
        ("corrupt", "is not a GGUF model file"),
        ("empty", "is too short for a model file (0 bytes)"),
        ("truncated", "the model file is truncated: it has 50,000,000 bytes"),
    ],
)
def test_a_bad_model_file_is_seen_before_anything_starts(how: str, words: str) -> None:
    with LightFleet("trinity: 1\n") as fleet:
        path = damaged_model(fleet.root, how)
        fleet.env["MODEL_PATH"] = path.name
        sentence = fleet.refused("up")
        assert f"{path}: {words}" in sentence, "a relative path begins where the user stands"


def unknown_architecture(root: Path) -> Path:
    """The bundled model under a name for its architecture that no engine knows; the header stays sound."""
    path = root / "strange.gguf"
    raw = bytearray(bundled_model().read_bytes())
    head = raw[:4096].replace(b"llama", b"xlama")
    assert head != raw[:4096]
    raw[:4096] = head
    path.write_bytes(raw)
    return path


@pytest.mark.timeout(300)
def test_an_engine_that_fails_at_start_gives_its_own_cause() -> None:
    with RealFleet() as fleet:
        fleet.env["MODEL_PATH"] = str(unknown_architecture(fleet.root))
        done = fleet.trinity("up", "--timeout", "60", check=False)
        assert done.returncode == 1, done.stderr
        last = done.stderr.strip().splitlines()[-1]
        assert "unknown model architecture: 'xlama'" in last
        assert "ends again and again" in last
        assert "trinity logs llm-" in last

        def told() -> bool:
            """Each is waiting for its next try at some moment, and the table says why."""
            table = fleet.trinity("ps").stdout
            return (table.count("CrashLoop"), table.count("unknown model architecture")) == (2, 2)

        wait_for(told, 60.0, "CrashLoop of both, with their cause")
        assert fleet.trinity("status", check=False).returncode == 1
        fleet.trinity("down")
        assert fleet.processes() == []


# -- ports


@contextmanager
def listening(port: int) -> Iterator[None]:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", port))
        taken.listen()
        yield


@pytest.mark.parametrize("name", PORTS)
def test_a_taken_port_is_told_with_who_holds_it_and_nothing_is_left(light: LightFleet, name: str) -> None:
    port = int(light.env[name])
    with listening(port):
        done = light.trinity("up", check=False)
        assert done.returncode == 1
        assert f"Port {port} on 127.0.0.1" in done.stderr
        assert f"pid {os.getpid()}" in done.stderr
        assert "--auto-port" in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr
        light.assert_nothing_runs(but_ports=(port,))
    light.up()
    assert light.snapshot().health == "ok", "the same command works once the port is free"


def test_auto_port_takes_the_next_free_one_for_each_port(light: LightFleet) -> None:
    ports = {name: int(light.env[name]) for name in PORTS}
    with ExitStack() as stack:
        for port in ports.values():
            stack.enter_context(listening(port))
        light.up("--auto-port")
        snapshot = light.snapshot()
        urls = (snapshot.public_url, snapshot.metrics_url, snapshot.stats_url)
        got = {int(url.rsplit(":", 1)[1].rstrip("/")) for url in urls}
        assert not got & set(ports.values())
        assert len(got) == 3
        done = subprocess.run(["curl", "-sS", f"{snapshot.public_url}/web/"], capture_output=True, text=True)
        assert done.stdout == "hello"
        light.trinity("down")
    light.assert_nothing_runs()


# -- the state directory


@contextmanager
def small_disk(path: Path, *options: str) -> Iterator[None]:
    path.mkdir(exist_ok=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join(options), "trinity-test", str(path)])
    if mounted.returncode != 0:
        pytest.skip("mounting a small disk needs root")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def test_no_room_on_the_disk_is_one_sentence(light: LightFleet) -> None:
    with small_disk(light.state, "size=1m"):
        sentence = light.refused("up")
    assert f"The disk of the state directory {light.state} has 1 MiB left. Make room (at least 64 MiB)" in sentence


def test_a_full_disk_is_one_sentence(light: LightFleet) -> None:
    with small_disk(light.state, "size=64k"):
        (light.state / "filling").write_bytes(b"x" * 60_000)
        with open(light.state / "filling", "ab", buffering=0) as filling:
            while True:
                try:
                    filling.write(b"x" * 512)
                except OSError:
                    break
        sentence = light.refused("up")
    assert "no space is left on its disk" in sentence or "MiB left" in sentence
    assert "--state" in sentence


def test_a_write_that_fails_is_one_sentence(light: LightFleet) -> None:
    """Without root too: the operating system refuses to let files grow."""
    done = subprocess.run(
        [*TRINITY, "up"],
        env=light.env,
        cwd=light.root,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)),
    )
    assert done.returncode == 64, done.stderr
    assert f"The state directory {light.state} cannot be used" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    light.assert_nothing_runs()


def test_a_read_only_state_directory_is_one_sentence(light: LightFleet) -> None:
    with small_disk(light.state, "size=1m", "ro"):
        sentence = light.refused("up")
    assert f"The state directory {light.state} cannot be used: its file system is read-only." in sentence


def test_a_state_directory_that_is_a_file(light: LightFleet) -> None:
    file = light.root / "file"
    file.write_text("")
    assert "it is a file, not a directory" in light.refused("up", "--state", str(file))
    assert "is a file, not a directory" in light.refused("up", "--state", str(file / "below"))


# -- a daemon of another version


@contextmanager
def daemon_of(fleet: RealFleet, version: str) -> Iterator[None]:
    """A tiny server in the daemon's place that knows its version and nothing else."""
    fleet.paths.run_dir.mkdir(mode=0o700, exist_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(fleet.paths.control_socket))
    listener.listen()
    body = msgspec.json.encode(
        VersionInfo(version=version, protocol=1, pid=os.getpid(), started_ts=0.0, state_dir=str(fleet.state))
    )

    def serve() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            with peer:
                if peer.recv(65536):
                    peer.sendall(head + body)

    head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
        fleet.paths.control_socket.unlink()


NEED_A_DAEMON = ("status", "ps", "logs", "events", "actions", "scale llm 2", "restart llm-0", "kill llm-0", "wait")
NEED_IT_TOO = ("drain llm-0", "autoscale", "note x", "undo", "edge stat", "load", "drill status", "apply")


@pytest.mark.parametrize("command", [*NEED_A_DAEMON, *NEED_IT_TOO])
def test_without_a_daemon_a_command_says_how_to_start_one(light: LightFleet, command: str) -> None:
    sentence = light.refused(*command.split(), code=69)
    assert "No daemon runs for this state directory." in sentence
    assert "`trinity up`" in sentence


def test_a_socket_nobody_listens_on_is_no_daemon(light: LightFleet) -> None:
    light.paths.run_dir.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(light.paths.control_socket))
    assert "trinity up" in light.refused("status", code=69)
    light.up()
    assert light.snapshot().health == "ok"


def test_down_with_nothing_to_end_is_no_failure(light: LightFleet) -> None:
    for _ in range(2):
        assert light.trinity("down").stdout == "Nothing of this fleet runs any more.\n"
