"""The explorer of training records: curves of runs under one cursor."""

from widgets.training.explorer import TrainingExplorer

__all__ = ["TrainingExplorer"]
