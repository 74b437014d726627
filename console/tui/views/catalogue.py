"""Which view stands behind which name; each module is loaded when its view is first shown."""

from __future__ import annotations

from console.tui.views.base import View


def build(name: str) -> View:
    """A new view. Raises KeyError for a name that no view has."""
    match name:
        case "fleet":
            from console.tui.views.fleet import FleetView

            return FleetView()
        case "requests":
            from console.tui.views.requests import RequestsView

            return RequestsView()
        case "logs":
            from console.tui.views.logs import LogsView

            return LogsView()
        case "correlation":
            from console.tui.views.correlation import CorrelationView

            return CorrelationView()
        case "journal":
            from console.tui.views.journal import JournalView

            return JournalView()
        case "charts":
            from console.tui.views.charts import ChartsView

            return ChartsView()
        case "drills":
            from console.tui.views.drills import DrillsView

            return DrillsView()
        case "drill-run":
            from console.tui.views.drill_run import DrillRunView

            return DrillRunView()
        case "drill-report":
            from console.tui.views.drill_report import DrillReportView

            return DrillReportView()
        case "help":
            from console.tui.views.help import HelpView

            return HelpView()
        case "everywhere":
            from console.tui.views.everywhere import EverywhereView

            return EverywhereView()
        case "nodes":
            from console.tui.views.nodes import NodesView

            return NodesView()
        case "ports":
            from console.tui.views.ports import PortsView

            return PortsView()
        case "detail":
            from console.tui.views.detail import DetailView

            return DetailView()
        case "compare":
            from console.tui.views.compare import CompareView

            return CompareView()
    raise KeyError(name)
