"""A file per method of distilling language models, under its usual short name."""
