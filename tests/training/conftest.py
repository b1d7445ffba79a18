"""Small data and small networks in float64, the same for every training test."""

import pytest
import torch

from workbench.data import Dataset, Split
from workbench.models import build


@pytest.fixture(scope="session")
def tiny() -> Dataset:
    """Three classes of 6×6 images that a network can tell apart: 46 to train on (no batch divides them), 30 to test."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(3, 1, 6, 6, generator=generator, dtype=torch.float64)

    def split(n: int) -> Split:
        labels = torch.arange(n) % 3
        inputs = centres[labels] + torch.randn(n, 1, 6, 6, generator=generator, dtype=torch.float64)
        mean = torch.zeros(1, 1, 1, dtype=torch.float64)
        return Split(inputs, labels, ("a", "b", "c"), mean, mean + 1)

    return Dataset("tiny", split(46), split(30))


@pytest.fixture(scope="session")
def make(tiny: Dataset):
    """``make(name, seed)``: a small network for `tiny` in float64."""
    sizes = {
        "mlp": {"width": 8},
        "convnet": {"width": 8, "depth": 1},
        "batchnorm": {"width": 8, "depth": 1, "norm": "batch"},
        "vit": {"width": 8, "depth": 1, "patch": 3, "heads": 2},
        "resnet8": {"width": 4},
        "mixer": {"width": 8, "depth": 1, "patch": 3},
    }

    def build_one(name: str, seed: int = 0):
        return build("convnet" if name == "batchnorm" else name, tiny, seed=seed, **sizes[name]).double()

    return build_one


@pytest.fixture(scope="session")
def same_bits():
    """A check that two records agree bit for bit in weights and curves."""
    return _same_bits


@pytest.fixture(scope="session")
def close():
    """A check that two records agree up to a tolerance in weights and curves."""
    return _close


def _same_bits(a, b) -> None:
    """Two records agree bit for bit in weights, curves and checkpoint."""
    assert a.state.keys() == b.state.keys()
    for name in a.state:
        assert torch.equal(a.state[name], b.state[name]), name
    assert a.curves.keys() == b.curves.keys()
    for name in a.curves:
        assert torch.equal(a.curves[name].nan_to_num(-1), b.curves[name].nan_to_num(-1)), name


def _close(a, b, tolerance: float = 1e-5) -> None:
    """Two records agree up to `tolerance` in weights and curves."""
    for name in b.state:
        torch.testing.assert_close(a.state[name], b.state[name], rtol=tolerance, atol=tolerance)
    assert a.curves.keys() == b.curves.keys()
    for name in b.curves:
        torch.testing.assert_close(a.curves[name], b.curves[name], rtol=tolerance, atol=tolerance, equal_nan=True)
