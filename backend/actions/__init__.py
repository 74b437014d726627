"""The one gateway for every verb: preview, guard, journal, deed, result, undo."""
