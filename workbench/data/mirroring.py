"""Data in which left and right occur equally often, made of any images."""

import dataclasses

import torch

from workbench.data.dataset import Dataset, Split
from workbench.data.sampling import DataError


def mirrored(data: Dataset, *, chance: float = 0.5, seed: int = 0) -> Dataset:
    """The same images, each replaced by its mirror image with probability `chance`, in both splits.

    With the default, an image and its mirror image are equally likely: the bilateral equivalence that paper 086
    assumes, which photographs have and digits have not.

    Parameters
    ----------
    data
        Images, of shape (channels, height, width).
    chance
        In 0..1.
    seed
        Of the choice.

    Raises
    ------
    DataError
        The data are no images, or `chance` is outside 0..1.

    Examples
    --------
    >>> import workbench as wb
    >>> mirrored(wb.data.load("digits"))
    Dataset('mirrored digits', 1,200 train + 597 test × 1×8×8, 10 classes, cpu)
    """
    if len(data.shape) != 3:
        raise DataError(f"{data.name} has inputs of shape {data.shape}; only images have a left and a right")
    if not 0 <= chance <= 1:
        raise DataError(f"chance={chance} must be in 0..1")
    generator = torch.Generator().manual_seed(seed)

    def turned(split: Split) -> Split:
        flip = (torch.rand(len(split), generator=generator) < chance).to(split.device)
        inputs = torch.where(flip[:, None, None, None], split.inputs.flip(-1), split.inputs)
        return dataclasses.replace(split, inputs=inputs)

    return Dataset(f"mirrored {data.name}", turned(data.train), turned(data.test))
