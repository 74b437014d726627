"""Types of the console's own options: their words in help and errors. Loads what checks them only when one is given."""

from __future__ import annotations

from typing import Any

import click

from backend.contract.errors import UsageError


class SimulatedFleet(click.ParamType):  # type: ignore[type-arg] # generic in the stubs only
    """`50`, `docker:50`, `k8s:200`, `k8s:200:edge`."""

    name = "simulated fleet"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from console.state.simulated import parse_simulated

        if not isinstance(value, str):
            return value
        try:
            return parse_simulated(value)
        except UsageError as error:
            self.fail(str(error), param, ctx)

    def get_metavar(self, param: click.Parameter, *_: Any, **__: Any) -> str | None:
        return "[docker:|k8s:]N"
