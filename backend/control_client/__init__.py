"""The client of the control API: queries, actions and streams over a unix socket.

Owns the wire's client side. Never starts a daemon, never retries an action.
"""

from backend.control_client.client import ControlClient

__all__ = ["ControlClient"]
