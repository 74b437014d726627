"""Which view stands behind which name; each module is loaded when its view is first shown."""

from __future__ import annotations

from console.tui.views.base import View


def build(name: str) -> View:
    """A new view. Raises KeyError for a name that is not in `strip.VIEWS`."""
    raise KeyError(name)
