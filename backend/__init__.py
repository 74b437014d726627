"""Trinity's backend: everything that works without a screen."""
