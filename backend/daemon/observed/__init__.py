"""Edges that a platform runs (our chart's, our compose file's): what they log and count, as our own edge's is known."""
