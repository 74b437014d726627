"""Trinity's console: the command line and the terminal screen."""
