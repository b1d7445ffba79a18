"""A file per method of distilling networks into networks, under its usual short name."""
