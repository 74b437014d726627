"""Every verb of the action gateway as a command: preview first, confirmation where risky, result as exit code."""

from __future__ import annotations

import sys
from typing import Any

import click

from backend.commands.output import narrate, print_json
from backend.commands.parameters import Count, Seconds
from backend.commands.place import Place, common
from backend.contract.control import ActionRequest
from backend.contract.errors import Refused, TrinityError, UsageError
from backend.contract.rows import Scalar
from backend.contract.words import ActionOutcome, Risk, Verb
from backend.control_client import ControlClient


def act(
    place: Place,
    verb: Verb,
    target: str = "",
    args: dict[str, Scalar] | None = None,
    *,
    yes: bool = True,
    dry_run: bool = False,
    reason: str = "",
) -> None:
    """Preview, confirm if the risk is high and `yes` is not given, perform, print."""
    request = ActionRequest(verb=verb, target=target, args=args or {}, actor=place.actor, reason=reason)

    async def work(client: ControlClient) -> Any:
        preview = await client.preview(request)
        if dry_run:
            return preview
        if not preview.allowed:
            raise Refused(preview.refusal, "")
        if preview.risk == Risk.HIGH and not yes:
            _confirm(preview.summary, target)
        return await client.perform(request)

    outcome = place.run(work)
    if place.json:
        print_json(outcome)
    elif dry_run:
        click.echo(outcome.summary)
        for effect in outcome.effects:
            click.echo(f"  {effect}")
        if not outcome.allowed:
            narrate(f"Refused: {outcome.refusal}")
    elif outcome.outcome == ActionOutcome.OK:
        click.echo(outcome.result or f"{verb} {target}: done.")
    if not dry_run and outcome.outcome == ActionOutcome.REFUSED:
        raise Refused(outcome.result, "")
    if not dry_run and outcome.outcome != ActionOutcome.OK:
        # What was wrong came with what to do about it.
        raise TrinityError(outcome.result or f"{verb} {target} failed. See `trinity events`.")


def _confirm(summary: str, target: str) -> None:
    if not sys.stdin.isatty():
        raise UsageError(f"This is risky and wants --yes: {summary}.", "Look at it with --dry-run first.")
    narrate(summary)
    if click.prompt("Type the target's name to go on", default="", show_default=False, err=True) != target:
        raise Refused("Cancelled; nothing was done.", "")


def _verb_options(function: Any) -> Any:
    function = click.option("--yes", is_flag=True, help="Do not ask, also where risky.")(function)
    function = click.option("--dry-run", is_flag=True, help="Print the preview only.")(function)
    return click.option("--reason", default="", help="Why, for the journal.")(function)


@click.command()
@click.argument("workload")
@click.argument("replicas", type=Count(0, 64))
@_verb_options
@common()
def scale(place: Place, workload: str, replicas: int, yes: bool, dry_run: bool, reason: str) -> None:
    """Set WORKLOAD to REPLICAS replicas; surplus ones are drained first."""
    act(place, Verb.SCALE, workload, {"replicas": replicas}, yes=yes, dry_run=dry_run, reason=reason)


@click.command()
@click.argument("target")
@click.option("--rolling", is_flag=True, help="TARGET is a workload: replace all replicas, one at a time.")
@_verb_options
@common()
def restart(place: Place, target: str, rolling: bool, yes: bool, dry_run: bool, reason: str) -> None:
    """Restart a replica (drained first), or with --rolling a whole workload."""
    act(place, Verb.ROLLOUT if rolling else Verb.RESTART, target, yes=yes, dry_run=dry_run, reason=reason)


@click.command()
@click.argument("replica")
@click.option("--signal", "signum", type=Count(1, 64), default=9, show_default=True)
@click.option("--force", is_flag=True, help="Also the last healthy replica.")
@_verb_options
@common()
def kill(place: Place, replica: str, signum: int, force: bool, yes: bool, dry_run: bool, reason: str) -> None:
    """Send a signal to REPLICA's process, abruptly."""
    act(place, Verb.KILL, replica, {"signal": signum, "force": force}, yes=yes or force, dry_run=dry_run, reason=reason)


@click.command()
@click.argument("replica")
@click.option("--undo", is_flag=True, help="Give it work again.")
@_verb_options
@common()
def drain(place: Place, replica: str, undo: bool, yes: bool, dry_run: bool, reason: str) -> None:
    """Give REPLICA no new work; what it has goes on."""
    act(place, Verb.UNDRAIN if undo else Verb.DRAIN, replica, yes=yes, dry_run=dry_run, reason=reason)


