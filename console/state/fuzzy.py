"""Fuzzy matching for filters and the palette. Pure."""

from __future__ import annotations


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


def row_matches(query: str, text: str) -> bool:
    """Every word of `query` occurs in `text`: as it stands, or its letters in order within one word of `text`."""
    hay = text.casefold()
    words = hay.split()
    for part in query.casefold().split():
        if part in hay:
            continue
        if not any(_in_order(part, word) for word in words):
            return False
    return True


def _in_order(letters: str, word: str) -> bool:
    at = 0
    for letter in letters:
        at = word.find(letter, at) + 1
        if not at:
            return False
    return True
