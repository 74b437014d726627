"""Kubeconfig files for tests: several contexts, tokens, exec plugins whose tokens expire, client certificates."""

from __future__ import annotations

import json
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True)
class Login:
    """How a context says who it is. One of `token`, `plugin` (see write_exec_plugin), or a certificate with its key."""

    token: str = ""
    plugin: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def user(self) -> dict[str, Any]:
        if self.plugin is not None:
            return {
                "exec": {
                    "apiVersion": "client.authentication.k8s.io/v1",
                    "command": sys.executable,
                    "args": [str(self.plugin)],
                    "interactiveMode": "Never",
                }
            }
        if self.certificate is not None:
            return {"client-certificate": str(self.certificate), "client-key": str(self.key)}
        return {"token": self.token} if self.token else {}


@dataclass(frozen=True)
class Context:
    """One context of a file."""

    name: str
    server: str
    login: Login = Login()
    namespace: str = ""
    authority: Path | None = None
    """The CA certificate, for https."""


def write_kubeconfig(path: Path, *contexts: Context, current: str = "") -> Path:
    """Write a kubeconfig of those contexts; the first one is current unless another is named."""
    clusters, users, shown = [], [], []
    for context in contexts:
        cluster: dict[str, Any] = {"server": context.server}
        if context.authority is not None:
            cluster["certificate-authority"] = str(context.authority)
        clusters.append({"name": context.name, "cluster": cluster})
        users.append({"name": context.name, "user": context.login.user()})
        inside = {"cluster": context.name, "user": context.name}
        if context.namespace:
            inside["namespace"] = context.namespace
        shown.append({"name": context.name, "context": inside})
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "preferences": {},
        "clusters": clusters,
        "users": users,
        "contexts": shown,
        "current-context": current or contexts[0].name,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    path.chmod(0o600)
    return path


def write_exec_plugin(path: Path, tokens: Path) -> Path:
    """A credential plugin: each run prints the next line of `tokens` (`TOKEN [RFC 3339 expiry]`; the last one for ever
    after) as an ExecCredential, and writes how often it ran to `tokens` + `.runs`. Exits 1 where there is none."""
    path.write_text(
        textwrap.dedent(f"""
        import json, pathlib, sys
        tokens = pathlib.Path({json.dumps(str(tokens))})
        runs = tokens.with_name(tokens.name + ".runs")
        ran = int(runs.read_text()) if runs.exists() else 0
        runs.write_text(str(ran + 1))
        lines = tokens.read_text().splitlines() if tokens.exists() else []
        if not lines:
            sys.exit("the identity provider does not answer")
        token, _, expiry = lines[min(ran, len(lines) - 1)].partition(" ")
        status = {{"token": token}}
        if expiry:
            status["expirationTimestamp"] = expiry
        kind = {{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential"}}
        print(json.dumps(kind | {{"status": status}}))
        """).lstrip()
    )
    return path
