"""Data to distil with: every loader returns a `Dataset` of normalised tensors, with nothing hidden in it."""

from workbench.data.assemble import from_arrays
from workbench.data.dataset import Dataset, Loader, Split
from workbench.data.loading import load, names
from workbench.data.sampling import DataError

__all__ = ["DataError", "Dataset", "Loader", "Split", "from_arrays", "load", "names"]
