"""Which proxy of the environment leads to a server, by the rules that kubectl follows. Pure; asks nobody.

HTTPS_PROXY or HTTP_PROXY by the server's scheme, none for this machine itself, none for what NO_PROXY names: hosts,
domains (`.corp` only what is below it), addresses, networks (`10.0.0.0/8`), each with a port or without, or `*`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit


def proxy_for(server: str, env: Mapping[str, str]) -> str | None:
    """The proxy's URL; None where the way is straight."""
    parts = urlsplit(server)
    host, port = (parts.hostname or "").rstrip("."), parts.port or (443 if parts.scheme == "https" else 80)
    proxy = _said(env, "HTTPS_PROXY" if parts.scheme == "https" else "HTTP_PROXY")
    if not proxy or not host or _is_here(host) or _passed_by(host, port, _said(env, "NO_PROXY")):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _said(env: Mapping[str, str], name: str) -> str:
    return (env.get(name) or env.get(name.lower()) or "").strip()


def _is_here(host: str) -> bool:
    address = _address(host)
    return host == "localhost" if address is None else address.is_loopback


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return None


def _passed_by(host: str, port: int, listed: str) -> bool:
    return any(_matches(entry.strip().lower(), host.lower(), port) for entry in listed.split(",") if entry.strip())


def _matches(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    address = _address(host)
    if "/" in entry:
        try:
            return address is not None and address in ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
    if _address(entry) is None:
        name, colon, wanted = entry.rpartition(":")
        if colon and wanted.isdecimal():
            if int(wanted) != port:
                return False
            entry = name
    named = _address(entry)
    if named is not None or address is not None:
        return named is not None and named == address
    below = entry.removeprefix("*")
    return host.endswith(below) if below.startswith(".") else host == below or host.endswith(f".{below}")
