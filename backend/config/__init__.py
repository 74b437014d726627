"""Settings, trinity.yaml, and where files, sockets and bundled parts live."""
