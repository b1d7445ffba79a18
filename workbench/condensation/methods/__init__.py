"""A file per method of distilling data sets, under its usual short name."""
