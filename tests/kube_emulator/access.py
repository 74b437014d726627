"""Who asks (bearer tokens, client certificates) and what they may: RBAC rules per account, and the self-subject reviews
that tell of them. Changes no objects.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.kube_emulator.requests import Asked
from tests.kube_emulator.status import ApiError, forbidden, unauthorized

READ = ("get", "list", "watch")


@dataclass(frozen=True)
class Rule:
    """One rule of a Role (with `namespace`) or a ClusterRole (without)."""

    verbs: tuple[str, ...]
    resources: tuple[str, ...]
    groups: tuple[str, ...] = ("*",)
    names: tuple[str, ...] = ()
    namespace: str = ""

    def covers(self, verb: str, group: str, resource: str, namespace: str, name: str) -> bool:
        if self.namespace and self.namespace != namespace:
            return False
        if not ("*" in self.verbs or verb in self.verbs):
            return False
        if not ("*" in self.groups or group in self.groups):
            return False
        subresource = resource.partition("/")[2]
        named = "*" in self.resources or resource in self.resources
        if not named and not (subresource and f"*/{subresource}" in self.resources):
            return False
        return not self.names or name in self.names


EVERYTHING = (Rule(verbs=("*",), resources=("*",)),)


def reader(namespace: str = "", *, but: Iterable[str] = ()) -> tuple[Rule, ...]:
    """The rules of a read-only account, in one namespace or everywhere, without the resources in `but`."""
    resources = {
        "": (
            "pods", "pods/log", "services", "endpoints", "events", "configmaps", "nodes", "namespaces",
            "persistentvolumeclaims", "serviceaccounts",
        ),
        "apps": ("deployments", "replicasets", "statefulsets", "daemonsets", "deployments/scale", "statefulsets/scale"),
        "batch": ("jobs", "cronjobs"),
        "networking.k8s.io": ("ingresses",),
        "policy": ("poddisruptionbudgets",),
        "autoscaling": ("horizontalpodautoscalers",),
        "discovery.k8s.io": ("endpointslices",),
        "events.k8s.io": ("events",),
        "metrics.k8s.io": ("pods", "nodes"),
    }  # fmt: skip
    without = set(but)
    return tuple(
        Rule(verbs=READ, groups=(group,), resources=left, namespace=namespace)
        for group, names in resources.items()
        if (left := tuple(name for name in names if name not in without))
    )


@dataclass
class Account:
    """Someone. `rules` may be changed while it is used."""

    name: str
    rules: tuple[Rule, ...] = EVERYTHING
    groups: tuple[str, ...] = ("system:authenticated",)
    tokens: dict[str, float | None] = field(default_factory=dict)
    """Token -> when it expires (seconds since the epoch), or null."""


class Access:
    """All accounts. `anonymous` is who comes without credentials; null refuses them with 401."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.anonymous: Account | None = None
        self.bound: Callable[[str], tuple[Rule, ...] | None] = lambda name: None
        """The rules that roles give an account now; None: its own count."""

    def add(
        self, name: str, *, token: str = "", rules: tuple[Rule, ...] = EVERYTHING, expires_at: float | None = None
    ) -> Account:
        account = self.accounts.get(name)
        if account is None:
            account = self.accounts[name] = Account(name)
        account.rules = rules
        if token:
            account.tokens[token] = expires_at
        return account

    def expire(self, token: str) -> None:
        """From now on it is refused."""
        for account in self.accounts.values():
            if token in account.tokens:
                account.tokens[token] = time.time()

    def authenticate(self, authorization: str, common_name: str) -> Account:
        """Raises ApiError 401."""
        if authorization:
            scheme, _, token = authorization.partition(" ")
            if scheme.lower() != "bearer":
                raise unauthorized()
            for account in self.accounts.values():
                if token in account.tokens:
                    end = account.tokens[token]
                    if end is None or end > time.time():
                        bound = self.bound(account.name)
                        account.rules = account.rules if bound is None else bound
                        return account
            raise unauthorized()
        if common_name and common_name in self.accounts:
            return self.accounts[common_name]
        if self.anonymous is not None:
            return self.anonymous
        raise unauthorized()

    @staticmethod
    def allowed(account: Account, verb: str, group: str, resource: str, namespace: str, name: str) -> bool:
        return any(rule.covers(verb, group, resource, namespace, name) for rule in account.rules)

    def authorize(self, account: Account, what: Asked) -> None:
        """Raises ApiError 403. Self-subject reviews and discovery are everyone's."""
        kind = what.kind
        if kind is None or kind.group == "authorization.k8s.io":
            return
        verbs = [what.verb]
        if what.subresource in ("exec", "attach", "portforward"):
            verbs = [*({what.verb} - {"create"}), "create"]  # since 1.35 a WebSocket's GET needs both
        namespace = what.name if kind.kind == "Namespace" else what.namespace
        for verb in verbs:
            if not self.allowed(account, verb, kind.group, what.resource, namespace, what.name):
                raise forbidden(
                    kind, user=account.name, verb=verb, resource=what.resource, namespace=what.namespace, name=what.name
                )

    def review(self, account: Account, body: Mapping[str, Any], kind: str) -> dict[str, Any]:
        """The answer to a SelfSubjectAccessReview or a SelfSubjectRulesReview. Raises ApiError 400."""
        spec = body.get("spec") or {}
        shown: dict[str, Any] = {
            "kind": kind,
            "apiVersion": "authorization.k8s.io/v1",
            "metadata": {"creationTimestamp": None},
            "spec": spec,
        }
        if kind == "SelfSubjectRulesReview":
            namespace = spec.get("namespace")
            if not namespace:
                raise ApiError(400, "BadRequest", "no namespace on request")
            rules = [rule for rule in account.rules if not rule.namespace or rule.namespace == namespace]
            return shown | {"status": _rules_status(rules)}
        wanted = spec.get("resourceAttributes")
        if wanted is None:
            return shown | {"status": {"allowed": True, "reason": ""}}
        resource = wanted.get("resource", "")
        if wanted.get("subresource"):
            resource = f"{resource}/{wanted['subresource']}"
        yes = self.allowed(
            account,
            wanted.get("verb", ""),
            wanted.get("group", ""),
            resource,
            wanted.get("namespace", ""),
            wanted.get("name", ""),
        )
        return shown | {"status": {"allowed": yes, "reason": "RBAC: allowed by the account's rules" if yes else ""}}


def _rules_status(rules: list[Rule]) -> dict[str, Any]:
    shown = []
    for rule in rules:
        entry: dict[str, Any] = {
            "verbs": list(rule.verbs),
            "apiGroups": list(rule.groups),
            "resources": list(rule.resources),
        }
        if rule.names:
            entry["resourceNames"] = list(rule.names)
        shown.append(entry)
    shown.append(
        {
            "verbs": ["create"],
            "apiGroups": ["authorization.k8s.io"],
            "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
        }
    )
    return {
        "resourceRules": shown,
        "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/api", "/api/*", "/apis", "/apis/*", "/version"]}],
        "incomplete": False,
    }
