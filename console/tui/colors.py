"""Semantic styles to terminal styles, and a theme file to a Textual theme. The only place that knows colours."""

from __future__ import annotations

from rich.style import Style
from textual.theme import BUILTIN_THEMES, Theme

from console.render.theme import ThemeSpec

_MARKS = {"b": Style(bold=True), "r": Style(reverse=True), "u": Style(underline=True)}
_ATTRIBUTES = {"dim": Style(dim=True), "reverse": Style(reverse=True), "underline": Style(underline=True)}


class Colors:
    """Styles of one theme, made once each. `style("ok b", "panel")` is bold ok on the panel's surface."""

    def __init__(self, spec: ThemeSpec) -> None:
        self.spec = spec
        self._known: dict[tuple[str, str], Style] = {}

    def style(self, name: str, surface: str = "background") -> Style:
        """The style of a semantic name with marks; `on-<surface>` in the name overrides `surface`."""
        found = self._known.get((name, surface))
        if found is None:
            found = self._known[name, surface] = self._make(name, surface)
        return found

    def _make(self, name: str, surface: str) -> Style:
        role, *marks = name.split()
        style = self._foreground("text" if role == "title" else role)
        for mark in marks:
            if mark.startswith("on-"):
                surface = mark[3:]
            else:
                style += _MARKS[mark]
        return self._background(surface) + style

    def _foreground(self, role: str) -> Style:
        value = self.spec.color(role)
        return _ATTRIBUTES[value] if value in _ATTRIBUTES else Style(color=value)

    def _background(self, surface: str) -> Style:
        value = self.spec.color(surface)
        return _ATTRIBUTES[value] if value in _ATTRIBUTES else Style(bgcolor=value)


def textual_theme(spec: ThemeSpec) -> Theme:
    """What Textual's own widgets (inputs, screens) use of a theme."""
    if spec.ansi:
        return Theme(
            name=spec.name,
            primary="ansi_cyan",
            foreground="ansi_default",
            background="ansi_default",
            surface="ansi_default",
            panel="ansi_default",
            boost="ansi_default",
            warning="ansi_yellow",
            error="ansi_red",
            success="ansi_green",
            accent="ansi_cyan",
            dark=spec.dark,
            ansi=True,
            variables=BUILTIN_THEMES["ansi-dark"].variables,
        )
    colors = spec.colors
    return Theme(
        name=spec.name,
        primary=colors.accent,
        foreground=colors.text,
        background=colors.background,
        surface=colors.panel,
        panel=colors.panel,
        warning=colors.warn,
        error=colors.error,
        success=colors.ok,
        accent=colors.accent,
        dark=spec.dark,
        variables={"border": colors.accent, "border-blurred": colors.rule, "input-selection-background": colors.cursor},
    )
