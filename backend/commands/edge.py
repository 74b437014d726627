"""`trinity edge stat|config|errors`: HAProxy's own words."""

from __future__ import annotations

import click

from backend.commands.output import print_json
from backend.commands.place import Place, common


@click.command()
@click.argument("what", type=click.Choice(["stat", "config", "errors"]))
@common()
def edge(place: Place, what: str) -> None:
    """Print the edge's statistics, its configuration (secrets redacted), or its last protocol errors."""
    text = place.run(lambda client: client.edge(what))
    if place.json:
        print_json({what: text})
    else:
        click.echo(text)
