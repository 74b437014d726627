"""What is a secret is one thing on every platform: by its name, behind an option, and inside of an address."""

from __future__ import annotations

import pytest

from backend.fleet.masking import MASK, is_secret, masked_lines, masked_words

SECRET = (
    *("API_KEY", "api-key", "DB_PASSWORD", "MYSQL_PASS", "--requirepass", "PGPASSPHRASE", "A_SECRET", "GITHUB_TOKEN"),
    *("DSN", "OAUTH", "REGISTRY_AUTH", "--basic-auth", "SESSION_ID", "ERLANG_COOKIE", "SALT", "TLS_CERT", "key"),
)
SHOWN = (
    *("MODE", "TOKENIZER", "secretName", "PASSWORD_FILE", "--api-key-file", "KEYBOARD"),
    *("AUTHOR", "CERTAINTY", "cert-manager.io/cluster-issuer", "PASSENGERS", "--port"),
)


@pytest.mark.parametrize("name", SECRET)
def test_values_of_secrets_are_masked(name: str) -> None:
    assert is_secret(name, "abc")
    assert masked_lines([f"{name}=abc", f"{name}="]) == [f"{name}={MASK}", f"{name}="]


@pytest.mark.parametrize("name", SHOWN)
def test_what_only_sounds_like_a_secret_is_shown(name: str) -> None:
    assert not is_secret(name, "abc")
    assert masked_lines([f"{name}=abc"]) == [f"{name}=abc"]


@pytest.mark.parametrize("name", ["MAX_TOKENS", "API_TOKENS", "TOKEN_LIMIT", "--max-tokens"])
def test_a_number_of_tokens_is_shown_and_tokens_are_not(name: str) -> None:
    assert masked_lines([f"{name}=32768", f"{name}=4k", f"{name}=ab12"]) == [
        *(f"{name}=32768", f"{name}=4k", f"{name}={MASK}"),
    ]
    assert masked_words(["--max-tokens", "512", "--max-tokens", "ab12"]) == [
        "--max-tokens",
        "512",
        "--max-tokens",
        MASK,
    ]


def test_passwords_inside_of_addresses_and_behind_options_are_masked() -> None:
    assert masked_lines(["URL=pg://u:pw@h/db", "X"]) == [f"URL=pg://u:{MASK}@h/db", "X"]
    assert masked_words(["serve", "--password", "abc", "--token=t", "-p", "80", "pg://u:pw@h"]) == [
        *("serve", "--password", MASK, f"--token={MASK}", "-p", "80", f"pg://u:{MASK}@h"),
    ]
