"""Small images in float64 that every condensation test can share."""

import pytest
import torch

from workbench.data import Dataset, Split


@pytest.fixture(scope="session")
def tiny() -> Dataset:
    """Three classes of 6×6 images, 16, 15 and 15 to train on, 10 each to test."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(3, 1, 6, 6, generator=generator, dtype=torch.float64)

    def split(n: int) -> Split:
        labels = torch.arange(n) % 3
        inputs = centres[labels] + torch.randn(n, 1, 6, 6, generator=generator, dtype=torch.float64)
        mean = torch.full((1, 1, 1), 0.5, dtype=torch.float64)
        return Split(inputs, labels, ("a", "b", "c"), mean, mean / 2)

    return Dataset("tiny", split(46), split(30))
