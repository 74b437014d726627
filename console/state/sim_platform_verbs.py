"""What the verbs of platforms would do and do to the pretended fleet: freeze, evict, cordon, forward. Draws nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from backend.contract.control import ActionRequest
from backend.contract.platform import ForwardView
from backend.contract.words import Phase, Risk, Severity, Verb
from console.render import units
from console.state.sim_platform import LOCAL_LIMITS, SimPlatform
from console.state.sim_world import SimWorld

ON_REPLICAS: Final = (Verb.PAUSE, Verb.UNPAUSE, Verb.EVICT, Verb.EXEC)
ON_NODES: Final = (Verb.CORDON, Verb.UNCORDON, Verb.NODE_DRAIN)
PLATFORM_VERBS: Final = (*ON_REPLICAS, *ON_NODES, Verb.ROLLBACK, Verb.FORWARD, Verb.UNFORWARD)
EVERYWHERE: Final = "0.0.0.0"  # noqa: S104 - the word for it; nothing is bound here
_Described = tuple[str, tuple[str, ...], Risk, str]


def refusal(request: ActionRequest, world: SimWorld) -> str:
    """Why it cannot be done; empty where it can."""
    platform, verb, target = world.platform, request.verb, request.target
    limits = LOCAL_LIMITS if platform is None else platform.limits
    if verb in limits:
        return limits[verb]
    if platform is None or verb not in PLATFORM_VERBS:
        return "" if verb not in PLATFORM_VERBS else "A pretended local fleet cannot do this."
    if verb in ON_REPLICAS and world.find(target) is None:
        return f"There is no replica {target}."
    if verb in ON_NODES and platform.node(target) is None:
        return f"There is no node {target}."
    if verb == Verb.ROLLBACK and target not in platform.shapes:
        return f"There is no workload {target}."
    if verb == Verb.FORWARD:
        return _forward_refusal(request, platform, world)
    if verb == Verb.UNFORWARD and all(one.id != target for one in platform.forwards):
        return f"There is no forward {target}."
    return ""


def _forward_refusal(request: ActionRequest, platform: SimPlatform, world: SimWorld) -> str:
    if world.find(request.target) is None and request.target not in platform.shapes:
        return f"There is no replica and no workload {request.target}."
    local = request.args.get("local_port") or request.args["port"]
    taken = next((one for one in platform.forwards if one.local_port == local), None)
    return "" if taken is None else f"Port {local} is taken here by the forward to {taken.target}."


def described(request: ActionRequest, world: SimWorld) -> _Described:
    """Summary, effects, risk, how to undo it."""
    platform, target = world.platform, request.target
    assert platform is not None, "the others are refused"
    effects: tuple[str, ...]
    match request.verb:
        case Verb.PAUSE:
            return (f"{target} is frozen: it answers nothing until it goes on", (), Risk.LOW, f"unpause {target}")
        case Verb.UNPAUSE:
            return (f"{target} goes on where it was frozen", (), Risk.NONE, "")
        case Verb.EVICT:
            effects = ("Its disruption budget is asked first.", "Its owner starts another one.")
            return (f"{target} is asked to leave {platform.node_of(target) or 'its machine'}", effects, Risk.LOW, "")
        case Verb.ROLLBACK:
            image = platform.shapes[target].image
            effects = ("Replicas are replaced one after another.",)
            return (f"{target} goes back to the revision before {image}", effects, Risk.LOW, "")
        case Verb.CORDON | Verb.UNCORDON:
            other = Verb.UNCORDON if request.verb == Verb.CORDON else Verb.CORDON
            words = "takes no new replicas" if request.verb == Verb.CORDON else "takes new replicas again"
            return (f"{target} {words}", (), Risk.LOW, f"{other} {target}")
        case Verb.NODE_DRAIN:
            some = _on_node(target, world)
            effects = (
                "It is cordoned first, and stays so.",
                "Budgets are kept: a replica that may not go is waited for.",
            )
            return (f"{target} is emptied: {units.plural(len(some), 'replica')} move elsewhere", effects, Risk.HIGH, "")
        case Verb.FORWARD:
            return _described_forward(request)
        case Verb.UNFORWARD:
            one = next(one for one in platform.forwards if one.id == target)
            busy = f", {units.plural(one.connections, 'connection')} end" if one.connections else ""
            return (f"{one.bind}:{one.local_port} leads to {one.target} no more{busy}", (), Risk.NONE, "")
        case _:
            return (f"{request.args.get('argv')} runs in {target}", (), Risk.NONE, "")


def _described_forward(request: ActionRequest) -> _Described:
    port, target = request.args["port"], request.target
    local, bind = request.args.get("local_port") or port, request.args.get("bind") or "127.0.0.1"
    words = f"{bind}:{local} here leads to port {port} of {target}"
    if bind == EVERYWHERE:
        warning = "Everybody who reaches this machine reaches it: there is no password in between."
        return (words, (warning,), Risk.LOW, "stop the forward")
    return (words, (), Risk.NONE, "stop the forward")


# -- doing -------------------------------------------------------------------------------------------------------------


def performed(request: ActionRequest, identity: str, world: SimWorld) -> str:
    """Do it; a few words about it."""
    platform = world.platform
    assert platform is not None, "the others are refused"
    return _DOES[request.verb](request, identity, world, platform)


def _pause(request: ActionRequest, identity: str, world: SimWorld, platform: SimPlatform) -> str:
    if request.verb == Verb.PAUSE:
        world.put(request.target, Phase.NOT_READY, "paused")
        return "frozen"
    world.put(request.target, Phase.READY, "")
    return "goes on"


def _evict(request: ActionRequest, identity: str, world: SimWorld, platform: SimPlatform) -> str:
    _leave(request.target, world, platform)
    world.event("replica.evicted", Severity.WARNING, request.target, f"evicted by {request.actor}")
    return "it leaves, another one comes"


def _leave(name: str, world: SimWorld, platform: SimPlatform) -> None:
    one = world.find(name)
    assert one is not None, "the others are refused"
    platform.left(name, one.workload)
    world.leave(name)


def _rollback(request: ActionRequest, identity: str, world: SimWorld, platform: SimPlatform) -> str:
    platform.rolled(request.target)
    for one in world.of(request.target):
        world.restart(one.name)
    return "back at the former revision"


def _cordon(request: ActionRequest, identity: str, world: SimWorld, platform: SimPlatform) -> str:
    platform.with_node(request.target, schedulable=request.verb == Verb.UNCORDON)
    return "cordoned" if request.verb == Verb.CORDON else "open again"


def _drain_node(request: ActionRequest, identity: str, world: SimWorld, platform: SimPlatform) -> str:
    platform.with_node(request.target, schedulable=False)
    some = _on_node(request.target, world)
    for name in some:
        _leave(name, world, platform)
    world.event("node.drained", Severity.WARNING, request.target, f"{len(some)} replicas evicted by {request.actor}")
    return f"{units.plural(len(some), 'replica')} evicted"


def _forward(request: ActionRequest, identity: str, world: SimWorld, platform: SimPlatform) -> str:
    port = int(request.args["port"] or 0)
    bind, local = str(request.args.get("bind") or "127.0.0.1"), int(request.args.get("local_port") or port)
    replica = request.target if world.find(request.target) is not None else _first_of(request.target, world)
    hosts = ("192.168.1.20", "127.0.0.1") if bind == EVERYWHERE else (bind,)
    one = ForwardView(
        id=identity,
        target=request.target,
        port=port,
        bind=bind,
        local_port=local,
        replica=replica,
        urls=tuple(f"http://{host}:{local}/" for host in hosts),
    )
    platform.forwards = (*platform.forwards, one)
    return one.urls[0]


def _unforward(request: ActionRequest, identity: str, world: SimWorld, platform: SimPlatform) -> str:
    platform.forwards = tuple(one for one in platform.forwards if one.id != request.target)
    return "stopped"


def _exec(request: ActionRequest, identity: str, world: SimWorld, platform: SimPlatform) -> str:
    return "there is no program in a pretended replica"


def _on_node(node: str, world: SimWorld) -> list[str]:
    """Who leaves it when it is drained: all but those that belong to the node itself."""
    platform = world.platform
    return [
        one.name
        for one in world.replicas
        if platform is not None
        and platform.node_of(one.name) == node
        and platform.shapes[one.workload].kind != "DaemonSet"
        and not one.leaving
    ]


def _first_of(workload: str, world: SimWorld) -> str:
    return next((one.name for one in world.of(workload) if one.phase == Phase.READY), "")


def busy_forward(platform: SimPlatform, identity: str, *, connections: int, carried: int, restarts: int = 0) -> None:
    """Somebody uses it: for demonstrations and tests."""
    platform.forwards = tuple(
        msgspec.structs.replace(
            one, connections=connections, bytes_in=carried // 9, bytes_out=carried, restarts=restarts
        )
        if one.id == identity
        else one
        for one in platform.forwards
    )


_DOES: Final[dict[Verb, Callable[[ActionRequest, str, SimWorld, SimPlatform], str]]] = {
    Verb.PAUSE: _pause,
    Verb.UNPAUSE: _pause,
    Verb.EVICT: _evict,
    Verb.ROLLBACK: _rollback,
    Verb.CORDON: _cordon,
    Verb.UNCORDON: _cordon,
    Verb.NODE_DRAIN: _drain_node,
    Verb.FORWARD: _forward,
    Verb.UNFORWARD: _unforward,
    Verb.EXEC: _exec,
}
