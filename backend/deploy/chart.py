"""`trinity deploy render helm`: the chart as a folder, its values filled in.

Owns the copy of the shipped chart. Its templates are Helm's: nothing here interprets them.
"""

from __future__ import annotations

import msgspec

from backend.deploy.places import HELM, shipped
from backend.deploy.values import Values
from backend.deploy.yaml_text import to_yaml
from backend.version import VERSION


def render(values: Values) -> dict[str, str]:
    """The chart's files; `values.yaml` holds every value as it now is, and says where the words about them stand."""
    chart = {f"trinity/{name}": text for name, text in shipped(HELM).items()}
    if values != Values():
        words = "Every value, as `trinity deploy render helm --values` filled them in."
        chart["trinity/values.yaml"] = to_yaml(msgspec.to_builtins(values), words)
    chart["trinity/Chart.yaml"] = chart["trinity/Chart.yaml"].replace('"0.1.0"', f'"{VERSION}"')
    return chart
