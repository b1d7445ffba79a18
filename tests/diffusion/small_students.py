"""What the tests of score distillation share: schedules, exact Gaussians, quadrature and a tiny student."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from workbench.diffusion import VE, GaussianMixture, NetworkDenoiser, RectifiedFlow, Trig, VPCosine, VPLinear

DOUBLE = torch.float64
SCHEDULES = [RectifiedFlow(), Trig(), VPLinear(), VPCosine(), VE(5.0)]
each_schedule = pytest.mark.parametrize("plan", SCHEDULES, ids=lambda plan: type(plan).__name__)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def gaussian(mean, std, schedule):
    """A normal distribution in one dimension as a denoiser."""
    one = torch.ones(1, dtype=DOUBLE)
    return GaussianMixture(one.view(1, 1) * mean, one.view(1, 1) * std**2, one, schedule=schedule)


def hermite(count):
    """Nodes and weights for an expectation over a standard normal."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(count)
    return torch.tensor(nodes), torch.tensor(weights / math.sqrt(2 * math.pi))


def small(dimensions=2, seed=0, schedule=None, kind="velocity"):
    """A tiny network, double precision."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Sequential(nn.Linear(dimensions + 1, 16), nn.SiLU(), nn.Linear(16, dimensions))

        def forward(self, x, t):
            return self.inner(torch.cat([x, t[:, None]], 1))

    net = Net().double()
    values = normal(sum(p.numel() for p in net.parameters()), seed=seed) * 0.5
    nn.utils.vector_to_parameters(values, net.parameters())
    return NetworkDenoiser(net, schedule or RectifiedFlow(), (dimensions,), kind)
