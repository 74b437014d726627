"""Who holds a TCP port. Owns one look-up, for error sentences."""

from __future__ import annotations

import psutil


def owner_of_port(port: int) -> str:
    """`haproxy (pid 123)`, or `another program` where the owner cannot be seen. Reads all of /proc: not on the loop."""
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.Error:
        return "another program"
    for connection in connections:
        if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port:
            if connection.pid is None:
                return "a program of another user"
            try:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
            except psutil.Error:
                return f"pid {connection.pid}"
    return "another program"
