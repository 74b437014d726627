"""What runs inside a replica: the llama.cpp server process, its health endpoints, its model file.

Owns a replica's inside only. Never looks at other replicas, the edge or the daemon.
"""
