"""The command line on a running fleet: names, pipes, interrupts, two consoles of one fleet, deaths of its keepers."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator

import psutil
import pytest

from backend.contract.words import Phase
from backend.recording.archive import Archive
from tests.e2e.harness import PATIENCE_S, TRINITY, RealFleet, is_alive, wait_for
from tests.e2e.light_fleet import WEB, LightFleet, light_fleet


@pytest.fixture(scope="module")
def web() -> Iterator[LightFleet]:
    with light_fleet() as running:
        yield running


def usage(fleet: LightFleet, *args: str, code: int = 64) -> str:
    """A command that must fail with a sentence while the fleet goes on."""
    done = fleet.trinity(*args, check=False)
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    return done.stderr.strip()


# -- names


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("scale wbe 1", "There is no workload wbe. Did you mean web?"),
        ("scale zzzzzz 1", "There is no workload zzzzzz. There are: web."),
        ("restart web-7", "There is no replica web-7. Did you mean web-"),
        ("restart web", "web is a workload; this wants one replica. Name one of: web-0, web-1."),
        ("restart web-0 --rolling", "There is no workload web-0. Did you mean web?"),
        ("kill wbe-0", "There is no replica wbe-0. Did you mean web-0?"),
        ("drain web-9", "There is no replica web-9."),
        ("maintenance wb on", "Did you mean web?"),
        ("autoscale --workload wbe", "There is no workload `wbe`"),
        ("wait --workload wbe", "There is no workload `wbe`. There are: web."),
        ("logs wbe-0", "There is no replica wbe-0. Did you mean web-0?"),
        ("ack 999999", "There is no event #999999."),
        ("undo nothing", "There is no action nothing."),
        ("note  ", "Missing argument"),
        ("load --rate 0", "rate"),
        ("load --prompts nope.txt", "nope.txt"),
        ("drill run nope", "There is no drill named `nope`."),
        ("apply nope.yaml", "nope.yaml: no such file."),
    ],
)
def test_a_wrong_name_is_answered_with_what_was_meant(web: LightFleet, command: str, words: str) -> None:
    done = web.trinity(*command.split(), check=False)
    assert done.returncode == 64, (done.returncode, done.stdout, done.stderr)
    assert words in done.stderr
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) <= 2, done.stderr


def test_logs_of_a_workload_are_those_of_its_replicas_and_of_those_it_gets(web: LightFleet) -> None:
    def writers(*names: str) -> set[str]:
        return {json.loads(line)["replica"] for line in web.trinity("logs", *names, "--json").stdout.splitlines()}

    wait_for(lambda: writers("web") == {"web-0", "web-1"}, 30, "lines of both replicas")
    assert writers("web-1") == {"web-1"}
    assert writers("web-1", "edge") >= {"web-1"} and "web-0" not in writers("web-1", "edge")
    with web.start("logs", "web", "--follow", "--json", stdout=subprocess.PIPE) as follower:
        assert follower.stdout is not None
        try:
            assert json.loads(follower.stdout.readline())["replica"] in {"web-0", "web-1"}
            web.trinity("scale", "web", "3")
            assert any(json.loads(line)["replica"] == "web-2" for line in follower.stdout)
        finally:
            follower.kill()
            web.trinity("scale", "web", "2")


def test_a_scaling_beyond_the_maximum_is_refused_and_nothing_is_done(web: LightFleet) -> None:
    assert "web can have 0 to 16 replicas, not 17." in usage(web, "scale", "web", "17", code=7)
    assert web.snapshot().workloads[0].wanted == 2


@pytest.mark.parametrize(
    ("sql", "words"),
    [("selct 1", "SQL"), ("select * from nope", "nope"), ("select nocol from events", "nocol"), ("", "one (and only")],
)
def test_a_wrong_query_is_answered_with_the_tables(web: LightFleet, sql: str, words: str) -> None:
    sentence = web.trinity("query", sql, check=False)
    assert sentence.returncode == 64
    assert words in sentence.stderr
    assert "requests(" in sentence.stderr
    assert "Traceback" not in sentence.stderr


# -- output


@pytest.mark.parametrize("command", ["status", "ps", "up", "wait", "autoscale --workload web", "version", "doctor"])
def test_json_is_one_document_and_nothing_else(web: LightFleet, command: str) -> None:
    done = web.trinity(*command.split(), "--json", check=command != "doctor")
    assert json.loads(done.stdout)
    assert len(done.stdout.splitlines()) == 1


@pytest.mark.parametrize("command", ["events", "logs", "actions", "query select+seq+from+events"])
def test_rows_are_a_json_document_a_line(web: LightFleet, command: str) -> None:
    web.trinity("note", "a row at least")
    done = web.trinity(*(word.replace("+", " ") for word in command.split()), "--json")
    assert len([json.loads(line) for line in done.stdout.splitlines()]) >= 1


@pytest.mark.parametrize("command", ["events", "events --json", "logs", "ps", "query 'select * from events' --json"])
def test_a_pipe_that_closes_early_is_no_failure(web: LightFleet, command: str) -> None:
    script = f"set -o pipefail; {' '.join(TRINITY)} {command} | head -n 1"
    done = subprocess.run(["bash", "-c", script], env=web.env, cwd=web.root, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 1


def test_the_fleet_and_state_before_the_command_are_the_commands(web: LightFleet) -> None:
    env = {name: value for name, value in web.env.items() if name != "TRINITY_STATE"}
    argv = [*TRINITY, "--state", str(web.state), "--fleet", "local", "status"]
    done = subprocess.run(argv, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("local: ok")


# -- interrupts


def interrupted(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE_S)
    return process.returncode, out, err


@pytest.mark.parametrize("command", ["logs -f", "events -f"])
def test_ctrl_c_ends_following_with_130_and_no_trace(web: LightFleet, command: str) -> None:
    process = web.start(*command.split(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    code, _, err = interrupted(process)
    assert (code, err.strip()) == (130, "")


def test_events_are_followed_without_a_gap(web: LightFleet) -> None:
    process = web.start("events", "-f", "-n", "5", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    for number in range(3):
        web.trinity("note", f"followed {number}")
    seen: list[str] = []
    wait_for(lambda: seen.append(process.stdout.readline()) or "followed 2" in seen[-1], 60.0, "the last note")  # type: ignore[union-attr,func-returns-value]  # reads until it is there
    assert interrupted(process)[0] == 130
    assert [n for n in range(3) if any(f" followed {n}" in line and " note " in line for line in seen)] == [0, 1, 2]


def test_ctrl_c_of_a_load_still_prints_its_summary(web: LightFleet) -> None:
    argv = ("load", "--kind", "get", "--url", f"{web.url}/web/", "--rate", "20", "--duration", "60", "--json")
    before = len(web.requests(vantage="edge"))
    process = web.start(*argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stderr is not None
    process.stderr.readline()  # it runs
    wait_for(lambda: len(web.requests(vantage="edge")) > before, PATIENCE_S, "an answer")
    code, out, err = interrupted(process)
    summary = json.loads(out)
    assert code == 130
    assert summary["total"] >= 1
    assert summary["failed"] == 0
    assert "Stopping" in err
    assert "Traceback" not in err


def test_a_load_killed_with_9_leaves_no_generator(web: LightFleet) -> None:
    argv = ("load", "--kind", "get", "--url", f"{web.url}/web/", "--rate", "5", "--duration", "60")
    process = web.start(*argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stderr is not None
    process.stderr.readline()
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    process.kill()
    process.communicate()
    wait_for(lambda: not any(is_alive(child.pid) for child in children), 60.0, "end of the generator")


# -- one fleet, many hands


# -- the past


def test_a_kill_can_be_looked_at_again_and_shared_as_one_file(web: LightFleet) -> None:
    before = web.snapshot()
    old = web.pids()["web-0"]
    wait_for(lambda: (web.ask(lambda client: client.extent()).last_ts or 0.0) > before.ts, 60.0, "a recorded snapshot")
    web.trinity("kill", "web-0", "--yes")

    def replaced() -> float | None:
        now = web.snapshot()
        pid = next(view.status.pid for view in now.replicas if view.status.name == "web-0")
        return now.ts if pid not in (None, old) and now.workloads[0].ready == 2 else None

    back_ts = wait_for(replaced, 60.0, "web-0 is back")
    wait_for(lambda: (web.ask(lambda client: client.extent()).last_ts or 0.0) > back_ts, 60.0, "its return is recorded")
    then = web.ask(lambda client: client.moment(before.ts))
    assert {view.status.name: view.status.pid for view in then.snapshot.replicas}["web-0"] == old
    assert not any(row.verb == "kill" for row in then.actions), "it had not happened"
    again = web.ask(lambda client: client.moment(back_ts + 60.0))
    assert [row.target for row in again.actions if row.verb == "kill"] == ["web-0"]
    assert any(row.kind == "replica.died" for row in again.events)

    exported = json.loads(web.trinity("record", "export", "kill.trinity", "--json").stdout)
    assert json.loads(web.trinity("replay", "kill.trinity", "--check", "--json").stdout) == exported
    archive = Archive(web.root / "kill.trinity")
    assert {kind: exported["counts"][kind] for kind in ("snapshots", "events", "actions")} == {
        "snapshots": archive.recording.count(),
        "events": sum(1 for _ in archive.rows("events")),
        "actions": sum(1 for _ in archive.rows("actions")),
    }
    phases = {
        view.status.phase
        for shot in archive.recording.snapshots(before.ts, back_ts)
        for view in shot.replicas
        if view.status.name == "web-0"
    }
    assert phases > {Phase.READY}, "its death is in the file, however soon it was mended"


def test_a_second_up_attaches_to_the_same_fleet(web: LightFleet) -> None:
    daemon, pids = web.daemon_pid(), web.pids()
    done = web.trinity("up")
    assert done.stdout == f"local: 2/2 replicas ready at {web.url}\n"
    assert (web.daemon_pid(), web.pids()) == (daemon, pids)


def test_down_twice_and_up_again(web: LightFleet) -> None:
    """Ends the module's fleet and starts it anew for the others."""
    for _ in range(2):
        assert web.trinity("down").stdout == "Nothing of this fleet runs any more.\n"
        web.assert_nothing_runs()
    web.up()
    assert web.snapshot().health == "ok"


