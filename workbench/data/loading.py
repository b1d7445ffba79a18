"""`load`: a dataset by its name, or by the path of your own images."""

import os
from typing import Any

import torch

from workbench.data.dataset import Dataset
from workbench.data.digits import digit_pairs, digits
from workbench.data.sampling import DataError

_LOADERS = {"digits": digits, "digit-pairs": digit_pairs}


def names() -> tuple[str, ...]:
    """Names that `load` knows."""
    return tuple(_LOADERS)


def load(
    name: str | os.PathLike = "digits",
    root: str | os.PathLike | None = None,
    *,
    seed: int = 0,
    device: torch.device | str = "cpu",
    **options: Any,
) -> Dataset:
    """Load a dataset by name."""
    if name not in _LOADERS:
        raise DataError(f"name={name!r} is not one of {', '.join(names())}")
    return _LOADERS[str(name)](seed=seed, device=device, **options)
