"""What is a secret is one thing on every platform: by its name, behind an option, and inside of an address."""

from __future__ import annotations

import pytest

from backend.fleet.masking import MASK, is_secret_name, masked_lines, masked_words

SECRET = (
    *("API_KEY", "api-key", "DB_PASSWORD", "MYSQL_PASS", "--requirepass", "PGPASSPHRASE", "A_SECRET", "GITHUB_TOKEN"),
    *("DSN", "OAUTH", "REGISTRY_AUTH", "--basic-auth", "SESSION_ID", "ERLANG_COOKIE", "SALT", "TLS_CERT", "key"),
)
SHOWN = (
    *("MODE", "MAX_TOKENS", "TOKEN_LIMIT", "TOKENIZER", "secretName", "PASSWORD_FILE", "--api-key-file", "KEYBOARD"),
    *("AUTHOR", "CERTAINTY", "cert-manager.io/cluster-issuer", "PASSENGERS", "--port"),
)


@pytest.mark.parametrize("name", SECRET)
def test_values_of_secrets_are_masked(name: str) -> None:
    assert is_secret_name(name)
    assert masked_lines([f"{name}=abc", f"{name}="]) == [f"{name}={MASK}", f"{name}="]


@pytest.mark.parametrize("name", SHOWN)
def test_what_only_sounds_like_a_secret_is_shown(name: str) -> None:
    assert not is_secret_name(name)
    assert masked_lines([f"{name}=abc"]) == [f"{name}=abc"]


def test_passwords_inside_of_addresses_and_behind_options_are_masked() -> None:
    assert masked_lines(["URL=pg://u:pw@h/db", "X"]) == [f"URL=pg://u:{MASK}@h/db", "X"]
    assert masked_words(["serve", "--password", "abc", "--token=t", "-p", "80", "pg://u:pw@h"]) == [
        *("serve", "--password", MASK, f"--token={MASK}", "-p", "80", f"pg://u:{MASK}@h"),
    ]
