"""`trinity themes`: which there are, one of them as a file to begin one's own with, and a check of a file."""

from __future__ import annotations

from pathlib import Path

import click

from backend.contract.errors import FileError, UsageError
from console.render.theme import SURFACES, TEXT_ROLES, ThemeSpec, contrast, parse_theme
from console.render.theme_shelf import ThemeShelf
from console.state.places import themes_folder

READABLE = 4.5
"""Contrast below which small text is hard to read (WCAG 2, AA)."""


@click.command(short_help="Themes: list, print one, check a file.")
@click.argument("name", required=False)
@click.option("--check", type=click.Path(path_type=Path), help="Say what is wrong with a theme file.")
def themes(name: str | None, check: Path | None) -> int:
    """List the themes; with NAME, print that theme's file, to begin one's own with.

    A theme of one's own is a TOML file in the folder that the list names; the console shows each save at once.
    """
    shelf = ThemeShelf()
    if check is not None:
        return _check(check)
    if name is not None:
        path = shelf.file_of(name)
        if path is None:
            raise UsageError(f"There is no theme {name!r}.", f"Choose one of {', '.join(shelf.names())}.")
        click.echo(path.read_text(encoding="utf-8"), nl=False)
        return 0
    for one in shelf.names():
        spec, path = shelf.get(one), shelf.file_of(one)
        if spec is not None and path is not None:
            kind = "ansi" if spec.ansi else "dark" if spec.dark else "light"
            own = "  (yours)" if path.parent == themes_folder() else ""
            click.echo(f"{one:18} {kind:6} {spec.title}{own}")
    for problem in shelf.problems():
        click.echo(f"Cannot be used: {problem}", err=True)
    click.echo(f"Your own go to {themes_folder()}", err=True)
    return 0


def _check(path: Path) -> int:
    try:
        spec = parse_theme(path.read_text(encoding="utf-8"), path.name)
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(str(path), f"cannot be read: {error}.", "Name a theme file.") from error
    if spec.name != path.stem:
        raise FileError(path.name, f"its name says {spec.name!r}.", "File and theme have one name.")
    poor = faint_pairs(spec)
    for role, surface, ratio in poor:
        click.echo(f"{role} on {surface}: contrast {ratio:.2f}, hard to read below {READABLE}")
    click.echo(f"{path.name}: {'can be used, and is hard to read in places' if poor else 'good'}.")
    return 1 if poor else 0


def faint_pairs(spec: ThemeSpec) -> list[tuple[str, str, float]]:
    """(role, surface, contrast) of each text that is hard to read; empty for a terminal's own colours."""
    if spec.ansi:
        return []
    roles = (*TEXT_ROLES, "series1", "series2", "series3", "series4")
    pairs = [(role, surface, contrast(spec.color(role), spec.color(surface))) for role in roles for surface in SURFACES]
    return [pair for pair in pairs if pair[2] < READABLE]
