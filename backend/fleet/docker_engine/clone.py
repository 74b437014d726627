"""One container more like another one: the request that makes it, from what the engine says of the first. Pure.

That is how a compose service or a group of containers is scaled without its compose file.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from backend.contract.errors import Refused
from backend.fleet.docker_engine.labels import NUMBER, PROJECT, SERVICE
from backend.fleet.docker_engine.reading import dig, fields, items, text, texts, words

_NOT_CONFIG: Final = ("Domainname",)
_NUMBERED: Final = re.compile(r"^(?P<stem>.*?)(?P<divider>[-_.]?)(?P<number>\d+)$")
_REPLACED: Final = "com.docker.compose.replace"


class CreateRequest(msgspec.Struct, frozen=True, kw_only=True):
    """POST /containers/create, and the networks to connect afterwards (older engines take one at creation)."""

    name: str
    body: dict[str, object]
    networks: dict[str, dict[str, object]]


def clone_request(inspect: object, workload: str, number: int) -> CreateRequest:
    """Another container like the inspected one, with that number. Raises Refused where there can be only one."""
    old_name, identifier = text(inspect, "Name").lstrip("/"), text(inspect, "Id")
    labels = texts(inspect, "Config", "Labels")
    _refuse_fixed_ports(inspect, workload)
    name = clone_name(old_name, labels, number, workload)
    config = {key: held for key, held in fields(inspect, "Config").items() if key not in _NOT_CONFIG}
    if text(config, "Hostname") == identifier[:12]:
        config.pop("Hostname")
    config["Labels"] = {key: held for key, held in labels.items() if key != _REPLACED}
    if NUMBER in labels:
        config["Labels"] = {**texts(config, "Labels"), NUMBER: str(number)}
    host = {key: held for key, held in fields(inspect, "HostConfig").items() if key != "ContainerIDFile"}
    networks = _networks(inspect, workload, drop={old_name, identifier[:12]})
    first = text(host, "NetworkMode")
    at_creation = {first: networks.pop(first)} if first in networks else {}
    if not at_creation and networks and first in ("", "default"):
        key = next(iter(networks))
        at_creation = {key: networks.pop(key)}
    body = {**config, "HostConfig": host, "NetworkingConfig": {"EndpointsConfig": at_creation}}
    return CreateRequest(name=name, body=body, networks=networks)


def clone_name(old: str, labels: dict[str, str], number: int, workload: str) -> str:
    """`shop-web-3` after `shop-web-1`. Raises Refused for a compose service whose container has a name of its own."""
    found = _NUMBERED.match(old)
    if PROJECT in labels and SERVICE in labels:
        own = labels.get(NUMBER, "")
        if found is None or not found["divider"] or found["number"] != own:
            raise Refused(
                f"{workload} gives its container the name {old}; only one can have that.",
                "Take `container_name` out of the compose file, and bring the service up again.",
            )
    if found is None:
        return f"{old}-{number}"
    return f"{found['stem']}{found['divider']}{number}"


def _refuse_fixed_ports(inspect: object, workload: str) -> None:
    mode = text(inspect, "HostConfig", "NetworkMode")
    if mode == "host":
        raise Refused(
            f"{workload} uses its machine's own network; two of its containers would want the same ports.",
            "Give it a network of containers' own to scale it.",
        )
    for port in fields(inspect, "HostConfig", "PortBindings"):
        for binding in items(inspect, "HostConfig", "PortBindings", port):
            fixed = text(binding, "HostPort")
            if fixed not in ("", "0"):
                raise Refused(
                    f"{workload} publishes its port {port.partition('/')[0]} as {fixed}; only one container can have "
                    "that.",
                    'Publish it without a port of the machine\'s (`ports: ["8080"]`), and put an edge in front of it.',
                )


def _networks(inspect: object, workload: str, drop: set[str]) -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = {}
    for network in fields(inspect, "NetworkSettings", "Networks"):
        endpoint = dig(inspect, "NetworkSettings", "Networks", network)
        if text(endpoint, "IPAMConfig", "IPv4Address") or text(endpoint, "IPAMConfig", "IPv6Address"):
            raise Refused(
                f"{workload} has a fixed address in the network {network}; only one container can have that.",
                "Take the address out of its configuration to scale it.",
            )
        aliases = [alias for alias in words(endpoint, "Aliases") if alias not in drop]
        links = list(words(endpoint, "Links"))
        settings: dict[str, object] = {}
        if aliases:
            settings["Aliases"] = aliases
        if links:
            settings["Links"] = links
        if options := fields(endpoint, "DriverOpts"):
            settings["DriverOpts"] = options
        found[network] = settings
    return found
