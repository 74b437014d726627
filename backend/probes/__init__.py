"""Probes: one question to a program, and what a run of answers means.

Owns asking (HTTP, TCP, command) and the kubelet's thresholds. Never acts on an answer: callers do.
"""
