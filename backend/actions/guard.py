"""Who may do this to that, now. Pure.

Owns the refusals that hold for every verb: read-only actors, leases, maintenance. A verb's own refusals (the last
replica that serves, bounds) are in its preview.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from backend.actions.executor import ActionState, Executor
from backend.contract.control import ActionRequest
from backend.contract.errors import LeaseHeld

READ_ONLY_PREFIX: Final = "read-only:"
"""Actors that may look only: `read-only:console:ann`."""
AUTOSCALER: Final = "autoscaler"


def refusal(
    state: ActionState,
    request: ActionRequest,
    executor: Executor,
    *,
    read_only: bool,
    blocker: Callable[[str, str], str | None],
) -> str:
    """Why this actor may not do this now, as a sentence; empty where nothing speaks against it.

    `blocker(workload, actor)` names who holds the workload's lease against the actor. Raises UsageError for a
    target that does not exist.
    """
    if words := read_only_refusal(request, read_only=read_only):
        return words
    if why := state.limits.get(request.verb):
        return f"{request.verb} cannot be done here: {why}."
    workload = workload_of(state, request, executor)
    if workload is None:
        return ""
    view = state.workload(workload)
    if view.maintenance and not executor.in_maintenance:
        return f"{workload} is in maintenance. Switch that off first: trinity maintenance {workload} off."
    if executor.exclusive and (holder := blocker(workload, request.actor)):
        return str(LeaseHeld(workload, holder))
    if request.actor == AUTOSCALER and not view.autoscale:
        return f"The autoscaler of {workload} is off."
    return ""


def read_only_refusal(request: ActionRequest, *, read_only: bool) -> str:
    """Every verb changes something, so every verb is refused."""
    if read_only or request.actor.startswith(READ_ONLY_PREFIX):
        return f"{request.verb} is refused: this session is read-only."
    return ""


def workload_of(state: ActionState, request: ActionRequest, executor: Executor) -> str | None:
    """The workload an action is about; None where it is about none. Raises UsageError for an unknown target."""
    if executor.target_kind == "workload":
        return state.workload(request.target).name
    if executor.target_kind == "replica":
        return state.replica(request.target).status.workload
    return None
