"""Every theme can be read, by every eye: contrast of at least 4.5 for each text on each surface, and more."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from backend.contract.errors import FileError, UsageError
from console.render.theme import SURFACES, TEXT_ROLES, contrast, parse_theme
from console.render.theme_shelf import ThemeShelf, first_theme, shipped_folder
from console.state.places import themes_folder

THEMES = ThemeShelf(own=Path("/nowhere")).all()
ROLES = (*TEXT_ROLES, "series1", "series2", "series3", "series4")
STATES = ("ok", "warn", "error", "accent")
SERIES = ROLES[-4:]
COLORED = [name for name, theme in THEMES.items() if not theme.ansi]

# Machado, Oliveira, Fernandes 2009, severity 1: what a linear RGB colour looks like to eyes without one kind of cone.
EYES = {
    "usual": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritanopia": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}


def lab(color: str, eye: str) -> tuple[float, float, float]:
    """CIE L*a*b* of a colour as that eye sees it."""
    channels = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    r, g, b = (min(1.0, max(0.0, sum(m * c for m, c in zip(row, linear, strict=True)))) for row in EYES[eye])
    tristimulus = (
        (0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.9505,
        0.2126 * r + 0.7152 * g + 0.0722 * b,
        (0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.089,
    )
    x, y, z = (t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116 for t in tristimulus)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def difference(one: str, other: str, eye: str) -> float:
    """CIE76: 2.3 is just noticeable, 20 is another colour."""
    return sum((a - b) ** 2 for a, b in zip(lab(one, eye), lab(other, eye), strict=True)) ** 0.5


def test_the_promised_themes_are_there():
    assert len(THEMES) >= 8
    assert {"brutalist", "hacker", "minimalist", "ansi-16", "colorblind", "contrast-dark"} <= set(THEMES)
    assert sum(not theme.dark for theme in THEMES.values()) >= 3


@pytest.mark.parametrize("name", COLORED)
def test_text_stands_out_on_every_surface(name):
    theme = THEMES[name]
    wanted = 7.0 if name.startswith("contrast") else 4.5
    poor = {
        (role, surface): round(contrast(theme.color(role), theme.color(surface)), 2)
        for role in ROLES
        for surface in SURFACES
        if contrast(theme.color(role), theme.color(surface)) < wanted
    }
    assert poor == {}


@pytest.mark.parametrize("name", [name for name in COLORED if name.startswith("colorblind")])
@pytest.mark.parametrize("eye", EYES)
def test_states_and_lines_stay_apart_for_every_eye(name, eye):
    theme = THEMES[name]
    pairs = [*itertools.combinations(STATES, 2), *itertools.combinations(SERIES, 2)]
    close = {pair: difference(theme.color(pair[0]), theme.color(pair[1]), eye) for pair in pairs}
    assert min(close.values()) >= 20, close


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
    text = (shipped_folder() / "minimalist.toml").read_text()
    with pytest.raises(FileError, match='cursor = "blue", a color is #rrggbb'):
        parse_theme(text.replace('cursor = "#2a303a"', 'cursor = "blue"'), "mine.toml")
    ansi = (shipped_folder() / "ansi-16.toml").read_text()
    with pytest.raises(FileError, match='series 1 = "teal"'):
        parse_theme(ansi.replace('series = ["cyan"', 'series = ["teal"'), "mine.toml")


def test_a_folder_without_themes_is_an_error(tmp_path: Path):
    with pytest.raises(UsageError, match="No themes"):
        ThemeShelf(tmp_path, tmp_path).names()


def mine(folder: Path, accent: str = "#ffffff", name: str = "mine") -> Path:
    text = (shipped_folder() / "minimalist.toml").read_text()
    path = folder / "mine.toml"
    path.write_text(text.replace('name = "minimalist"', f'name = "{name}"').replace("#8ab4f8", accent))
    return path


def test_a_users_theme_joins_the_shelf_and_wins_over_a_shipped_one(tmp_path: Path):
    mine(tmp_path)
    shelf = ThemeShelf(own=tmp_path)
    assert set(shelf.names()) == {*THEMES, "mine"}
    own = (shipped_folder() / "nord.toml").read_text().replace('title = "Nord"', 'title = "My Nord"')
    (tmp_path / "nord.toml").write_text(own)
    found = shelf.get("nord")
    assert found is not None
    assert found.title == "My Nord"
    assert shelf.file_of("nord") == tmp_path / "nord.toml"
    assert shelf.problems() == []


def test_a_broken_theme_of_a_user_is_named_and_takes_nothing_away(tmp_path: Path):
    (tmp_path / "torn.toml").write_text('name = "torn')
    (tmp_path / "other.toml").write_bytes(b"\xff\xfe")
    mine(tmp_path, name="yours")
    shelf = ThemeShelf(own=tmp_path)
    assert set(shelf.names()) == set(THEMES)
    assert [words.split(":")[0] for words in shelf.problems()] == ["mine.toml", "other.toml", "torn.toml"]
    assert "its name says 'yours'" in shelf.problems()[0]
    assert shelf.get("torn") is None
    assert shelf.or_default("torn").name == "minimalist"


def test_an_edited_theme_is_read_again_and_an_unchanged_one_is_not(tmp_path: Path):
    path = mine(tmp_path)
    shelf = ThemeShelf(own=tmp_path)
    first = shelf.get("mine")
    assert first is shelf.get("mine")
    path.write_text(path.read_text() + "# edited\n")
    path.write_text(path.read_text().replace("#ffffff", "#eeeeee"))
    again = shelf.get("mine")
    assert again is not None
    assert again.colors.accent == "#eeeeee"


def test_the_first_theme_is_what_the_terminal_can_show():
    full = {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
    assert first_theme(None, environ=full) == "minimalist"
    assert first_theme("nord", environ=full) == "nord"
    assert first_theme("nord", environ=full | {"NO_COLOR": ""}) == "ansi-16"
    assert first_theme("nord", no_color=True, environ=full) == "ansi-16"
    assert first_theme(None, environ={"TERM": "linux"}) == "ansi-16"
    assert first_theme("nord", environ={"TERM": "linux"}) == "nord"


def test_a_users_themes_are_in_the_configuration_folder():
    assert themes_folder({"XDG_CONFIG_HOME": "/c"}) == Path("/c/trinity/themes")
    assert themes_folder({"HOME": "/home/ada"}) == Path("/home/ada/.config/trinity/themes")


def test_there_is_no_theme_of_an_unknown_name(tmp_path: Path):
    shelf = ThemeShelf(own=tmp_path / "none")
    assert shelf.get("nobody") is None
    assert shelf.file_of("nobody") is None
