"""Settings that every test shares."""

import os

from hypothesis import HealthCheck, settings

# Times are never asserted, and a busy machine must not fail a property. In CI every run tries the same examples.
settings.register_profile("local", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile(
    "ci", settings.get_profile("local"), derandomize=True, database=None, print_blob=True
)
settings.load_profile("ci" if os.environ.get("CI") else "local")
