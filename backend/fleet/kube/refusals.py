"""What the API server's refusals of a deed mean: one sentence each, with the remedy. Pure."""

from __future__ import annotations

import re
from typing import Final

from backend.contract.errors import Refused, TrinityError
from backend.fleet.kube.answers import ApiError
from backend.fleet.kube.objects import objects, text

_FORBIDDEN: Final = re.compile(
    r'[Uu]ser "(?P<user>[^"]*)" cannot (?P<verb>\S+) resource "(?P<resource>[^"]+)" in API group '
    r'"(?P<group>[^"]*)"(?: in the namespace "(?P<namespace>[^"]*)")?'
)
PASSING: Final = frozenset({408, 409, 410, 425, 429, 500, 502, 503, 504})
"""Answers after which asking again may help."""


def budget_words(error: ApiError) -> str:
    """Of an eviction that was refused: what the disruption budget says; empty for any other failure."""
    causes = objects(error.details, "causes")
    said = [text(cause, "message") for cause in causes if cause.get("reason") == "DisruptionBudget"]
    if error.status != 429:
        return error.message if "PodDisruptionBudget" in error.message else ""
    return said[0] if said else (error.message if "disruption budget" in error.message else "")


def worded(error: ApiError, what: str) -> TrinityError:
    """The error as a person reads it; `what` was asked for: `evict web-1`. A missing right is named as its rule."""
    said = " ".join(error.message.split()).rstrip(".")
    if error.status == 403:
        return _forbidden(said, what, error.next_step)
    if error.status == 401:
        return Refused(
            f"Could not {what}: the API server does not accept our credentials (any more).",
            error.next_step or "Log in to the cluster again; the kubeconfig is read anew by itself.",
        )
    remedies = {
        404: "It may be gone by now: look again.",
        405: "The cluster does not offer that.",
        409: "It was changed at the same time: try again.",
        422: "Change what it names.",
        429: "The API server has too much to do: try again in a moment.",
    }
    remedy = remedies.get(error.status)
    if remedy is None:
        again = error.status >= 500
        remedy = "Try again; where it stays, see the API server's own log." if again else "See what it names."
    return TrinityError(f"Could not {what}: {said}.", error.next_step or remedy)


def _forbidden(said: str, what: str, next_step: str) -> Refused:
    found = _FORBIDDEN.search(said)
    if found is None:
        why = said if "forbidden" in said.lower() else f"it is forbidden ({said})"
        return Refused(f"Could not {what}: {why}.", next_step or "Ask who administers the cluster for that right.")
    group = f" ({found['group']})" if found["group"] else ""
    place = f"in namespace {found['namespace']}" if found["namespace"] else "in the whole cluster"
    role = "Role" if found["namespace"] else "ClusterRole"
    return Refused(
        f"Could not {what}: {found['user']} needs `{found['verb']}` on `{found['resource']}`{group} {place}.",
        f"Ask for a {role} with that rule.",
    )
