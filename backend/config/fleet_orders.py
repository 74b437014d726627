"""From an order to look after a fleet, or from an address alone, to the fleet's full description.

Owns what an address says as a trinity.yaml. Connects to nothing and starts nothing.
"""

from __future__ import annotations

import json

import msgspec

from backend.config.checks import LONGEST_NAME
from backend.config.fleet_file import DEFAULT, FleetFile, parse_fleet_file
from backend.config.known_fleets import KnownFleet, slug_of
from backend.config.resolve import FleetConfig, resolve
from backend.contract.address import FleetAddress, parse_address
from backend.contract.control import FleetOrder
from backend.contract.errors import UsageError


def check_name(name: str) -> str:
    """The name, where it can be one. Raises UsageError."""
    if not name.strip() or name != name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
        raise UsageError(
            f"{name[:LONGEST_NAME]!r} cannot be the name of a fleet.",
            f"Choose up to {LONGEST_NAME} printable characters without a blank at either end: --name NAME.",
        )
    return name


def fleet_of(order: FleetOrder) -> KnownFleet:
    """What an order asks for: by its file, else by its address. Raises FileError for a bad file and UsageError for an
    address or a name that is none."""
    if order.yaml:
        file = parse_fleet_file(order.yaml, order.source or "trinity.yaml")
        name = check_name(order.name or name_of(file))
        address = str(address_of(file))
    else:
        wanted = parse_address(order.address)
        address = str(wanted)
        name = check_name(order.name or address)
        if wanted.driver == "local":
            if name != "local":
                raise UsageError(f"Nothing says what runs in {name}.", "Give its trinity.yaml: --file trinity.yaml.")
            return KnownFleet(name="local", read_only=order.read_only)
    return KnownFleet(
        name=name,
        slug=slug_of(name),
        address=address,
        yaml=order.yaml,
        source=order.source if order.yaml else "",
        read_only=order.read_only,
    )


def address_of(file: FleetFile) -> FleetAddress:
    """Where a trinity.yaml says that its fleet is."""
    if file.driver == "docker":
        return FleetAddress(driver="docker", context=file.docker.context, part=file.docker.project or "")
    if file.driver == "kubernetes":
        return FleetAddress(driver="kubernetes", context=file.kubernetes.context, part=file.kubernetes.namespace or "")
    return FleetAddress(driver="local")


def name_of(file: FleetFile) -> str:
    """What its fleet is called: as the file says, else `local`, or its address on a platform."""
    return file.fleet if file.fleet != "local" else str(address_of(file))


def yaml_of(name: str, address: FleetAddress) -> str:
    """A trinity.yaml for a fleet of which only the address is known: everything there, nothing of ours."""
    part = "project" if address.driver == "docker" else "namespace"
    keys = [("context", address.context), (part, address.part)]
    lines = [f"  {key}: {json.dumps(value, ensure_ascii=False)}" for key, value in keys if value]
    section = [f"{address.driver}:", *lines] if lines else []
    text = [
        "trinity: 1",
        f"fleet: {json.dumps(name, ensure_ascii=False)}",
        f"driver: {address.driver}",
        *section,
        "workloads: {}",
    ]
    return "\n".join(text) + "\n"


def config_of(fleet: KnownFleet, applied: tuple[str, str] = ("", "")) -> FleetConfig:
    """A fleet's full description: by the file last `applied` to it (text, source), else by its own, else by its
    address. Raises FileError and UsageError."""
    text, source = applied if applied[0] else (fleet.yaml, fleet.source or "trinity.yaml")
    if not text and not fleet.slug:
        return resolve(DEFAULT)
    if not text:
        text, source = yaml_of(fleet.name, parse_address(fleet.address)), f"address {fleet.address}"
    config = resolve(parse_fleet_file(text, source), source, text)
    return msgspec.structs.replace(config, name=fleet.name if fleet.slug else name_of(config.file))