def get(fleet: RealFleet, path: str) -> int:
    argv = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", fleet.url + path]
    return int(subprocess.run(argv, capture_output=True, text=True).stdout)


def test_a_wrong_file_is_not_applied(web: LightFleet) -> None:
    pids = web.pids()
    (web.root / "wrong.yaml").write_text(WEB + "  llm: {builtin: llm, model: none.gguf}\n")
    assert "wrong.yaml" in usage(web, "apply", "wrong.yaml")
    (web.root / "wrong.yaml").write_text(WEB.replace("replicas: 2", "replicas: 99"))
    sentence = usage(web, "apply", "--dry-run", "wrong.yaml")
    assert "wrong.yaml:6:5: workload `web` wants 99 replicas." in sentence
    assert web.pids() == pids


def test_scaling_by_apply_and_a_changed_command_roll_without_a_dip(web: LightFleet) -> None:
    before = set(web.pids().values())
    web.write(WEB.replace("replicas: 2", "replicas: 3"))
    assert "2" in web.trinity("apply", "--dry-run").stdout
    web.trinity("apply")
    web.until_ready(3, "web")
    assert before <= set(web.pids().values())
    web.write(WEB)
    web.trinity("apply")
    web.until_ready(2, "web")
    assert get(web, "/web/") == 200
