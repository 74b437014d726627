"""Replicas that are ours to keep alive: starts, probes, back-off, restarts and removal, whatever a replica is made of.

`SupervisedFleet` and `Replica` decide; a driver brings the `Starter` that can start, signal and end one program.
"""
