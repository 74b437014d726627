"""`trinity`: a thin table of commands. Each is imported when it is called; no screen library is loaded here.

Owns the mapping from names to commands, and from failures to exit codes. Without a command it opens the console.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any

import click

from backend.commands.parameters import Directory
from backend.contract import exit_codes
from backend.contract.errors import TrinityError
from console.commands.parameters import SimulatedFleet

COMMANDS: dict[str, tuple[str, str, str]] = {
    "up": ("backend.commands.fleet", "up", "Start the fleet and wait until all is Ready."),
    "down": ("backend.commands.fleet", "down", "Stop the whole fleet."),
    "status": ("backend.commands.fleet", "status", "One look at the fleet."),
    "ps": ("backend.commands.fleet", "ps", "The replicas, a line each."),
    "logs": ("backend.commands.watching", "logs", "Lines of the replicas, merged by time."),
    "events": ("backend.commands.watching", "events", "What happened."),
    "actions": ("backend.commands.watching", "actions", "Who did what, and how it ended."),
    "scale": ("backend.commands.verbs", "scale", "Set a workload's number of replicas."),
    "restart": ("backend.commands.verbs", "restart", "Restart a replica, or roll a workload."),
    "kill": ("backend.commands.verbs", "kill", "Send a signal to a replica's process."),
    "drain": ("backend.commands.verbs", "drain", "Give a replica no new work."),
    "pause": ("backend.commands.verbs", "pause", "Freeze a replica as it is."),
    "evict": ("backend.commands.verbs", "evict", "Have a replica leave within its disruption budget."),
    "rollback": ("backend.commands.verbs", "rollback", "Take a workload back to its former revision."),
    "cordon": ("backend.commands.verbs", "cordon", "Let no new replicas come onto a node."),
    "node-drain": ("backend.commands.verbs", "node_drain", "Cordon a node and evict what is on it."),
    "maintenance": ("backend.commands.verbs", "maintenance", "Leave a workload alone."),
    "apply": ("backend.commands.fleet", "apply", "Apply a trinity.yaml."),
    "wait": ("backend.commands.fleet", "wait", "Wait for a condition."),
    "autoscale": ("backend.commands.verbs", "autoscale", "Switch the autoscaler, or see its decisions."),
    "note": ("backend.commands.verbs", "note", "Write a note into the events."),
    "ack": ("backend.commands.verbs", "acknowledge", "Acknowledge events."),
    "undo": ("backend.commands.verbs", "undo", "Undo an action."),
    "edge": ("backend.commands.edge", "edge", "HAProxy's own words."),
    "load": ("backend.commands.load", "load", "Open-loop load, measured."),
    "drill": ("backend.commands.drill", "drill", "Failover drills."),
    "query": ("backend.commands.query", "query", "SQL over the ledger."),
    "deploy": ("backend.commands.deploy", "deploy", "Files of a deployment: render, check, compare."),
    "doctor": ("backend.commands.doctor", "doctor", "Check this machine and fleet, and how to mend each."),
    "record": ("backend.commands.record", "record", "The recorded past as one file to share."),
    "replay": ("console.commands.replay", "replay", "The console on a recording."),
    "support-bundle": ("backend.commands.bundle", "support_bundle", "Everything a bug report needs, redacted."),
    "snapshot": ("console.commands.snapshot", "snapshot", "One view of the console into a file."),
    "keys": ("console.commands.keys", "keys", "Keys: list them, check a keymap file."),
    "themes": ("console.commands.themes", "themes", "Themes: list, print one, check a file."),
    "exec": ("backend.commands.exec", "exec_", "Run a program in a replica."),
    "expose": ("backend.commands.expose", "expose", "Forward ports of replicas to this machine."),
    "describe": ("backend.commands.seeing", "describe", "All that is known of a replica, workload or node."),
    "nodes": ("backend.commands.seeing", "nodes", "The machines of the platform."),
    "ports": ("backend.commands.seeing", "ports", "How everything can be reached."),
    "fleets": ("backend.commands.fleets", "fleets", "The fleets that the daemon looks after; add others."),
    "completion": ("backend.commands.completion", "completion", "Shell completion script."),
    "version": ("backend.commands.fleet", "version", "Versions of program and daemon."),
}

EXIT_CODES_HELP = (
    "Exit codes: 0 ok, 1 failed, 7 refused (nothing was done), 64 usage or a bad file, 69 not reachable, 70 internal, "
    "130 interrupted. `drill run` also: 2 inconclusive, 3 aborted clean, 4 baseline failed, 5 dirty, 6 regression."
)


class CommandTable(click.Group):
    """Lists commands from the table, imports one when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        command.name = cmd_name
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # The reader of our output went away (`trinity events | head`): nobody to tell, and nothing failed.
            _discard_output()
            raise click.exceptions.Exit(exit_codes.OK) from None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            import difflib

            close = difflib.get_close_matches(args[0], COMMANDS, n=1)
            raise click.UsageError(
                error.message + (f" Did you mean `{close[0]}`?" if close else " See `trinity --help`."), ctx
            ) from None


