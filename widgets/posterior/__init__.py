"""The explorer of self-distilled Gaussian processes."""

from widgets.posterior.explorer import PosteriorExplorer

__all__ = ["PosteriorExplorer"]
