"""The load balancer in front of the replicas: HAProxy, its configuration, runtime API and access log.

Owns haproxy.cfg, the edge's log files and every word HAProxy is told. Never carries a request itself, never
decides what runs: the reconciler asks, through backend.contract.edge.Edge.
"""
