"""What this account may do in its namespace, asked of the API server before anything is tried.

Owns the rules that each verb needs and the reviews (SelfSubjectRulesReview, and SelfSubjectAccessReview for what is
cluster-wide): at the start, and again when a request is forbidden, at most every few minutes. Never asks on a timer.
Where the server calls a review incomplete, each missing rule is asked for by itself; what stays unknown is tried.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

import msgspec

from backend.contract.clock import Clock
from backend.contract.errors import TrinityError
from backend.contract.words import Verb
from backend.fleet.kube.access import Access
from backend.fleet.kube.answers import ApiError
from backend.fleet.kube.objects import group_and_resource, objects, part, text, texts

REVIEW_PAUSE_S: Final = 120.0
"""At most one review in it, whatever is forbidden."""
_TRY_PAUSE_S: Final = 5.0
"""After one that was not answered."""
_REVIEWS: Final = "/apis/authorization.k8s.io/v1"


class Need(msgspec.Struct, frozen=True):
    """One rule: a verb on a resource (or a subresource of it) of an API group."""

    verb: str
    resource: str
    subresource: str = ""
    group: str = ""
    everywhere: bool = False
    """In no namespace, or in all of them."""

    @property
    def target(self) -> str:
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource

    def words(self, namespace: str) -> str:
        """`` `patch` on `deployments/scale` (apps) in namespace shop``."""
        group = f" ({self.group})" if self.group else ""
        place = "in the whole cluster" if self.everywhere else f"in namespace {namespace}"
        return f"`{self.verb}` on `{self.target}`{group} {place}"


class Rule(msgspec.Struct, frozen=True):
    """What an account may do, as a rule of a Role has it."""

    verbs: frozenset[str]
    groups: frozenset[str]
    resources: frozenset[str]
    names: frozenset[str] = frozenset()
    """Only on objects of these names; empty: on all."""


class Review(msgspec.Struct, frozen=True):
    """An answer of the API server."""

    rules: tuple[Rule, ...] = ()
    complete: bool = False
    answers: dict[Need, bool] = {}
    """Asked one by one: what is cluster-wide, and what an incomplete review leaves open."""

    def forbids(self, need: Need) -> bool:
        """Whether it surely is not allowed."""
        if need in self.answers:
            return not self.answers[need]
        return self.complete and not permits(self.rules, need)


def rules_of(answer: object) -> Review:
    """The rules in a SelfSubjectRulesReview; an odd answer counts as incomplete."""
    status = part(answer, "status")
    found = tuple(
        Rule(
            frozenset(texts(rule, "verbs")),
            frozenset(texts(rule, "apiGroups")),
            frozenset(texts(rule, "resources")),
            frozenset(texts(rule, "resourceNames")),
        )
        for rule in objects(status, "resourceRules")
    )
    sure = isinstance(part(status, "resourceRules"), list) and part(status, "incomplete") is not True
    return Review(found, sure)


def permits(rules: Sequence[Rule], need: Need) -> bool:
    """Whether a rule allows it, for one object at least: a rule with names may be the one that counts."""
    wanted = {"*", need.target}
    if need.subresource:
        wanted.add(f"*/{need.subresource}")
    return any(
        ("*" in rule.verbs or need.verb in rule.verbs)
        and ("*" in rule.groups or need.group in rule.groups)
        and bool(rule.resources & wanted)
        for rule in rules
    )


def _of_kind(verb: str, kind: str, subresource: str = "") -> Need:
    group, resource = group_and_resource(kind)
    return Need(verb, resource, subresource, group)


_SCALED: Final = ("Deployment", "StatefulSet")
_ROLLED: Final = ("Deployment", "StatefulSet", "DaemonSet")
_PATCH_NODE: Final = Need("patch", "nodes", everywhere=True)
CLUSTER_WIDE: Final = (
    _PATCH_NODE,
    Need("list", "pods", everywhere=True),
    Need("watch", "pods", everywhere=True),
    Need("create", "pods", "eviction", everywhere=True),
)
_PLAIN: Final[dict[Verb, tuple[Need, ...]]] = {
    Verb.RESTART: (Need("delete", "pods"),),
    Verb.KILL: (Need("delete", "pods"),),
    Verb.EVICT: (Need("create", "pods", "eviction"),),
    Verb.CORDON: (_PATCH_NODE,),
    Verb.UNCORDON: (_PATCH_NODE,),
    Verb.NODE_DRAIN: CLUSTER_WIDE,
    # WebSockets are opened by a GET, so `get` it is; servers from 1.35 on ask for `create` too.
    Verb.FORWARD: (Need("get", "pods", "portforward"),),
    Verb.EXEC: (Need("get", "pods", "exec"),),
}
_CREATE_TOO: Final[dict[Verb, Need]] = {
    Verb.FORWARD: Need("create", "pods", "portforward"),
    Verb.EXEC: Need("create", "pods", "exec"),
}
LACKING: Final[Mapping[Verb, str]] = {
    Verb.PAUSE: "Kubernetes cannot freeze a container",
    Verb.UNPAUSE: "Kubernetes cannot freeze a container",
}
"""What no account may do, because the platform has no such thing."""


def ways(verb: Verb, kinds: Collection[str], minor: int | None) -> tuple[tuple[Need, ...], ...]:
    """Sets of rules of which one suffices. `kinds` are those of the workloads there are (none known: all of them),
    `minor` the server's version."""
    if verb is Verb.SCALE:
        return tuple((_of_kind("patch", kind, "scale"),) for kind in _SCALED if not kinds or kind in kinds)
    if verb is Verb.ROLLOUT:
        return tuple((_of_kind("patch", kind),) for kind in _ROLLED if not kinds or kind in kinds)
    if verb is Verb.ROLLBACK:
        return tuple(
            (_of_kind("patch", kind), _of_kind("list", "ReplicaSet" if kind == "Deployment" else "ControllerRevision"))
            for kind in _ROLLED
            if not kinds or kind in kinds
        )
    needs = _PLAIN.get(verb, ())
    if verb in _CREATE_TOO and minor is not None and minor >= 35:
        needs = (*needs, _CREATE_TOO[verb])
    return (needs,) if needs else ()


