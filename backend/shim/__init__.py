"""The shim: one small process that owns one program, and the client that talks to it.

Owns starting, output, exit record, memory limit and listening sockets of one program. It never decides whether
a replica should exist, never probes it, and outlives the daemon that asked for it.
"""
