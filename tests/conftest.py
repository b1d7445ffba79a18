"""Settings that all tests share."""

from hypothesis import settings

# Timings on a shared machine say nothing about correctness; the seed is fixed so that a run can be repeated.
settings.register_profile("workbench", deadline=None, max_examples=25, derandomize=True)
settings.load_profile("workbench")
