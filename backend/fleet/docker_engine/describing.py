"""Finding what a description needs: who bears a name, its events and what it was made of. The words are describe's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from backend.contract.errors import UsageError
from backend.contract.platform import Description
from backend.fleet.docker_engine.client import EngineClient
from backend.fleet.docker_engine.compose_source import workload_source
from backend.fleet.docker_engine.describe import (
    describe_container,
    describe_group,
    describe_node,
    describe_service,
    describe_task,
)
from backend.fleet.docker_engine.remembering import RememberingSink
from backend.fleet.docker_engine.swarm import SwarmView
from backend.fleet.docker_engine.watch import Rosters, Watch


class Describing:
    """Describable's deed. `unknown` makes the error for a name that nobody bears."""

    def __init__(
        self,
        client: EngineClient,
        rosters: Rosters,
        swarm: SwarmView,
        watch: Watch,
        events: RememberingSink,
        unknown: Callable[[str], UsageError],
    ) -> None:
        self._client, self._rosters, self._swarm, self._watch = client, rosters, swarm, watch
        self._events, self._unknown = events, unknown

    async def describe(self, name: str) -> Description:
        """A replica, a workload or a node, looked for in this order. Raises UsageError for none."""
        container = self._rosters.fleet.get(name) or self._rosters.ours.get(name)
        if container is not None:
            await self._watch.look_at(container.facts.id)
            return describe_container(container.facts, container.status, container.inspect, self._events.of({name}))
        if (seen := self._swarm.get(name)) is not None:
            held = self._rosters.tasks.by_id(seen.task.container) if seen.task.container else None
            return describe_task(seen, held, self._events.of({name}))
        if (service := self._swarm.service(name)) is not None:
            replicas = [(seen.status, seen.task, seen.former) for seen in self._swarm.of(name)]
            events = self._events.of({name, *(status.name for status, _, _ in replicas)})
            return describe_service(service, replicas, self._swarm.rollout_words(service), events)
        if group := self._rosters.fleet.of(name):
            statuses = [container.status for container in group]
            events = self._events.of({name, *(status.name for status in statuses)})
            newest = max(group, key=lambda container: container.facts.created_ts)
            source = await asyncio.to_thread(workload_source, newest.facts, newest.inspect)
            return describe_group(name, group[0].member.kind, statuses, events, source)
        node = next((node for node in self._swarm.nodes() if node.name == name), None)
        facts = self._swarm.node_named(name)
        if node is None or facts is None:
            raise self._unknown(name)
        raw = await self._client.get(f"/nodes/{facts.id}")
        return describe_node(node, [status for status in self._swarm.statuses() if status.node == name], raw)
