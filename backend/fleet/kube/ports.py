"""The table of ingresses and ports: how what runs in a namespace can be reached. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from backend.contract.platform import PortView
from backend.fleet.kube.shapes import Ingress, IngressBackend, LoadBalancerStatus, PodSpec, Service, ServicePort

Templates = Mapping[str, tuple[Mapping[str, str], PodSpec]]
"""Workload -> labels and spec of its pods."""


def port_table(templates: Templates, services: Iterable[Service], ingresses: Iterable[Ingress]) -> tuple[PortView, ...]:
    """Ingresses first, then services, then ports of containers that no service leads to."""
    by_name = {service.metadata.name: service for service in services}
    behind = {name: _behind(service, templates) for name, service in by_name.items()}
    rows = [
        row
        for ingress in sorted(ingresses, key=lambda found: found.metadata.name)
        for row in _ingress_rows(ingress, by_name, behind, templates)
    ]
    served: set[tuple[str, int]] = set()
    for name, service in sorted(by_name.items()):
        for port in service.spec.ports or ():
            for workload in behind[name] or [""]:
                row = _service_row(service, port, workload, templates)
                if row.container_port is not None:
                    served.add((workload, row.container_port))
                rows.append(row)
    for workload, (_, spec) in sorted(templates.items()):
        for container in spec.containers or ():
            rows += [
                PortView(
                    workload=workload,
                    source=f"container {container.name}",
                    name=declared.name or "",
                    protocol=(declared.protocol or "TCP").lower(),
                    container_port=declared.container_port,
                )
                for declared in container.ports or ()
                if (workload, declared.container_port) not in served
            ]
    return tuple(rows)


def _behind(service: Service, templates: Templates) -> list[str]:
    """Workloads whose pods a service leads to."""
    wanted = service.spec.selector
    if not wanted:
        return []
    return [name for name, (labels, _) in sorted(templates.items()) if wanted.items() <= labels.items()]


def _service_row(service: Service, port: ServicePort, workload: str, templates: Templates) -> PortView:
    address = _address(service.status)
    protocol = (port.protocol or "TCP").lower()
    return PortView(
        workload=workload,
        source=f"service {service.metadata.name}",
        name=port.name or "",
        protocol=protocol,
        container_port=_target(port, workload, templates),
        service_port=port.port or None,
        node_port=port.node_port,
        url=f"http://{address}:{port.port}" if address and protocol == "tcp" else "",
    )


def _target(port: ServicePort, workload: str, templates: Templates) -> int | None:
    """The container's port that a service's leads to: a number, or a name that the pods give to one."""
    target = port.target_port if port.target_port not in (None, 0, "") else port.port
    if isinstance(target, int):
        return target
    spec = templates[workload][1] if workload in templates else None
    for container in spec.containers or () if spec is not None else ():
        for declared in container.ports or ():
            if declared.name == target:
                return declared.container_port
    return None


def _ingress_rows(
    ingress: Ingress, services: Mapping[str, Service], behind: Mapping[str, list[str]], templates: Templates
) -> Iterable[PortView]:
    secure = {host for tls in ingress.spec.tls or () for host in tls.hosts or ()}
    address = _address(ingress.status)
    ways: list[tuple[str, str, IngressBackend]] = []
    if ingress.spec.default_backend is not None:
        ways.append(("", "/", ingress.spec.default_backend))
    for rule in ingress.spec.rules or ():
        paths = (rule.http.paths or ()) if rule.http is not None else ()
        ways += [(rule.host or "", path.path or "/", path.backend) for path in paths]
    for host, path, backend in ways:
        service = backend.service
        if service is None:
            continue
        number, known = _backend_port(backend, services.get(service.name))
        scheme = "https" if host in secure or (not host and bool(ingress.spec.tls)) else "http"
        where = host or address
        for workload in behind.get(service.name) or [""]:
            yield PortView(
                workload=workload,
                source=f"ingress {ingress.metadata.name}",
                name=service.name,
                container_port=_target(known, workload, templates) if known is not None else None,
                service_port=number,
                url=f"{scheme}://{where}{path}" if where and not where.startswith("*") else "",
            )


def _backend_port(backend: IngressBackend, service: Service | None) -> tuple[int | None, ServicePort | None]:
    wanted = backend.service.port if backend.service is not None else None
    ports = (service.spec.ports or ()) if service is not None else ()
    for port in ports:
        if wanted is not None and (port.port == wanted.number or (wanted.name and port.name == wanted.name)):
            return port.port, port
    return (wanted.number if wanted is not None else None), None


def _address(status: LoadBalancerStatus) -> str:
    for found in (status.load_balancer.ingress or ()) if status.load_balancer is not None else ():
        if found.hostname or found.ip:
            return found.hostname or (f"[{found.ip}]" if ":" in (found.ip or "") else found.ip or "")
    return ""
