"""Every theme can be read: contrast of at least 4.5 for every text on every surface."""

from __future__ import annotations

from pathlib import Path

import pytest

from backend.contract.errors import FileError, UsageError
from console.render.theme import SURFACES, TEXT_ROLES, contrast, load_themes, parse_theme

THEMES = load_themes()
ROLES = (*TEXT_ROLES, "series1", "series2", "series3", "series4")


def test_the_promised_themes_are_there_and_one_is_light():
    assert {"brutalist", "hacker", "minimalist", "ansi-16"} <= set(THEMES)
    assert any(not theme.dark for theme in THEMES.values())


@pytest.mark.parametrize("name", [name for name, theme in THEMES.items() if not theme.ansi])
def test_text_stands_out_on_every_surface(name):
    theme = THEMES[name]
    poor = {
        (role, surface): round(contrast(theme.color(role), theme.color(surface)), 2)
        for role in ROLES
        for surface in SURFACES
        if contrast(theme.color(role), theme.color(surface)) < 4.5
    }
    assert poor == {}


def test_ansi_theme_names_only_terminal_colours():
    theme = THEMES["ansi-16"]
    allowed = {"default", "dim", "reverse", "underline", "cyan", "green", "yellow", "red"}
    assert {theme.color(role) for role in (*ROLES, *SURFACES)} <= allowed


def test_contrast_is_the_standard_one():
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


def test_a_bad_theme_says_which_file_and_why():
    with pytest.raises(FileError, match=r"mine\.toml: not a theme: .*colors"):
        parse_theme('name = "mine"\ntitle = "Mine"\ndark = true\n', "mine.toml")
    with pytest.raises(FileError, match="mine"):
        parse_theme("= 1", "mine.toml")


def test_a_folder_without_themes_is_an_error(tmp_path: Path):
    with pytest.raises(UsageError, match="No themes"):
        load_themes(tmp_path)
