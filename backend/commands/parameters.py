"""Types of the commands' arguments: the words they use in help and in errors. Know nothing of any command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


class Count(click.IntRange):
    """A whole number in a range."""

    name = "whole number"

    def get_metavar(self, param: click.Parameter, *_: Any, **__: Any) -> str | None:
        return "N" if isinstance(param, click.Option) else None


class Seconds(click.FloatRange):
    """A length of time, 0 or more."""

    name = "number of seconds"

    def __init__(self) -> None:
        super().__init__(min=0, max=10_000_000)

    def get_metavar(self, param: click.Parameter, *_: Any, **__: Any) -> str | None:
        return "SECONDS"


class Duration(click.ParamType[float]):
    """A length of time with its unit, as in files; seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        from backend.config.strict_yaml import parse_duration

        try:
            return parse_duration(str(value))
        except ValueError as error:
            self.fail(f"{value}: {error}.", param, ctx)


class Number(click.FloatRange):
    """A number in a range."""

    name = "number"

    def get_metavar(self, param: click.Parameter, *_: Any, **__: Any) -> str | None:
        return "NUMBER"


class Directory(click.Path):
    """A directory, there or not; an empty name (an unset variable of a script) is refused."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not str(value):
            self.fail("it is empty.", param, ctx)
        return super().convert(value, param, ctx)
