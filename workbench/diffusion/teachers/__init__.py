"""Models that know: exact ones, trained ones, and pipelines of others."""
