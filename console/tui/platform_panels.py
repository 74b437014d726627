"""The overview's panels of a fleet without an edge of ours: workloads, nodes, ports, causes. Each paints the state."""

from __future__ import annotations

from collections.abc import Sequence

from console.render import units
from console.render.cause import cause_lines, worth_a_look
from console.render.platform_panels import node_lines, port_lines, workload_lines
from console.render.spans import EMPTY, Line
from console.tui.canvas import Panel


class WorkloadsPanel(Panel):
    """Ready of wanted, and how rollouts stand."""

    heading = "Workloads"

    def info(self) -> Line:
        return ((str(len(self.trinity.state.workloads)), "muted"),)

    def body(self, width: int, height: int) -> Sequence[Line]:
        return workload_lines(self.trinity.state.workloads, width, height)


class NodesPanel(Panel):
    """Each node with what it carries."""

    heading = "Nodes"

    def info(self) -> Line:
        return (("N ", "accent"), ("all", "faint"))

    def body(self, width: int, height: int) -> Sequence[Line]:
        return node_lines(self.trinity.state.nodes, width, height)


class PortsPanel(Panel):
    """How things are reached."""

    heading = "Ports"

    def info(self) -> Line:
        forwards = len(self.trinity.state.forwards)
        return ((units.plural(forwards, "forward"), "accent"),) if forwards else (("F ", "accent"), ("all", "faint"))

    def body(self, width: int, height: int) -> Sequence[Line]:
        return port_lines(self.trinity.state.ports, width, height)


class CausesPanel(Panel):
    """Replicas that are not well, and why."""

    heading = "Worth a look"

    def info(self) -> Line:
        found = len(worth_a_look(self.trinity.state.replicas))
        return ((str(found), "warn"),) if found else EMPTY

    def body(self, width: int, height: int) -> Sequence[Line]:
        return cause_lines(self.trinity.state.replicas, width, height, self.trinity.clock.now())
