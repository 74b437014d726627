"""For all tests: how examples are generated, and that none is judged by its time.

Which examples there are is a matter of the test alone: not of luck, of what an earlier run had found, or of which
modules of ours other tests have loaded before, so that what is red is red again. `--hypothesis-profile=search` looks
for others.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers

settings.register_profile(
    "gate",
    deadline=None,  # machines are noisy
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=True,
    database=None,
    print_blob=True,
)
settings.register_profile("search", settings.get_profile("gate"), derandomize=False, max_examples=1000)
settings.load_profile("gate")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("hypothesis_profile", None) in (None, "gate"):
        # Examples take constants from the modules of ours that are loaded: other ones in each process of xdist.
        assert callable(providers._get_local_constants)
        providers._get_local_constants = lambda: providers._local_constants
