"""Drivers: how replicas live in one place (this machine, Docker, Kubernetes). They never know the edge."""
