"""One module a view; each lays out its panels for every size of terminal."""
