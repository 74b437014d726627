"""Addresses of fleets: `local`, `docker:CONTEXT[/PROJECT]`, `k8s:CONTEXT[/NAMESPACE]`. Text only; looks nothing up."""

from __future__ import annotations

from typing import Literal

import msgspec

from backend.contract.errors import UsageError

Driver = Literal["local", "docker", "kubernetes"]
_HOW = "Write local, docker, docker:CONTEXT, docker:CONTEXT/PROJECT, k8s, k8s:CONTEXT or k8s:CONTEXT/NAMESPACE."
_SCHEMES: dict[str, Driver] = {"local": "local", "docker": "docker", "k8s": "kubernetes", "kubernetes": "kubernetes"}


class FleetAddress(msgspec.Struct, frozen=True, kw_only=True):
    """Where a fleet is. An empty `context` is the platform's current one; `part` is a compose project (empty: all
    containers) or a namespace (empty: the context's own)."""

    driver: Driver
    context: str = ""
    part: str = ""

    def __str__(self) -> str:
        if self.driver == "local":
            return "local"
        scheme = "k8s" if self.driver == "kubernetes" else self.driver
        # A slash in the context would be taken for the one before the part.
        place = f"{self.context}/{self.part}" if self.part or "/" in self.context else self.context
        return f"{scheme}:{place}" if place else scheme


def parse_address(text: str) -> FleetAddress:
    """Raises UsageError. A context may hold slashes (`arn:aws:eks:…/prod`): the last one divides, and a trailing slash
    says that all of it is the context."""
    scheme, _, place = text.strip().partition(":")
    driver = _SCHEMES.get(scheme)
    if driver is None or (driver == "local" and place):
        raise UsageError(f"`{text}` is no address of a fleet.", _HOW)
    context, slash, part = place.rpartition("/")
    if not slash:
        context, part = place, ""
    return FleetAddress(driver=driver, context=context, part=part)
