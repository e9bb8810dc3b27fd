"""Hypothesis profiles: `dev` (default), `ci` (the same draws every time), `thorough` (ten times the examples).

`mutation` is for mutation testing, where every mutant runs the tests: few examples, the same every time.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings

quiet = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile("dev", deadline=None, suppress_health_check=quiet)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True, suppress_health_check=quiet)
settings.register_profile("thorough", deadline=None, max_examples=1000, suppress_health_check=quiet)
settings.register_profile(
    "mutation",
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=15,
    phases=[Phase.generate],  # a mutant is dead at its first failure: nothing to shrink or explain
    suppress_health_check=list(HealthCheck),
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))
