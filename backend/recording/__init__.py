"""The flight recorder: the fleet's snapshots, one a second, on disk; and the files in which a span of them is shared.

Knows the contract (and settings' words) only: the daemon writes with it, commands and the console read with it.
"""
