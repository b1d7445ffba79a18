"""The chain of distillation steps on any engine, its filters and its paths."""