@click.command(
    cls=CommandTable,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=EXIT_CODES_HELP,
)
@click.option("--state", type=Directory(), help="State directory [env: TRINITY_STATE].")
@click.option("--fleet", help="Fleet to show: a name of `trinity fleets`, or an address [env: TRINITY_FLEET].")
@click.option("--file", type=click.Path(path_type=Path), help="trinity.yaml to start a fleet from.")
@click.option("--auto-port", is_flag=True, help="Take the next free port where one is taken.")
@click.option("--read-only", is_flag=True, help="Look, do not touch.")
@click.option("--theme", help="Theme to begin with (see the palette, `:`).")
@click.option("--low-bandwidth", is_flag=True, help="For links that carry little: data every 3 s, 256 colours.")
@click.option("--attach", multiple=True, metavar="[NAME=]DIR", help="Also show the fleet of that state directory.")
@click.option(
    "--simulate",
    multiple=True,
    type=SimulatedFleet(),
    help="Show a simulated fleet: N replicas, or docker:N, k8s:N; again: one more.",
)
@click.option("--keymap", type=click.Path(path_type=Path), help="Keys of your own (see `trinity keys`).")
@click.option("--plain", is_flag=True, help="No screen: a line for each change (TERM=dumb does the same).")
@click.pass_context
def trinity(ctx: click.Context, /, **options: Any) -> None:
    """Operate LLM inference fleets from a terminal. Without a command: start the fleet if need be, open the console."""
    if ctx.invoked_subcommand is not None:
        _pass_on(ctx.invoked_subcommand, ctx)
        return
    from console.opening import Opening, open_console

    raise SystemExit(open_console(Opening(**options)))


def _pass_on(command: str, ctx: click.Context) -> None:
    """Options before a command: where to act goes on to it, the console's own make no sense there."""
    if ctx.params["state"] is not None:
        os.environ["TRINITY_STATE"] = str(ctx.params["state"])
    if ctx.params["fleet"] is not None:
        os.environ["TRINITY_FLEET"] = ctx.params["fleet"]
    for parameter in ctx.command.params:
        name = parameter.name or ""
        if name not in ("state", "fleet") and ctx.params[name] not in (None, False, ()):
            option = parameter.opts[0]
            raise click.UsageError(f"{option} before a command is for the console. Write it after `{command}`.", ctx)


def main(argv: list[str] | None = None) -> None:
    """The program. Ends with one of the documented exit codes; a failure is one sentence on stderr."""
    sys.exit(run(sys.argv[1:] if argv is None else argv))


def run(argv: list[str]) -> int:
    """Run one command and return its exit code."""
    try:
        result: Any = trinity.main(args=argv, prog_name="trinity", standalone_mode=False)
    except click.exceptions.Abort:
        return exit_codes.INTERRUPTED
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return exit_codes.USAGE
    except click.ClickException as error:
        _show_usage(error)
        return exit_codes.USAGE
    except KeyboardInterrupt:
        return exit_codes.INTERRUPTED
    except TrinityError as error:
        click.echo(f"trinity: {error}", err=True)
        return error.exit_code
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else exit_codes.OK if error.code is None else exit_codes.FAILED
    except Exception as error:  # the last resort: one sentence, and the trace where it can be asked for
        if os.environ.get("TRINITY_TRACEBACK"):
            raise
        click.echo(
            f"trinity: internal error: {type(error).__name__}: {error}. Set TRINITY_TRACEBACK=1 to see where.", err=True
        )
        return exit_codes.INTERNAL
    return result if isinstance(result, int) else exit_codes.OK


def _discard_output() -> None:
    """What is still buffered for a reader that left goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _show_usage(error: click.ClickException) -> None:
    """One sentence, and how the command is written."""
    click.echo(f"trinity: {error.format_message()}", err=True)
    ctx = getattr(error, "ctx", None)
    if ctx is not None:
        click.echo(f"{ctx.get_usage()}  (more: `{ctx.command_path} --help`)", err=True)


if __name__ == "__main__":
    main()
