"""In-memory parts that obey the contract: a fleet, an edge, a ledger and clocks, for tests of what sits on top."""
