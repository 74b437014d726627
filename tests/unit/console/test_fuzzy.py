"""Letters in order find what is meant, best first, and each letter more looks only at what still matches."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from console.state.fuzzy import Ranking, fuzzy_score

TEXTS = ("Restart the replica", "Drain", "Show requests", "Restart all of the workload")
LETTERS = st.text(alphabet="abR ", max_size=4)


def test_the_beginning_of_a_word_comes_before_letters_that_are_scattered() -> None:
    found = Ranking(("Write a note", "Drain the replica", "Raise the limit", "Nothing")).narrow("RA")
    assert found == [2, 1, 0], "a word's beginning, within a word, scattered"


def test_equal_ones_stay_in_their_order_and_nothing_typed_shows_all() -> None:
    ranking = Ranking(TEXTS)
    assert ranking.narrow("") == [0, 1, 2, 3]
    assert ranking.narrow("restart") == [0, 3]
    assert ranking.narrow("drain") == [1], "typed anew, all of them are looked at again"


@given(st.lists(LETTERS, max_size=6), LETTERS, LETTERS)
def test_typing_on_or_anew_finds_what_a_fresh_look_finds(texts: list[str], first: str, second: str) -> None:
    ranking = Ranking(texts)
    for query in (first, first + second, second):
        scored = [(fuzzy_score(query, text), at) for at, text in enumerate(texts)]
        expected = [at for score, at in sorted(((-s, at) for s, at in scored if s is not None))]
        assert ranking.narrow(query) == expected
