"""A file per method, under its usual short name."""
