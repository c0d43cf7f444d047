"""Measurements against the targets. Never a test: machines differ, so ratios to a yardstick are reported beside times."""
