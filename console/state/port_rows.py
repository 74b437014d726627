"""The rows of the table of ports: what the platform says, and the ports of this machine that lead there. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from backend.contract.platform import ForwardView, PortView


class PortRow(msgspec.Struct, frozen=True):
    """A way to reach something, and the local ports of the forwards to the same port of the same workload."""

    view: PortView
    here: tuple[int, ...] = ()

    @property
    def key(self) -> str:
        view = self.view
        return f"{view.workload}/{view.source}/{view.name}/{view.container_port}/{view.protocol}/{view.url}"


def port_rows(
    ports: Sequence[PortView], forwards: Sequence[ForwardView], workload_of: Mapping[str, str]
) -> list[PortRow]:
    """In the order of the ports. `workload_of` says of a replica whose it is."""
    here: dict[tuple[str, int], list[int]] = {}
    for one in forwards:
        here.setdefault((workload_of.get(one.target, one.target), one.port), []).append(one.local_port)
    rows = []
    for view in ports:
        found = here.get((view.workload, view.container_port), []) if view.container_port is not None else []
        rows.append(PortRow(view, tuple(sorted(found))))
    return rows
