"""What goes to the clipboard and to files: the sequence, its limit, and rows and lines as plain text; jump labels."""

from __future__ import annotations

import base64
import re

from hypothesis import given
from hypothesis import strategies as st

from console.render.plain_text import as_text, as_tsv
from console.state.clipboard import LIMIT, allowed, copy
from console.state.jump_labels import LETTERS, MOST, labels
from console.state.table import Column


def pasted(sequence: str) -> str:
    found = re.fullmatch(r"\x1b\]52;c;([A-Za-z0-9+/=]*)\x07", sequence)
    assert found is not None, sequence[:40]
    return base64.b64decode(found[1]).decode()


@given(st.text(max_size=200))
def test_what_is_copied_is_pasted(text: str) -> None:
    made = copy(text)
    assert (pasted(made.sequence), made.left_out) == (text, 0)


def test_a_long_text_is_cut_between_characters_and_counted() -> None:
    made = copy("é" * LIMIT)
    assert pasted(made.sequence) == "é" * (LIMIT // 2)
    assert made.left_out == LIMIT - LIMIT // 2
    assert len(made.sequence) < 100_000
    assert copy("x" * LIMIT).left_out == 0
    assert copy("\ud800").left_out == 0, "half a character is no reason to fail"


def test_tmux_is_asked_itself_and_passed_through() -> None:
    plain = copy("llm-0").sequence
    both = copy("llm-0", tmux=True).sequence
    assert both.startswith(plain)
    past = both.removeprefix(plain)
    assert past.startswith("\x1bPtmux;")
    assert past.endswith("\x1b\\")
    assert past[len("\x1bPtmux;") : -2].replace("\x1b\x1b", "\x1b") == plain


def test_copying_can_be_switched_off() -> None:
    assert allowed({}) == allowed({"TRINITY_CLIPBOARD": "osc52"}) == allowed({"TRINITY_CLIPBOARD": ""}) == ""
    assert "switched off" in allowed({"TRINITY_CLIPBOARD": "off"})
    assert "knows off and osc52" in allowed({"TRINITY_CLIPBOARD": "xclip"})


def test_rows_are_cells_between_tabs() -> None:
    columns = [
        Column[str](key="name", title="NAME", width=9, cell=lambda item, _: (f" {item}\t\x1b[1m", "text"), sort=str),
        Column[str](key="mark", title=" ", width=1, cell=lambda item, now: (f"{now:g}", "text"), sort=str),
    ]
    assert as_tsv(columns, ["a", "b"], 7.0) == "NAME\tmark\na\t7\nb\t7\n"
    assert as_tsv(columns, ["a"], 7.0, titles=False) == "a\t7\n"


def test_lines_read_without_blanks_at_their_ends() -> None:
    assert as_text([(("a ", "text"), ("b   ", "muted")), ()]) == "a b\n\n"


@given(st.integers(0, MOST + 50))
def test_no_label_is_the_beginning_of_another(count: int) -> None:
    made = labels(count)
    assert len(made) == len(set(made)) == min(count, MOST)
    singles = {label for label in made if len(label) == 1}
    assert all(label[0] not in singles for label in made if len(label) == 2)
    assert len(singles) == count or count > len(LETTERS)