def limits_of(review: Review, namespace: str, kinds: Collection[str] = (), minor: int | None = None) -> dict[str, str]:
    """Verb -> the rules that are missing, for each verb that surely is forbidden."""
    found = {str(verb): why for verb, why in LACKING.items()}
    for verb in Verb:
        missing = [[need for need in way if review.forbids(need)] for way in ways(verb, kinds, minor)]
        if missing and all(missing):
            fewest = min(missing, key=len)
            found[str(verb)] = "needs " + " and ".join(need.words(namespace) for need in fewest)
    return found


def _asked_singly(found: Review, minor: int | None) -> list[Need]:
    """What the rules of a namespace cannot tell: the cluster-wide needs; and of an incomplete answer (clusters whose
    authorizers are not all RBAC give no other) whatever it does not allow."""
    asked = list(CLUSTER_WIDE)
    if not found.complete:
        needs = {need for verb in Verb for way in ways(verb, (), minor) for need in way}
        asked += sorted((n for n in needs if n not in asked and not permits(found.rules, n)), key=lambda n: n.words(""))
    return asked


class Rights:
    """The newest review, kept. `limits` is free; `review` asks."""

    def __init__(
        self,
        access: Access,
        clock: Clock,
        kinds: Callable[[], Collection[str]],
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        """`changed` is called when a later review allows something else than the one before."""
        self._access, self._clock, self._kinds, self._changed = access, clock, kinds, changed
        self._review = Review()
        self._minor: int | None = None
        self._not_before_mono = float("-inf")
        self._known = False
        self._asking: asyncio.Task[None] | None = None

    def limits(self) -> Mapping[str, str]:
        """Verb -> why not. Nothing beyond what the platform lacks before the first review."""
        return limits_of(self._review, self._access.namespace, self._kinds(), self._minor)

    def unlisted(self, kinds: Collection[str]) -> dict[str, str]:
        """Kind -> the rule that is missing to see objects of it."""
        found: dict[str, str] = {}
        for kind in kinds:
            group, resource = group_and_resource(kind)
            needs = [Need(verb, resource, group=group, everywhere=kind == "Node") for verb in ("list", "watch")]
            missing = [need for need in needs if self._review.forbids(need)]
            if missing:
                found[kind] = "needs " + " and ".join(need.words(self._access.namespace) for need in missing)
        return found

    def begin(self) -> None:
        """Have a first review soon, unless there was one: call it whenever the server answered something."""
        if not self._known:
            self.forbidden()

    def forbidden(self) -> None:
        """A request was forbidden although it was tried: rights may have changed, so ask again, but not often."""
        if self._asking is not None and not self._asking.done():
            return
        if self._clock.mono() < self._not_before_mono:
            return
        self._asking = asyncio.get_running_loop().create_task(self.review())

    async def review(self) -> None:
        """Ask now. Raises nothing: where the server does not answer, the former review goes on."""
        self._not_before_mono = self._clock.mono() + _TRY_PAUSE_S
        try:
            await self._access.open()
            spec = {"namespace": self._access.namespace}
            body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": spec}
            found = rules_of(await self._access.send_json("POST", f"{_REVIEWS}/selfsubjectrulesreviews", body))
            if self._minor is None:
                self._minor = await self._server_minor()
            answers: dict[Need, bool] = {}
            for need in _asked_singly(found, self._minor):
                allowed = await self._ask(need)
                if allowed is not None:
                    answers[need] = allowed
        except TrinityError:
            return
        former, knew = self._review, self._known
        self._review, self._known = Review(found.rules, found.complete, answers), True
        if knew and former != self._review:
            self._changed()
        self._not_before_mono = self._clock.mono() + REVIEW_PAUSE_S

    async def close(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)

    async def _ask(self, need: Need) -> bool | None:
        """None where the server cannot tell. Raises what keeps it from answering at all."""
        attributes = {"verb": need.verb, "group": need.group, "resource": need.resource}
        if not need.everywhere:
            attributes["namespace"] = self._access.namespace
        if need.subresource:
            attributes["subresource"] = need.subresource
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        try:
            answer = await self._access.send_json("POST", f"{_REVIEWS}/selfsubjectaccessreviews", body)
        except ApiError:
            return None
        allowed = part(answer, "status", "allowed")
        if not isinstance(allowed, bool):
            return None
        return None if not allowed and text(answer, "status", "evaluationError") else allowed

    async def _server_minor(self) -> int | None:
        try:
            version = await self._access.get_json("/version")
        except ApiError:
            return None
        digits = text(version, "minor").rstrip("+")
        return int(digits) if digits.isdecimal() else None
