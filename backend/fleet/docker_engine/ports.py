"""The ports of containers and services as rows for people. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from backend.contract.platform import PortView
from backend.fleet.docker_engine.roster import Container
from backend.fleet.docker_engine.swarm import Seen
from backend.fleet.docker_engine.swarm_facts import ServiceFacts


def container_ports(containers: Sequence[Container], engine: str) -> list[PortView]:
    """A row for each port of each running container; `engine` is the address of the machine they are published on."""
    found = []
    for container in containers:
        if not container.facts.running:
            continue
        for port in container.facts.ports:
            host = engine if port.host_ip in ("", "0.0.0.0", "::") else port.host_ip  # noqa: S104 - reads, binds nothing
            if ":" in port.host_ip and any(
                other.host_port == port.host_port and ":" not in other.host_ip and other is not port
                for other in container.facts.ports
            ):
                continue  # the same once more, for IPv6
            found.append(
                PortView(
                    workload=container.member.workload,
                    source=f"container {container.facts.name}",
                    protocol=port.protocol,
                    container_port=port.port,
                    node_port=port.host_port,
                    url=_url(host, port.host_port, port.protocol),
                )
            )
    return found


def service_ports(services: Sequence[ServiceFacts], engine: str) -> list[PortView]:
    """A row for each port that a service publishes on every node."""
    return [
        PortView(
            workload=service.name,
            source=f"service {service.name}",
            protocol=port.protocol,
            container_port=port.port,
            service_port=port.host_port,
            node_port=port.host_port,
            url=_url(engine, port.host_port, port.protocol),
        )
        for service in services
        for port in service.ports
    ]


def task_ports(replicas: Sequence[Seen]) -> list[PortView]:
    """A row for each port that a service's task publishes on its own node (`mode=host`)."""
    return [
        PortView(
            workload=seen.service.name,
            source=f"task {seen.status.name}",
            protocol=protocol,
            container_port=port,
            node_port=published,
            url=_url(seen.status.host, published, protocol),
        )
        for seen in replicas
        if seen.task.state == "running"
        for port, protocol, published in dict.fromkeys(  # once for each family of addresses
            (found.port, found.protocol, found.host_port) for found in seen.task.ports
        )
        if published is not None
    ]


def _url(host: str, port: int | None, protocol: str) -> str:
    if port is None or protocol != "tcp":
        return ""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
