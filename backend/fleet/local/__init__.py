"""The local driver: a small kubelet over shims on this machine."""

from backend.fleet.local.driver import LocalFleet

__all__ = ["LocalFleet"]
