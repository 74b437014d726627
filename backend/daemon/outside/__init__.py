"""Drills that kill the daemon: run by an observer process of their own, followed and shown by the daemons."""
