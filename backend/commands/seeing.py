"""`describe`, `nodes`, `ports`: what the platform says of its things, as tables and sections."""

from __future__ import annotations

import click

from backend.commands.output import age, mebibytes, narrate, print_json, print_table
from backend.commands.place import Place, common
from backend.contract.control import Snapshot
from backend.contract.platform import PortView

_NODES = ("NAME", "STATUS", "ROLES", "VERSION", "ADDRESS", "REPLICAS", "CPU", "MEMORY", "AGE", "REASON")
_PORTS = ("WORKLOAD", "SOURCE", "NAME", "PROTOCOL", "CONTAINER", "SERVICE", "NODE", "URL")


@click.command()
@click.argument("name")
@click.option("--source", is_flag=True, help="Only the object itself, as YAML or JSON, without its secrets.")
@common()
def describe(place: Place, name: str, source: bool) -> None:
    """All that is known of NAME: a replica, a workload or a node."""
    found = place.run(lambda client: client.describe(name))
    if place.json:
        print_json(found)
        return
    if source:
        click.echo(found.source)
        return
    click.echo(f"{found.kind} {found.name}")
    for title, lines in found.sections:
        click.echo(f"\n{title}")
        for line in lines:
            click.echo(f"  {line}")


@click.command()
@common()
def nodes(place: Place) -> None:
    """The machines of the platform, a line each."""
    snapshot = place.run(lambda client: client.snapshot())
    if place.json:
        print_json(snapshot.nodes)
        return
    if not snapshot.nodes:
        one = "all of it runs on this machine" if snapshot.driver == "local" else "its platform tells of none"
        narrate(f"{snapshot.fleet} has no nodes: {one}.")
        return
    rows = []
    for node in snapshot.nodes:
        status = "Ready" if node.ready else "NotReady"
        memory = mebibytes(node.memory_bytes)
        rows.append(
            (
                node.name,
                status if node.schedulable else f"{status},cordoned",
                ",".join(node.roles) or "-",
                node.version or "-",
                node.address or "-",
                node.replicas,
                "-" if node.cpu_percent is None else f"{node.cpu_percent:.0f}%",
                memory
                if node.memory_capacity_bytes is None
                else f"{memory} of {mebibytes(node.memory_capacity_bytes)}",
                age(None if node.created_ts is None else snapshot.ts - node.created_ts),
                node.reason,
            )
        )
    print_table(_NODES, rows)


@click.command()
@common()
def ports(place: Place) -> None:
    """How everything can be reached: services, ingresses, published ports, the edge, forwards."""
    snapshot = place.run(lambda client: client.snapshot())
    found = [*snapshot.ports, *_own(snapshot)]
    if place.json:
        print_json(found)
        return
    print_table(
        _PORTS,
        [
            (
                row.workload or "-",
                row.source,
                row.name or "-",
                row.protocol,
                row.container_port or "-",
                row.service_port or "-",
                row.node_port or "-",
                row.url or "-",
            )
            for row in found
        ],
    )


def _own(snapshot: Snapshot) -> list[PortView]:
    """What this daemon opens itself, and the ports of replicas that are processes of this machine."""
    rows = []
    if snapshot.has_edge and snapshot.public_url:
        rows += [
            PortView(workload=workload.name, source="edge", name=route, url=snapshot.public_url + route)
            for workload in snapshot.workloads
            for route in workload.routes
        ]
    if snapshot.driver == "local":
        for view in snapshot.replicas:
            status = view.status
            known = [("main", status.port)]
            known += [("health", status.health_port)] if status.health_port != status.port else []
            rows += [
                PortView(
                    workload=status.workload,
                    source=f"replica {status.name}",
                    name=name,
                    container_port=port,
                    url=f"http://{status.host}:{port}",
                )
                for name, port in known
                if port
            ]
    rows += [
        PortView(workload=view.target, source=f"forward {view.id}", container_port=view.port or None, url=url)
        for view in snapshot.forwards
        for url in view.urls
    ]
    return rows
