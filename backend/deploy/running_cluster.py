"""What a cluster has of a chart's rendered documents, read once, object by object. Changes nothing.

Owns the way from a document to its address in the API, and what unreadable objects mean.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping, Sequence
from typing import Any, Final

import httpx
import msgspec
from kubernetes import config as _config
from kubernetes.client import Configuration
from kubernetes.config.config_exception import ConfigException

from backend.contract.errors import FileError, TrinityError, Unreachable, UsageError

config: Any = _config
"""The library's own reading of kubeconfigs; it has no types."""
_PLURALS: Final = {
    "ClusterRole": "clusterroles",
    "ClusterRoleBinding": "clusterrolebindings",
    "ConfigMap": "configmaps",
    "CronJob": "cronjobs",
    "Deployment": "deployments",
    "HorizontalPodAutoscaler": "horizontalpodautoscalers",
    "Ingress": "ingresses",
    "NetworkPolicy": "networkpolicies",
    "PersistentVolumeClaim": "persistentvolumeclaims",
    "PodDisruptionBudget": "poddisruptionbudgets",
    "PrometheusRule": "prometheusrules",
    "Role": "roles",
    "RoleBinding": "rolebindings",
    "Secret": "secrets",
    "Service": "services",
    "ServiceAccount": "serviceaccounts",
    "ServiceMonitor": "servicemonitors",
    "StatefulSet": "statefulsets",
}
_EVERYWHERE: Final = frozenset({"ClusterRole", "ClusterRoleBinding"})
_TIMEOUT: Final = httpx.Timeout(15.0, connect=5.0)

Key = tuple[str, str]
"""Kind and name."""


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What was read; null where the cluster has no such object."""

    objects: dict[Key, dict[str, Any] | None]
    unreadable: tuple[str, ...] = ()
    """`Kind name` of those that this account may not read."""


def read_objects(documents: Sequence[Mapping[str, Any]], *, context: str, namespace: str | None) -> Seen:
    """Each document's counterpart in the context's cluster (empty: the current context, or the cluster we run in).

    Raises UsageError for a context that there is not, Unreachable where the cluster does not answer.
    """
    try:
        api, home = _connect(context)
    except (ConfigException, OSError) as error:
        said = " ".join(str(error).split()).rstrip(".")
        raise UsageError(f"No cluster to compare with: {said}.", "Correct KUBECONFIG, or name a --context.") from None
    objects: dict[Key, dict[str, Any] | None] = {}
    unreadable: list[str] = []
    with api:
        for document in documents:
            key = (document["kind"], document["metadata"]["name"])
            try:
                objects[key] = _get(api, path_of(document, namespace or home))
            except PermissionError:
                unreadable.append(" ".join(key))
    return Seen(objects=objects, unreadable=tuple(unreadable))


def current_namespace(context: str) -> str:
    """The namespace that the context names, else `default`. Raises UsageError."""
    try:
        return _connect(context)[1]
    except (ConfigException, OSError) as error:
        said = " ".join(str(error).split()).rstrip(".")
        raise UsageError(f"No cluster to compare with: {said}.", "Correct KUBECONFIG, or name a --context.") from None


def path_of(document: Mapping[str, Any], namespace: str) -> str:
    """The object's address in the API. Raises FileError for a kind that no chart of ours has."""
    version, kind, metadata = document["apiVersion"], document["kind"], document["metadata"]
    if kind not in _PLURALS:
        raise FileError("the manifest", f"{kind} is no kind of our chart.", "Compare what the chart renders.")
    group = f"/apis/{version}" if "/" in version else f"/api/{version}"
    place = "" if kind in _EVERYWHERE else f"/namespaces/{metadata.get('namespace', namespace)}"
    return f"{group}{place}/{_PLURALS[kind]}/{metadata['name']}"


def _connect(context: str) -> tuple[httpx.Client, str]:
    """A client, and the namespace it would use: by the kubeconfig, else as the pod of a cluster."""
    settings = Configuration()
    file = os.environ.get("KUBECONFIG") or None  # the library looks at it once, when it is loaded
    try:
        config.load_kube_config(file, context or None, client_configuration=settings)
    except ConfigException:
        if context or "KUBERNETES_SERVICE_HOST" not in os.environ:
            raise
        config.load_incluster_config(client_configuration=settings)
        return _client(settings), "default"
    known, current = config.list_kube_config_contexts(file)
    chosen = next(each for each in known if each["name"] == context) if context else current
    return _client(settings), chosen["context"].get("namespace") or "default"


def _client(settings: Any) -> httpx.Client:
    """What the library read, for plain HTTP: its own client's interface changes with its major versions."""
    tls = ssl.create_default_context(cafile=settings.ssl_ca_cert)
    if not settings.verify_ssl:
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    if settings.cert_file:
        tls.load_cert_chain(settings.cert_file, settings.key_file)
    token = settings.api_key.get("BearerToken") or settings.api_key.get("authorization")
    headers = {"Accept": "application/json"} | ({"Authorization": token} if token else {})
    return httpx.Client(base_url=settings.host, headers=headers, verify=tls, timeout=_TIMEOUT, trust_env=False)


def _get(api: httpx.Client, path: str) -> dict[str, Any] | None:
    """The object at `path`, null for none. Raises PermissionError, Unreachable, TrinityError."""
    try:
        answer = api.get(path)
    except httpx.HTTPError as error:
        said = " ".join(str(error).split())[:160] or type(error).__name__
        raise Unreachable(f"The cluster does not answer: {said}.", "Check the network, or name a --context.") from None
    if answer.status_code == 404:
        return None
    if answer.status_code == 403:
        raise PermissionError(path)
    if answer.status_code == 401:
        raise Unreachable("The cluster does not know this account.", "Log in again, then repeat.")
    if answer.status_code != 200:
        raise TrinityError(f"The cluster answered {answer.status_code} for {path}.", "Try again in a while.")
    found: dict[str, Any] = msgspec.json.decode(answer.content)
    return found
