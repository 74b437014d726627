"""`trinity deploy render|check|diff`: the files of a deployment, their mistakes, and what runs otherwise.

Changes nothing that runs. What is written goes to `--out`, and never over other files without `--force`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from backend.commands.output import narrate, print_json, print_table
from backend.contract import exit_codes

if TYPE_CHECKING:
    from backend.deploy.findings import Finding
    from backend.deploy.places import Tree

KINDS = ("compose", "helm", "images", "fly", "cloudflared", "monitoring")
_WHERE = {"compose": "deploy", "helm": "deploy/helm", "images": "deploy/images"}

_values = click.option(
    "--values", "values_file", type=click.Path(path_type=Path), help="Values over the defaults (YAML)."
)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def deploy() -> None:
    """Containers, Compose, Kubernetes, Fly.io, tunnels: render the files, check them, compare them with what runs."""


@deploy.command()
@click.argument("kind", type=click.Choice(KINDS))
@_values
@click.option("--out", type=click.Path(path_type=Path), help="Folder to write into (default: deploy/ and below).")
@click.option("--force", is_flag=True, help="Replace files of another content.")
@click.option(
    "--wheel", type=click.Path(path_type=Path), help="images: the project's wheel (default: newest of dist/)."
)
@click.option("--lock", type=click.Path(path_type=Path), help="images: its requirements.lock (default: the one here).")
@_json
def render(
    kind: str,
    values_file: Path | None,
    out: Path | None,
    force: bool,
    wheel: Path | None,
    lock: Path | None,
    as_json: bool,
) -> None:
    """Write the files of one kind of deployment."""
    from backend.deploy.places import write

    if kind != "images" and (wheel or lock):
        raise click.UsageError("--wheel and --lock are for `render images`.")
    tree = _tree(kind, values_file, wheel, lock)
    folder = out or Path(_WHERE.get(kind, f"deploy/{kind}"))
    written = write(folder, tree, force=force)
    if as_json:
        print_json(written)
    else:
        for file in written:
            click.echo(f"{file.outcome:9}  {file.path}")
    if kind == "images":
        _tell_missing(tree, folder)


@deploy.command()
@click.argument("folder", type=click.Path(path_type=Path), default=Path("deploy"), required=False)
@_json
def check(folder: Path, as_json: bool) -> None:
    """Find the mistakes in a folder of rendered files (default: deploy/). Exit code 64 if there are any."""
    from backend.deploy.check import check_folder

    _show(check_folder(folder), as_json)


def _show(findings: list[Finding], as_json: bool) -> None:
    """What was looked at, a line each; an exit code of 64 where something is wrong."""
    if as_json:
        print_json(findings)
    else:
        print_table(("RESULT", "WHAT", ""), [(f.result, f.what, f.detail) for f in findings])
    if any(f.result == "wrong" for f in findings):
        raise SystemExit(exit_codes.USAGE)


def _tree(kind: str, values_file: Path | None, wheel: Path | None, lock: Path | None) -> Tree:
    from backend.deploy import chart, compose, monitoring, roles, tunnels
    from backend.deploy.values import read_values

    values = read_values(values_file)
    if kind == "images":
        here = roles.found(Path.cwd())
        return roles.render(wheel or here[0], lock or here[1])
    render = {
        "compose": compose.render,
        "helm": chart.render,
        "fly": tunnels.fly,
        "cloudflared": tunnels.cloudflared,
        "monitoring": monitoring.render,
    }[kind]
    return render(values)


def _tell_missing(tree: Tree, folder: Path) -> None:
    from backend.deploy.roles import LOCK, ROLES

    if not any(name.startswith("dist/") for name in tree):
        narrate(f"No wheel yet: `uv build --wheel --out-dir {folder}/dist` in the project's folder makes it.")
    if LOCK not in tree:
        narrate(f"No lock yet: copy the project's {LOCK} to {folder}.")
    for role in ROLES:
        narrate(f"docker build --file {folder}/{role}.Dockerfile --tag trinity-{role} {folder}")


@deploy.command()
@click.argument("kind", type=click.Choice(["compose", "helm"]))
@_values
@click.option("--context", default="", help="helm: a context of the kubeconfig (default: the current one).")
@click.option("--namespace", help="helm: where the release is (default: the context's).")
@click.option("--release", default="trinity", show_default=True, help="helm: its name.")
@click.option("--manifest", type=click.Path(path_type=Path), help="helm: rendered documents, instead of calling helm.")
@_json
def diff(
    kind: str,
    values_file: Path | None,
    context: str,
    namespace: str | None,
    release: str,
    manifest: Path | None,
    as_json: bool,
) -> None:
    """Compare what the values render with what runs: a compose project's containers, or a release in its cluster.

    Exit code 1 where they differ.
    """
    from backend.deploy.values import read_values

    values = read_values(values_file)
    if kind == "compose":
        if context or namespace or manifest:
            raise click.UsageError("--context, --namespace and --manifest are for `diff helm`.")
        from backend.deploy.compare import compare_project
        from backend.deploy.compose import project
        from backend.deploy.running_compose import read_project

        found = compare_project(project(values)["services"], read_project(values.compose.project))
    else:
        from backend.deploy.compare import compare_documents
        from backend.deploy.manifest import read_manifest, render_manifest
        from backend.deploy.running_cluster import current_namespace, read_objects

        place = namespace or current_namespace(context)
        documents = read_manifest(manifest) if manifest else render_manifest(values, release=release, namespace=place)
        seen = read_objects(documents, context=context, namespace=place)
        for name in seen.unreadable:
            narrate(f"Not compared, this account may not read it: {name}.")
        readable = [d for d in documents if (d["kind"], d["metadata"]["name"]) in seen.objects]
        found = compare_documents(readable, seen.objects)
    if as_json:
        print_json(found)
    elif found:
        print_table(("WHAT", "FIELD", "FILES", "RUNS"), [(d.subject, d.field, d.wanted, d.running) for d in found])
    else:
        narrate("What runs is what the values say.")
    if found:
        raise SystemExit(exit_codes.FAILED)
