"""The explorer of similarity maps: two networks, layer by layer."""

from widgets.features.explorer import FeatureSimilarityExplorer

__all__ = ["FeatureSimilarityExplorer"]
