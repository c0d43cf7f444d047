"""Settings that every test shares."""

import os
import sys

from hypothesis import HealthCheck, settings

_RECURSION_LIMIT = sys.getrecursionlimit()

import py_ecc  # noqa: E402, F401  (comes with eth_account; importing it raises the recursion limit to 100,000)

# Back to what every process of the product has: with py_ecc's limit, any C code that recurses can overflow its stack.
sys.setrecursionlimit(_RECURSION_LIMIT)

# Times are never asserted, and a busy machine must not fail a property. In CI every run tries the same examples.
settings.register_profile("local", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile(
    "ci", settings.get_profile("local"), derandomize=True, database=None, print_blob=True
)
settings.load_profile("ci" if os.environ.get("CI") else "local")
