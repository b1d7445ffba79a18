"""The explorer of distilled images: what they are, how they came to be, and what they teach."""

from widgets.distilled.explorer import DistilledImagesExplorer

__all__ = ["DistilledImagesExplorer"]
