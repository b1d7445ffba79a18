"""A file per method of distilling what perceives, under its usual short name."""
