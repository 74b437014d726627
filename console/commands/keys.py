"""`trinity keys`: the keys that are in force, as text or data, and the check of a keymap file."""

from __future__ import annotations

import json
from pathlib import Path

import click

from backend.contract import exit_codes
from console.state.keymap import Bound, Keymap, covered, display
from console.state.places import keymap_file


@click.command()
@click.option("--keymap", "chosen", type=click.Path(path_type=Path), help="A keymap file, instead of your own.")
@click.option("--check", type=click.Path(path_type=Path), help="Only say what is wrong in this file.")
@click.option("--json", "as_json", is_flag=True, help="As data.")
@click.pass_context
def keys(ctx: click.Context, chosen: Path | None, check: Path | None, as_json: bool) -> None:
    """The console's keys, with your keymap (`~/.config/trinity/keys.toml`) applied."""
    from console.tui.keymap import check as check_file
    from console.tui.keymap import load, table

    if check is not None:
        keymap, problems = check_file(check)
        for problem in problems:
            click.echo(str(problem), err=True)
        for words in [] if problems else covered(keymap, table()):
            click.echo(f"note: {words}")
        if problems:
            ctx.exit(exit_codes.USAGE)
        click.echo(f"{check}: {len(keymap.keys)} keys moved, no conflict.")
        return
    place = chosen or keymap_file()
    keymap = load(place) if chosen is not None or place.exists() else Keymap()
    every = table()
    click.echo(json.dumps(_data(keymap, every), indent=2) if as_json else _text(keymap, every))


def _data(keymap: Keymap, every: list[Bound]) -> list[dict[str, object]]:
    return [
        {
            "id": one.id,
            "keys": list(keymap.of(one)),
            "scope": one.scope,
            "says": one.says,
            "moved": one.id in keymap.keys,
        }
        for one in every
    ]


def _text(keymap: Keymap, every: list[Bound]) -> str:
    """A block a scope: name, keys, what they do; a moved key is marked."""
    lines: list[str] = []
    size = max(len(one.id) for one in every)
    shown = {one.id: " ".join(display(key) for key in keymap.of(one)) or "none" for one in every}
    width = max(map(len, shown.values()))
    for scope in dict.fromkeys(one.scope for one in every):
        lines += [*([""] if lines else []), scope]
        for one in every:
            if one.scope == scope:
                mark = "*" if one.id in keymap.keys else " "
                lines.append(f" {mark} {one.id.ljust(size)}  {shown[one.id].ljust(width)}  {one.says}")
    return "\n".join(lines)
