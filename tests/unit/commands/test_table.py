"""Every command there is: importable, with help, with the options that all have, and honest exit codes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from backend.contract import exit_codes
from backend.contract.errors import InternalError, Refused, TrinityError, Unreachable, UsageError
from console import cli

ACTS_NOWHERE = {"completion", "deploy render", "deploy check", "deploy diff", "drill schema", "keys", "themes"}
"""They are about this program or about files, not about a fleet of a daemon."""
NO_OUTPUT_OF_ITS_OWN = {"down", "snapshot", "exec"}
"""They only say that it is done, or what another program says."""


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, by its full name."""
    ctx = click.Context(cli.trinity)
    for name in cli.COMMANDS:
        command = cli.trinity.get_command(ctx, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from ((f"{name} {sub}", below) for sub, below in command.commands.items())
        else:
            yield name, command


ALL = dict(commands())


@pytest.mark.parametrize("name", ALL)
def test_every_command_has_help_and_a_summary(name: str) -> None:
    assert ALL[name].help, name
    assert all(option.help or option.name in {"signum", "limit", "lines"} for option in described(ALL[name])), name


def described(command: click.Command) -> list[click.Option]:
    return [p for p in command.params if isinstance(p, click.Option) and not p.hidden and not p.show_default]


@pytest.mark.parametrize("name", ALL)
def test_every_command_says_where_it_acts(name: str) -> None:
    options = {option for p in ALL[name].params for option in p.opts}
    if name in ACTS_NOWHERE:
        return
    assert {"--state", "--fleet"} <= options
    assert "--json" in options or name in NO_OUTPUT_OF_ITS_OWN


def test_the_table_and_the_commands_agree_in_what_they_do() -> None:
    for name, (_, _, summary) in cli.COMMANDS.items():
        assert summary.endswith(".")
        assert summary in run_help()
        assert name in run_help()


def run_help() -> str:
    return cli.trinity.get_help(click.Context(cli.trinity, info_name="trinity"))


def test_exit_codes_are_told_in_the_help() -> None:
    text = " ".join(run_help().split())
    for code in (0, 1, 7, 64, 69, 70, 130, 2, 3, 4, 5, 6):
        assert f" {code} " in text


class _Raise(click.Command):
    def __init__(self, error: BaseException) -> None:
        super().__init__("x", callback=self.fail)
        self.error = error

    def fail(self) -> None:
        raise self.error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (TrinityError("a.", "b."), exit_codes.FAILED),
        (UsageError("a.", "b."), exit_codes.USAGE),
        (Unreachable("a.", "b."), exit_codes.UNREACHABLE),
        (InternalError("a.", "b."), exit_codes.INTERNAL),
        (Refused("a.", "b."), exit_codes.REFUSED),
        (KeyboardInterrupt(), exit_codes.INTERRUPTED),
        (BrokenPipeError(), exit_codes.OK),
        (ZeroDivisionError("a. b."), exit_codes.INTERNAL),
        (SystemExit(5), 5),
        (SystemExit(), exit_codes.OK),
    ],
)
def test_a_failure_has_its_exit_code_and_at_most_a_sentence(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli.CommandTable, "get_command", lambda *_: _Raise(error))
    monkeypatch.setattr(cli, "_discard_output", lambda: None)
    assert cli.run(["status"]) == code
    said = capfd.readouterr()
    assert "Traceback" not in said.err
    if isinstance(error, TrinityError):
        assert said.err == "trinity: a. b.\n"


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["scal"], "Did you mean `scale`?"),
        (["qqqq"], "trinity --help"),
        (["scale", "llm", "x"], "'x' is not a valid whole number"),
        (["scale", "llm", "65"], "0<=x<=64"),
        (["scale", "llm"], "Missing argument 'REPLICAS'"),
        (["scale", "llm", "1", "2"], "unexpected extra argument"),
        (["status", "--bogus"], "No such option"),
        (["status", "--fleet", "moon"], "There is no fleet `moon`"),
        (["--fleet", "moon", "status"], "There is no fleet `moon`"),
        (["--theme", "x", "status"], "--theme before a command is for the console"),
        (["--state", "", "status"], "it is empty"),
        (["up", "--timeout", "-1"], "not in the range"),
        (["logs", "--since", "x"], "unit"),
        (["drill", "nope"], "No such command 'nope'"),
        (["drill", "run", "nope"], "no drill named `nope`"),
        (["edge", "nope"], "'stat', 'config', 'errors'"),
        (["apply", "/no/such.yaml"], "no such file"),
        (["up", "--file", "/no/such.yaml"], "no such file"),
        (["load", "--url", "moon"], "not an HTTP URL"),
        (["load", "--url", "http://127.0.0.1:1", "--prompt-tokens", "a:b"], "no range"),
    ],
)
def test_wrong_arguments_are_usage_errors_in_a_sentence(
    argv: list[str], words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "environ", os.environ.copy() | {"TRINITY_STATE": str(tmp_path)})
    assert cli.run(argv) == exit_codes.USAGE
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("trinity: ")
    assert words in said.err
    assert len(said.err.splitlines()) <= 2


def test_a_reader_that_leaves_is_no_failure(tmp_path: Path) -> None:
    code = "import sys; from console import cli; import click\n"
    code += "@click.command()\ndef many():\n    [click.echo('x' * 1000) for _ in range(1000)]\n"
    code += "cli.CommandTable.get_command = lambda *_: many\nsys.exit(cli.run(['status']))"
    program = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | {"NO_COLOR": "1"}
    )
    assert program.stdout is not None
    assert program.stderr is not None
    program.stdout.readline()
    program.stdout.close()
    said = program.stderr.read()
    assert (program.wait(60), said) == (0, b"")
    program.stderr.close()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_name_the_program(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["completion", shell]) == 0
    assert "_TRINITY_COMPLETE" in capsys.readouterr().out
