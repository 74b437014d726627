"""What the fleet says about itself, measured and exported: traffic, engines, machine, loop lag, series, HTTP.

Owns rolling numbers over ledger rows and engine scrapes, and the endpoints `/metrics`, `/status`, `/dashboard`
and `/health/*`. Never acts on a fleet, never writes a file, never computes a quantile by itself.
"""
