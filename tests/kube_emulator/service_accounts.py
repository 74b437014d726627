"""Service accounts: `default` in each namespace, tokens by TokenRequest, and what the Roles and RoleBindings there are
let them do. Knows no other accounts.
"""

from __future__ import annotations

import datetime
import secrets
import time
from dataclasses import dataclass

from aiohttp import web

from tests.kube_emulator.access import Access, Account, Rule
from tests.kube_emulator.api import Api, encoded, read_body
from tests.kube_emulator.requests import Asked
from tests.kube_emulator.status import ApiError, bad_request, invalid, method_not_allowed
from tests.kube_emulator.store import Change, Object

_PREFIX = "system:serviceaccount:"
_LEAST_S = 600


@dataclass
class ServiceAccounts:
    """Adds itself to `api` and `access`."""

    api: Api
    access: Access

    def __post_init__(self) -> None:
        self.api.subresources["token"] = self.token
        self.access.bound = self.rules
        self.api.registry.store.listen(self._default)

    def _default(self, change: Change) -> None:
        """The controller-manager makes one in each new namespace."""
        if change.table == "namespaces" and change.type == "ADDED":
            namespace = change.after.key[1]
            self.api.registry.create("ServiceAccount", {"metadata": {"name": "default"}}, namespace=namespace)

    async def token(self, request: web.BaseRequest, what: Asked, account: Account) -> web.StreamResponse:
        """A token for `expirationSeconds` (an hour where it says none)."""
        if what.verb != "create" or what.kind is None:
            raise method_not_allowed()
        body = await read_body(request)
        if body.get("kind") not in (None, "TokenRequest"):
            raise bad_request(f'{body["kind"]} in version "v1" cannot be handled as a TokenRequest')
        self.api.registry.get("ServiceAccount", what.namespace, what.name)
        seconds = (body.get("spec") or {}).get("expirationSeconds", 3600)
        if seconds < _LEAST_S:
            why = f"Invalid value: {seconds}: may not specify a duration less than 10 minutes"
            raise invalid(what.kind, what.name, "spec.expirationSeconds", why)
        end = time.time() + seconds
        name, token = f"{_PREFIX}{what.namespace}:{what.name}", secrets.token_urlsafe(32)
        self.access.add(name, token=token, rules=(), expires_at=end)
        when = datetime.datetime.fromtimestamp(end, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        head = {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "metadata": {"name": what.name}}
        spec = {"audiences": ["https://kubernetes.default.svc"], "expirationSeconds": seconds, "boundObjectRef": None}
        return encoded(head | {"spec": spec, "status": {"token": token, "expirationTimestamp": when}}, 201)

    def rules(self, name: str) -> tuple[Rule, ...] | None:
        """Of an account by its name; None for what is no service account."""
        if not name.startswith(_PREFIX):
            return None
        namespace, _, account = name.removeprefix(_PREFIX).partition(":")
        found: list[Rule] = []
        for binding in self.api.registry.all("RoleBinding"):
            held = (
                subject.get("kind") == "ServiceAccount"
                and (subject.get("namespace"), subject.get("name")) == (namespace, account)
                for subject in binding.get("subjects") or ()
            )
            if any(held):
                found += self._granted(binding)
        return tuple(found)

    def _granted(self, binding: Object) -> list[Rule]:
        place = binding["metadata"]["namespace"]
        try:
            role = self.api.registry.get(binding["roleRef"]["kind"], place, binding["roleRef"]["name"])
        except (ApiError, KeyError):
            return []
        return [
            Rule(
                verbs=tuple(rule.get("verbs") or ()),
                resources=tuple(rule.get("resources") or ()),
                groups=tuple(rule.get("apiGroups") or ()),
                names=tuple(rule.get("resourceNames") or ()),
                namespace=place,
            )
            for rule in role.get("rules") or ()
        ]
