"""Which cluster, user and namespace: kubeconfig files found, merged as kubectl merges them, and one context chosen.

Owns files and their sentences; opens no connection, runs no plugin. What is chosen carries absolute paths only.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from backend.contract.errors import FileError, UsageError

IN_CLUSTER: Final = "in-cluster"
"""The name of the context that a pod finds itself in."""
SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_FILES_OF: Final = {
    "clusters": ("certificate-authority",),
    "users": ("client-certificate", "client-key", "tokenFile"),
}
_SECTION_OF: Final = {"clusters": "cluster", "users": "user", "contexts": "context"}


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """One context and what it means. `cluster` and `user` are the kubeconfig's own mappings; empty in a cluster."""

    context: str
    namespace: str
    """Of the context; `default` where it names none."""
    server: str
    user_name: str
    cluster: dict[str, Any] = {}
    user: dict[str, Any] = {}
    source: str = ""
    """The file (or files) it was read from, for sentences."""


def find_files(named: str | None, env: Mapping[str, str], home: Path) -> tuple[Path, ...]:
    """The kubeconfig files to read: those named, else $KUBECONFIG's, else ~/.kube/config if it is there.

    Of a list, files that do not exist are passed over, as kubectl does. Empty: there is none. Raises UsageError where
    files are named and none of them exists."""
    text, said_by = (named, "trinity.yaml") if named else (env.get("KUBECONFIG", ""), "KUBECONFIG")
    wanted = [_absolute(part, home) for part in text.split(os.pathsep) if part]
    if not wanted:
        usual = home / ".kube" / "config"
        return (usual,) if usual.is_file() else ()
    there = tuple(path for path in wanted if path.exists())
    if not there:
        names = " and ".join(str(path) for path in wanted)
        raise UsageError(f"{said_by} names the kubeconfig {names}, which does not exist.", "Name an existing file.")
    return there


def choose(
    named: str | None,
    context: str,
    *,
    env: Mapping[str, str],
    home: Path,
    service_account: Path = SERVICE_ACCOUNT,
) -> Choice:
    """What `context` (empty: the current one) of the kubeconfig means, or the cluster that this process runs in.

    Raises UsageError (FileError where a file is to blame) with one sentence and its remedy."""
    paths = find_files(named, env, home) if context != IN_CLUSTER else ()
    if paths:
        merged, current = _merge(paths)
        return _choose(merged, context or current, ", ".join(str(path) for path in paths), asked=bool(context))
    if env.get("KUBERNETES_SERVICE_HOST") and (not context or context == IN_CLUSTER):
        return _in_cluster(env, service_account)
    if context == IN_CLUSTER:
        raise UsageError("This process runs in no pod, so there is no cluster around it.", "Name another context.")
    raise UsageError(
        f"There is no kubeconfig: KUBECONFIG is not set and {home / '.kube' / 'config'} does not exist.",
        "Set KUBECONFIG, or name the file as `kubeconfig:` under `kubernetes:` in trinity.yaml.",
    )


def context_names(named: str | None, *, env: Mapping[str, str], home: Path) -> tuple[str, ...]:
    """Every context of the kubeconfig, by name; none where there is no kubeconfig. Raises UsageError, FileError."""
    return tuple(sorted(_merge(find_files(named, env, home))[0]["contexts"]))


def _absolute(part: str, home: Path) -> Path:
    return Path(str(home) + part[1:] if part == "~" or part.startswith("~/") else part).absolute()


def _in_cluster(env: Mapping[str, str], service_account: Path) -> Choice:
    host, port = env["KUBERNETES_SERVICE_HOST"], env.get("KUBERNETES_SERVICE_PORT", "443")
    try:
        namespace = (service_account / "namespace").read_text().strip()
    except OSError:
        namespace = ""
    return Choice(
        context=IN_CLUSTER,
        namespace=namespace or "default",
        server=f"https://{f'[{host}]' if ':' in host else host}:{port}",
        user_name="the pod's service account",
        source=str(service_account),
    )


def _merge(paths: Sequence[Path]) -> tuple[dict[str, dict[str, dict[str, Any]]], str]:
    """Section -> name -> entry, and the current context. The first file that says something wins."""
    merged: dict[str, dict[str, dict[str, Any]]] = {section: {} for section in _SECTION_OF}
    current = ""
    for path in paths:
        data = _read(path)
        current = current or str(data.get("current-context") or "")
        for section, inner in _SECTION_OF.items():
            entries = data.get(section) or []
            if not isinstance(entries, list):
                raise FileError(str(path), f"`{section}` is no list.", "Write it as kubectl does.")
            for entry in entries:
                if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
                    raise FileError(str(path), f"an entry of `{section}` has no name.", "Give it one, or remove it.")
                body = entry.get(inner) or {}
                if not isinstance(body, dict):
                    raise FileError(str(path), f"`{section}` {entry['name']} has no `{inner}`.", "Write it as kubectl.")
                merged[section].setdefault(entry["name"], _with_absolute_paths(section, body, path.parent))
    return merged, current


def _read(path: Path) -> dict[str, Any]:
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader)
    except OSError as error:
        problem = (error.strerror or str(error)).lower()
        raise FileError(str(path), f"cannot be read: {problem}.", "Name a kubeconfig that you can read.") from None
    except UnicodeDecodeError:
        raise FileError(str(path), "is not UTF-8 text.", "Name a kubeconfig.") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        problem = getattr(error, "problem", None) or "no YAML"
        raise FileError(str(path), f"is no kubeconfig: {problem}.", "Repair it, or name another.", *place) from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise FileError(str(path), "is no kubeconfig.", "Name a file as `kubectl config view --raw` writes it.")
    return data


def _with_absolute_paths(section: str, body: dict[str, Any], base: Path) -> dict[str, Any]:
    made = dict(body)
    for key in _FILES_OF.get(section, ()):
        if isinstance(made.get(key), str) and made[key]:
            made[key] = os.path.normpath(base / made[key])
    plugin = made.get("exec")
    if isinstance(plugin, dict) and isinstance(command := plugin.get("command"), str) and os.sep in command:
        made["exec"] = plugin | {"command": os.path.normpath(base / command)}
    return made


def _choose(merged: dict[str, dict[str, dict[str, Any]]], context: str, source: str, *, asked: bool) -> Choice:
    contexts = merged["contexts"]
    if not context:
        raise UsageError(
            f"{source} says no current context.", f"Name one: {_listed(contexts)}, or `kubectl config use-context`."
        )
    if context not in contexts:
        which = f"There is no context {context} in {source}"
        why = "." if asked else ", though it is the current one."
        raise UsageError(which + why, f"Contexts there: {_listed(contexts)}.")
    chosen = contexts[context]
    cluster_name, user_name = str(chosen.get("cluster") or ""), str(chosen.get("user") or "")
    cluster = merged["clusters"].get(cluster_name)
    if cluster is None or not isinstance(cluster.get("server"), str) or not cluster["server"]:
        missing = "is not there" if cluster is None else "has no `server`"
        raise FileError(source, f"the cluster {cluster_name or '(none)'} of context {context} {missing}.", "Add it.")
    if user_name and user_name not in merged["users"]:
        raise FileError(source, f"the user {user_name} of context {context} is not there.", "Add it, or log in again.")
    return Choice(
        context=context,
        namespace=str(chosen.get("namespace") or "default"),
        server=cluster["server"].rstrip("/"),
        user_name=user_name,
        cluster=cluster,
        user=merged["users"].get(user_name, {}),
        source=source,
    )


def _listed(contexts: Mapping[str, object]) -> str:
    names = sorted(contexts)
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "") if names else "none"
