"""What one run may change of a scenario and stay the same drill: its seed, how much its samples must prove, how late
its load generator may be. Pure."""

from __future__ import annotations

import math

import msgspec

from backend.contract.errors import UsageError
from backend.drills.bounds import samples_for
from backend.drills.check import Compiled


def adjust(
    compiled: Compiled,
    *,
    seed: int | None = None,
    confidence: float | None = None,
    max_generator_lag_s: float | None = None,
) -> Compiled:
    """The scenario with another seed, with samples cut to what proves the success ratio `confidence` (0.99: 299), and
    with another limit of the generator's lag (p99, seconds).

    The digest stays: the run records these values beside it. Raises UsageError for a ratio outside 0.5..1, and for a
    limit that is none.
    """
    scenario = compiled.scenario
    if seed is not None:
        scenario = msgspec.structs.replace(scenario, seed=seed)
    if confidence is not None:
        if not 0.5 <= confidence < 1.0:
            raise UsageError(f"A confidence of {confidence:g} makes no sample.", "Give 0.5 to 0.9999, e.g. 0.99.")
        most = samples_for(confidence)
        phases = (
            msgspec.structs.replace(
                phase,
                hold=msgspec.structs.replace(
                    phase.hold, min_requests={load: min(n, most) for load, n in phase.hold.min_requests.items()}
                ),
            )
            for phase in scenario.phases
        )
        scenario = msgspec.structs.replace(scenario, phases=tuple(phases))
    if max_generator_lag_s is not None:
        if not 0 < max_generator_lag_s < math.inf:
            raise UsageError(f"A lag of {max_generator_lag_s:g} s is no limit.", "Give more than 0, e.g. 50ms.")
        safety = msgspec.structs.replace(scenario.safety, max_generator_lag=max_generator_lag_s)
        scenario = msgspec.structs.replace(scenario, safety=safety)
    return msgspec.structs.replace(
        compiled, scenario=scenario, confidence=confidence, max_generator_lag_s=max_generator_lag_s
    )