@click.command()
@click.argument("replica")
@click.option("--undo", is_flag=True, help="Let it go on.")
@_verb_options
@common()
def pause(place: Place, replica: str, undo: bool, yes: bool, dry_run: bool, reason: str) -> None:
    """Freeze REPLICA's processes as they are."""
    act(place, Verb.UNPAUSE if undo else Verb.PAUSE, replica, yes=yes, dry_run=dry_run, reason=reason)


@click.command()
@click.argument("replica")
@_verb_options
@common()
def evict(place: Place, replica: str, yes: bool, dry_run: bool, reason: str) -> None:
    """Ask REPLICA to leave within its disruption budget; its owner makes another."""
    act(place, Verb.EVICT, replica, yes=yes, dry_run=dry_run, reason=reason)


@click.command()
@click.argument("workload")
@_verb_options
@common()
def rollback(place: Place, workload: str, yes: bool, dry_run: bool, reason: str) -> None:
    """Take WORKLOAD back to its former revision, to the rollout's end."""
    act(place, Verb.ROLLBACK, workload, yes=yes, dry_run=dry_run, reason=reason)


@click.command()
@click.argument("node")
@click.option("--undo", is_flag=True, help="Let new replicas come onto it again.")
@_verb_options
@common()
def cordon(place: Place, node: str, undo: bool, yes: bool, dry_run: bool, reason: str) -> None:
    """Let no new replicas come onto NODE; those it has stay."""
    act(place, Verb.UNCORDON if undo else Verb.CORDON, node, yes=yes, dry_run=dry_run, reason=reason)


@click.command()
@click.argument("node")
@click.option("--timeout", default=600.0, show_default=True, type=Seconds(), help="How long budgets may hold it up.")
@_verb_options
@common()
def node_drain(place: Place, node: str, timeout: float, yes: bool, dry_run: bool, reason: str) -> None:
    """Cordon NODE and evict what is on it, within disruption budgets; `cordon --undo` opens it again."""
    act(place, Verb.NODE_DRAIN, node, {"grace_s": timeout}, yes=yes, dry_run=dry_run, reason=reason)


@click.command()
@click.argument("workload")
@click.argument("switch", type=click.Choice(["on", "off"]))
@_verb_options
@common()
def maintenance(place: Place, workload: str, switch: str, yes: bool, dry_run: bool, reason: str) -> None:
    """No autoscaler, no probes acting, no restarts for WORKLOAD."""
    act(place, Verb.MAINTENANCE, workload, {"on": switch == "on"}, yes=yes, dry_run=dry_run, reason=reason)


@click.command()
@click.argument("switch", type=click.Choice(["on", "off", "status"]), default="status")
@click.option("--workload", default="llm", show_default=True)
@_verb_options
@common()
def autoscale(place: Place, switch: str, workload: str, yes: bool, dry_run: bool, reason: str) -> None:
    """Switch the autoscaler, or show what it sees and decided."""
    if switch != "status":
        act(place, Verb.AUTOSCALE, workload, {"on": switch == "on"}, yes=yes, dry_run=dry_run, reason=reason)
        return
    snapshot = place.run(lambda client: client.snapshot())
    views = [v for v in snapshot.scaling if v.workload == workload]
    if not views:
        raise UsageError(f"There is no workload `{workload}` to scale.", "See `trinity status`.")
    if place.json:
        print_json(views[0])
        return
    view = views[0]
    note = f" ({view.maximum_note})" if view.maximum_note else ""
    click.echo(f"{view.workload}: policy {view.policy} is {'on' if view.enabled else 'off'}")
    click.echo(f"  replicas   {view.current} of {view.minimum} to {view.maximum}{note}")
    click.echo(f"  cooldown   {view.cooldown_left_s:.0f} s left")
    click.echo(f"  decided    {view.last_decision or 'nothing yet'}")
    for name, value in view.inputs.items():
        click.echo(f"  {name:<22} {'idle' if value is None else value}")


@click.command()
@click.argument("text")
@common()
def note(place: Place, text: str) -> None:
    """Write a note into the events: trinity note "deploy 42"."""
    act(place, Verb.NOTE, args={"text": text})


@click.command()
@click.argument("seq", type=int)
@common()
def acknowledge(place: Place, seq: int) -> None:
    """Acknowledge the events up to number SEQ (see `trinity events`)."""
    act(place, Verb.ACKNOWLEDGE, args={"seq": seq})


@click.command()
@click.argument("action_id", required=False)
@_verb_options
@common()
def undo(place: Place, action_id: str | None, yes: bool, dry_run: bool, reason: str) -> None:
    """Undo an action (the last undoable one when no id is given)."""
    act(place, Verb.UNDO, args={"id": action_id or ""}, yes=yes, dry_run=dry_run, reason=reason)
