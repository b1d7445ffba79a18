"""The hand-over: who makes which step, as a sweep computes it, as it travels, and as it is told."""
