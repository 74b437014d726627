"""The words of Trinity as data: rows, specs, statuses, protocols and control messages.

Owns the shared vocabulary. Imports nothing else of ours, does no I/O, keeps no state.
Times are seconds (`_s`), instants are POSIX wall seconds (`ts`) or monotonic seconds (`mono_s`),
sizes are bytes (`_bytes`), ratios are 0..1 unless the name ends in `_percent`.
"""
