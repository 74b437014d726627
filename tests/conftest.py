"""For all tests: machines are noisy, so generated examples are judged by what they show, never by their time."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("noisy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("noisy")
