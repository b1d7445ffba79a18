"""What `sample` takes for times, and what it refuses before it begins."""

import numpy as np
import pytest
import torch
from torch import nn

from workbench.diffusion import SamplingError, ring, sample

NOISE = torch.randn(3, 2, generator=torch.Generator().manual_seed(0))


def test_times_may_be_a_list():
    given = [0.9, 0.5, 0.0]
    assert torch.equal(sample(ring(), NOISE, steps=given), sample(ring(), NOISE, steps=torch.tensor(given).double()))


@pytest.mark.parametrize("steps", [0, -1, 10**9, 1.5, float("nan"), True, "many", [0.5, 0.9]])
def test_steps_that_make_no_sense_are_refused(steps):
    with pytest.raises(SamplingError, match="steps"):
        sample(ring(), NOISE, steps=steps)


@pytest.mark.parametrize("noise", [0, NOISE.numpy(), NOISE.long(), np.zeros((3, 2))])
def test_noise_is_a_tensor_of_floats(noise):
    with pytest.raises(SamplingError, match=r"noise is .*; standard normal noise is needed, such as torch.randn"):
        sample(ring(), noise)


def test_a_bare_network_is_told_what_to_be_wrapped_in():
    with pytest.raises(SamplingError, match="model is a Linear without a schedule and a shape; wrap a network in Net"):
        sample(nn.Linear(2, 2), NOISE)
