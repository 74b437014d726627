"""The client of the control API: queries, actions and streams over a unix socket (or HTTP).

Owns the wire's client side. Never starts a daemon, never retries an action; `httpx` is imported at first use.
"""

from backend.control_client.client import ControlClient

__all__ = ["ControlClient"]
