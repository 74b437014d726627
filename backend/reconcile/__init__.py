"""Wanted state, leases, the plan and the one loop that acts on it. Knows fleet and edge only as protocols."""
