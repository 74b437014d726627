"""The environment's proxy is used where kubectl uses it: never for this machine itself, and not for what NO_PROXY
names.
"""

from __future__ import annotations

import pytest

from backend.fleet.kube.proxies import proxy_for

ENV = {"HTTPS_PROXY": "http://proxy.corp:3128", "http_proxy": "other:8080"}


@pytest.mark.parametrize(
    ("server", "no_proxy", "proxy"),
    [
        ("https://api.example:6443", "", "http://proxy.corp:3128"),
        ("http://api.example", "", "http://other:8080"),
        ("https://127.0.0.1:40321", "", None),
        ("https://127.9.0.1", "", None),
        ("https://[::1]:6443", "", None),
        ("https://localhost:6443", "", None),
        ("https://10.1.2.3:6443", "192.168.0.0/16, 10.0.0.0/8", None),
        ("https://11.1.2.3:6443", "10.0.0.0/8", "http://proxy.corp:3128"),
        ("https://10.1.2.3:6443", "10.1.2.3", None),
        ("https://10.1.2.3:6443", "10.1.2.3:443", "http://proxy.corp:3128"),
        ("https://[fd00::1]:6443", "fd00::1", None),
        ("https://a.corp:6443", "corp", None),
        ("https://a.corp:6443", ".corp", None),
        ("https://a.corp:6443", "*.corp", None),
        ("https://corp:6443", ".corp", "http://proxy.corp:3128"),
        ("https://notcorp:6443", "corp", "http://proxy.corp:3128"),
        ("https://a.corp:6443", "a.corp:6443", None),
        ("https://a.corp:6443", "a.corp:443", "http://proxy.corp:3128"),
        ("https://a.corp", "*", None),
        ("https://a.corp", "10.0.0.0/99,bad/entry", "http://proxy.corp:3128"),
    ],
)
def test_a_server_is_reached_by_the_proxy_that_kubectl_would_take(
    server: str, no_proxy: str, proxy: str | None
) -> None:
    assert proxy_for(server, {**ENV, "NO_PROXY": no_proxy}) == proxy


def test_without_a_proxy_the_way_is_straight() -> None:
    assert proxy_for("https://api.example", {}) is None
