"""A file per method of distilling samplers, under its usual short name."""
