"""The fault proxy: a program of its own between edge and one replica, neutral until it is ordered otherwise.

Owns faults of network and HTTP (`contract.faults.ProxyFault`) and their time limits. It outlives the daemon, needs no
privilege, and never decides which replica is chosen or restarted.
"""
