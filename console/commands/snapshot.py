"""`trinity snapshot FILE`: one view of the console as SVG, text or rows, without a terminal."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path
from typing import Any

import click

from backend.commands.place import Place, common
from backend.contract.errors import Unreachable, UsageError
from console.commands.parameters import SimulatedFleet

SMALLEST = (24, 6)
LARGEST = (1000, 1000)


class Size(click.ParamType):  # type: ignore[type-arg] # generic in the stubs only
    """Columns and rows, `120x40`."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, tuple):
            return value
        found = re.fullmatch(r"(\d{1,4})x(\d{1,4})", str(value))
        size = (int(found[1]), int(found[2])) if found else (0, 0)
        if not all(low <= one <= high for low, one, high in zip(SMALLEST, size, LARGEST, strict=True)):
            self.fail(f"{value!r} is not COLUMNSxROWS, from 24x6 to 1000x1000.", param, ctx)
        return size

    def get_metavar(self, param: click.Parameter, *_: Any, **__: Any) -> str | None:
        return "COLUMNSxROWS"


@click.command()
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--view", default="overview", show_default=True, help="The view, by its name in the console.")
@click.option("--size", type=Size(), default=(120, 40), help="Size of the screen (default: 120x40).")
@click.option("--theme", help="Theme (default: as the console begins).")
@click.option("--simulate", type=SimulatedFleet(), help="Of a simulated fleet: N replicas, or docker:N, k8s:N.")
@click.option("--force", is_flag=True, help="Write over a file that is there.")
@common(json_option=False)
def snapshot(
    place: Place, file: Path, view: str, size: tuple[int, int], theme: str | None, simulate: Any, force: bool
) -> None:
    """One view of the console into FILE: .svg, .txt or .tsv (a table's rows). `-` is text on stdout."""
    from console.tui.screenshots import picture_of

    if str(file) != "-" and file.exists() and not force:
        raise UsageError(f"{file} is there already.", "Take another name, or write over it with --force.")
    if simulate is not None:
        from console.state.simulator import SimulatorSource

        source: Any = SimulatorSource(replicas=simulate.replicas, driver=simulate.driver, edge=simulate.edge)
    else:
        from backend.control_client import ControlClient

        if not place.daemon.control_socket.exists():
            raise Unreachable("No daemon runs for this state directory.", "Start it with `trinity up`.")
        source = ControlClient(place.daemon.control_socket, fleet=asyncio.run(place.settle()))
    suffix = ".txt" if str(file) == "-" else file.suffix
    content = asyncio.run(picture_of(source, view=view, size=size, theme=theme, suffix=suffix))
    if str(file) == "-":
        sys.stdout.write(content)
    else:
        try:
            file.write_text(content, encoding="utf-8")
        except OSError as error:
            raise UsageError(
                f"{file} was not written: {error.strerror}.", "Name a file in a folder that is there."
            ) from error
