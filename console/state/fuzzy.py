"""Fuzzy matching for filters and the palette. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence


def fuzzy_score(query: str, text: str) -> int | None:
    """How well `query`'s letters occur in order in `text`, or None. Higher is better; a whole word beats scatter."""
    needle, hay = query.casefold(), text.casefold()
    if not needle:
        return 0
    exact = hay.find(needle)
    if exact >= 0:
        return 1000 - min(exact, 500) + (200 if exact == 0 or not hay[exact - 1].isalnum() else 0)
    score, at, last = 0, 0, -2
    for letter in needle:
        found = hay.find(letter, at)
        if found < 0:
            return None
        score += 8 if found == last + 1 else 4 if found == 0 or not hay[found - 1].isalnum() else 1
        last, at = found, found + 1
    return score


def letters_in_order(word: str) -> re.Pattern[str]:
    """Finds the letters of `word` in order within one word of a text, e.g. `l0` in `llm-0`.

    Each letter is looked for at its next place only, so that no text makes it search twice over."""
    first, others = word[:1], word[1:]
    return re.compile(re.escape(first) + "".join(rf"[^\s{re.escape(one)}]*{re.escape(one)}" for one in others))


class Ranking:
    """Texts in the order in which they match what is typed; each letter more only looks at what still matched."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._hays = [text.casefold() for text in texts]
        self._query = ""
        self._matching: list[int] = list(range(len(texts)))

    def narrow(self, query: str) -> list[int]:
        """Positions of the texts that match, the best first; equal ones as they were given."""
        needle = query.casefold()
        if not needle.startswith(self._query):
            self._matching = list(range(len(self._hays)))
        self._query = needle
        scored = [(fuzzy_score(needle, self._hays[at]), at) for at in self._matching]
        kept = [(-score, at) for score, at in scored if score is not None]
        self._matching = [at for _, at in kept]
        return [at for _, at in sorted(kept)]
