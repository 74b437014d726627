"""What a verb must be able to do, and the state its preview may look at.

Owns the protocol between the gateway and the verbs. Never performs anything.
"""

from __future__ import annotations

import difflib
from collections.abc import Awaitable, Callable, Iterable
from typing import Literal, Protocol

import msgspec

from backend.contract.control import ActionRequest, Quantiles, ReplicaView, Snapshot, WorkloadView
from backend.contract.errors import UsageError
from backend.contract.fleet import WorkloadSpec
from backend.contract.platform import NodeStatus
from backend.contract.rows import Scalar
from backend.contract.words import Risk, Verb

Progress = Callable[[str], None]
TargetKind = Literal["workload", "replica", "free"]
"""`free`: the verb names its target in its own way, or has none."""


class ActionState(msgspec.Struct, frozen=True, kw_only=True):
    """What previews and guards see: the fleet at one instant."""

    fleet: str
    specs: tuple[WorkloadSpec, ...] = ()
    replicas: tuple[ReplicaView, ...] = ()
    workloads: tuple[WorkloadView, ...] = ()
    ttft: dict[str, Quantiles] = {}
    """By workload, over the last 5 minutes."""
    limits: dict[str, str] = {}
    """Verb -> why the platform does not let us."""
    nodes: tuple[NodeStatus, ...] = ()

    def workload(self, name: str) -> WorkloadView:
        """Raises UsageError, with the nearest name, where there is none."""
        for view in self.workloads:
            if view.name == name:
                return view
        raise unknown("workload", name, [view.name for view in self.workloads])

    def replica(self, name: str) -> ReplicaView:
        """Raises UsageError, with the nearest name, where there is none."""
        for view in self.replicas:
            if view.status.name == name:
                return view
        ours = [view.status.name for view in self.replicas if view.status.workload == name]
        if ours:
            raise UsageError(f"{name} is a workload; this wants one replica.", f"Name one of: {', '.join(ours)}.")
        raise unknown("replica", name, [view.status.name for view in self.replicas])

    def node(self, name: str) -> NodeStatus:
        """Raises UsageError, with the nearest name, where there is none."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise unknown("node", name, [node.name for node in self.nodes])

    def spec(self, workload: str) -> WorkloadSpec:
        for spec in self.specs:
            if spec.name == workload:
                return spec
        raise unknown("workload", workload, [spec.name for spec in self.specs])


def state_of(
    snapshot: Snapshot, specs: Iterable[WorkloadSpec], ttft_5min: dict[str, Quantiles] | None = None
) -> ActionState:
    """The part of a snapshot that previews look at."""
    return ActionState(
        fleet=snapshot.fleet,
        specs=tuple(specs),
        replicas=snapshot.replicas,
        workloads=snapshot.workloads,
        ttft=ttft_5min or {},
        limits=snapshot.limits,
        nodes=snapshot.nodes,
    )


def unknown(what: str, name: str, names: list[str]) -> UsageError:
    """The error for a name that does not exist, with what was probably meant."""
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    message = f"There is no {what} {name}." if name else f"Which {what}? None was named."
    hint = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(names) or 'none'}."
    return UsageError(message, hint)


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """What an action would do, in words. A `refusal` forbids it."""

    summary: str
    effects: tuple[str, ...] = ()
    risk: Risk = Risk.NONE
    refusal: str = ""


class Inverse(msgspec.Struct, frozen=True, kw_only=True):
    """The action that takes another one back, on the same target."""

    verb: Verb
    args: dict[str, Scalar] = {}
    words: str
    """For people: `scale back to 3`."""


class Irreversible(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing takes it back; `why` is a clause: `the process is gone and restarts by itself`."""

    why: str


class Executor(Protocol):
    """One verb. `preview` and `inverse` are pure; `run` is the deed."""

    @property
    def verb(self) -> Verb: ...

    @property
    def target_kind(self) -> TargetKind: ...

    @property
    def exclusive(self) -> bool:
        """Whether it is refused while somebody else holds the workload's lease."""
        ...

    @property
    def in_maintenance(self) -> bool:
        """Whether it may be done to a workload in maintenance."""
        ...

    def preview(self, state: ActionState, request: ActionRequest) -> Effect:
        """Raises UsageError for arguments that make no sense."""
        ...

    def inverse(self, state: ActionState, request: ActionRequest) -> Inverse | Irreversible:
        """Computed before the deed, from the state it changes."""
        ...

    async def run(self, request: ActionRequest, progress: Progress) -> str:
        """Do it; returns the result in a sentence. Raises TrinityError where it failed, Refused where nothing
        was done."""
        ...


class Verbal:
    """A verb made of functions: how the daemon registers notes, load, drills and its own shutdown."""

    def __init__(
        self,
        verb: Verb,
        preview: Callable[[ActionState, ActionRequest], Effect],
        run: Callable[[ActionRequest, Progress], Awaitable[str]],
        inverse: Callable[[ActionState, ActionRequest], Inverse | Irreversible] | None = None,
        *,
        why_irreversible: str = "it has no inverse",
        target_kind: TargetKind = "free",
        exclusive: bool = False,
        in_maintenance: bool = True,
    ) -> None:
        self.verb, self.target_kind, self.exclusive, self.in_maintenance = verb, target_kind, exclusive, in_maintenance
        self._preview, self._run, self._inverse, self._why = preview, run, inverse, why_irreversible

    def preview(self, state: ActionState, request: ActionRequest) -> Effect:
        return self._preview(state, request)

    def inverse(self, state: ActionState, request: ActionRequest) -> Inverse | Irreversible:
        return self._inverse(state, request) if self._inverse else Irreversible(why=self._why)

    async def run(self, request: ActionRequest, progress: Progress) -> str:
        return await self._run(request, progress)


def whole_number(request: ActionRequest, name: str) -> int:
    """An argument that must be a whole number. Raises UsageError."""
    value = request.args.get(name)
    if isinstance(value, bool) or not isinstance(value, int):
        raise UsageError(f"{request.verb} needs {name} as a whole number, not {value!r}.")
    return value


def switch(request: ActionRequest, name: str = "on") -> bool:
    """An argument that must be true or false. Raises UsageError."""
    value = request.args.get(name)
    if not isinstance(value, bool):
        raise UsageError(f"{request.verb} needs {name} as true or false, not {value!r}.")
    return value
