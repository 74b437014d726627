"""What of a platform's objects a reader must not see: values of variables, options and addresses that are secrets.

Owns what counts as a secret on every platform, and how an object is written as YAML. Pure. The shapes of a platform's
objects are its driver's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import yaml

MASK: Final = "<masked>"
_SECRET: Final = re.compile(
    r"passw|passphrase|pass(?:$|[-_.])|secret|token|api[-_.]?key|private[-_.]?key|access[-_.]?key|credential|auth[-_.]?key|"
    r"encryption[-_.]?key|bearer|dsn|connection[-_.]?string|(?:^|[-_.])pwd(?:$|[-_.])|(?:^|[-_.])key$|"
    r"(?:^-*|_)(?:o?auth|cert|cookie|salt|session)(?:$|_)|-(?:auth|cookie)$",
    re.IGNORECASE,
)
_NOT_SECRET: Final = re.compile(r"tokenizer|secretname|(?:file|path|dir)$", re.IGNORECASE)
_COUNT: Final = re.compile(r"token(?:s|_?limit|_?count)|(?:max|num|min)[-_]?token", re.IGNORECASE)
"""What may be a number of tokens as well as tokens: its value tells."""
_NUMBER: Final = re.compile(r"\s*[-+]?[\d_.,]+[kKmM]?\s*")
_FLAG: Final = re.compile(r"^(-{1,2}[\w.-]+)(=|\s+)(.*)$", re.DOTALL)
_IN_URL: Final = re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s/:@]*:)[^\s/@]+@", re.IGNORECASE)


def is_secret(name: str, value: str) -> bool:
    """Whether that value of what has that name is better not shown."""
    if _SECRET.search(name) is None or _NOT_SECRET.search(name) is not None:
        return False
    return _COUNT.search(name) is None or _NUMBER.fullmatch(value) is None


def masked_value(name: str, value: str) -> str:
    """A variable's or an annotation's value for reading; in what is no secret, passwords inside of addresses go."""
    return MASK if value and is_secret(name, value) else _IN_URL.sub(rf"\1{MASK}@", value)


def masked_lines(environment: Sequence[str]) -> list[str]:
    """`NAME=value` lines for reading."""
    parts = (line.partition("=") for line in environment)
    return [name + divider + masked_value(name, value) for name, divider, value in parts]


def masked_words(words: Sequence[Any]) -> list[Any]:
    """argv: values of flags that name a secret are masked, `--api-key=x` and `--api-key x`."""
    shown: list[Any] = []
    flag = ""
    for word in words:
        if not isinstance(word, str):
            shown.append(word)
            flag = ""
            continue
        match = _FLAG.match(word)
        if flag and not word.startswith("-"):
            shown.append(masked_value(flag, word))
        elif match is not None:
            shown.append(f"{match[1]}{match[2]}{masked_value(match[1], match[3])}")
        else:
            shown.append(_IN_URL.sub(rf"\1{MASK}@", word))
        flag = word if match is None and word.startswith("-") else ""
    return shown


def to_yaml(value: object) -> str:
    """Of what was masked already."""
    return yaml.dump(value, Dumper=yaml.SafeDumper, sort_keys=False, allow_unicode=True, width=110)
