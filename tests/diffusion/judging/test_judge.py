"""A judge sees images as a data set has them, and measures what a hand-over makes of images."""

import math

import pytest
import torch

from workbench.data import load
from workbench.diffusion import signed
from workbench.diffusion.judging.judge import judge


@pytest.fixture(scope="module")
def looked():
    return judge(load("digits"), epochs=6)


def test_it_takes_images_from_minus_one_to_one(looked):
    test = looked.data.test
    with torch.no_grad():
        right = looked.network(test.inputs).softmax(1)
    torch.testing.assert_close(looked.probabilities(signed(test)), right, atol=1e-5, rtol=1e-4)
    assert float((right.argmax(1) == test.labels).double().mean()) > 0.9
    assert looked.features(signed(test)).shape == (597, 128)
    with pytest.raises(ValueError, match=r"the judge takes \(n, \(1, 8, 8\)\)"):
        looked.features(torch.zeros(2, 3, 8, 8))


def test_what_it_measures_tells_good_images_from_others(looked):
    train, measures = looked.data.train, looked.measures()
    images, labels = signed(train)[:400], train.labels[:400]
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    assert measures["quality"](images, labels).value > 0.9
    assert measures["quality"](images, (labels + 1) % 10).value < 0.1
    assert measures["frechet"](images, None).value * 5 < measures["frechet"](images + noise, None).value
    even = measures["entropy"](images, None)
    assert even.low <= even.value <= even.high <= 1
    assert even.value > 0.95
    of_one = measures["entropy"](images[labels == 3], None).value
    counts = torch.bincount(looked.probabilities(images[labels == 3]).argmax(1), minlength=10).double()
    p = counts[counts > 0] / counts.sum()
    assert of_one == pytest.approx(float(-(p * p.log()).sum()) / math.log(10))
    assert measures["diversity"](images, None).value > measures["diversity"](images, labels).value
