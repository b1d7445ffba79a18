"""Leave-one-out influence: the same as training without the image, and the hat matrix where that is known."""

import copy

import pytest
import torch
from torch import nn

from workbench import models
from workbench.condensation.judging.influence import leave_one_out
from workbench.data import Split
from workbench.training import fit, losses


def split(n, classes=3, shape=(1, 4, 4), seed=0):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(n, *shape, generator=generator, dtype=torch.float64)
    zero = torch.zeros(1, 1, 1, dtype=torch.float64)
    return Split(inputs, torch.arange(n) % classes, tuple("abcdef"[:classes]), zero, zero + 1)


def network(name="mlp", **options):
    return models.build(name, ((1, 4, 4), 3), seed=4, width=6, depth=1, **options).double()


@pytest.mark.parametrize("name", ["mlp", "convnet"])
def test_equals_training_without_the_image(name):
    few, test = split(6), split(9, seed=1)
    settings = {"lr": 0.05, "momentum": 0.9}
    influence, whole = leave_one_out(network(name), few, test, steps=15, **settings)

    def trained(rows):
        record = fit(
            network(name), few.take(rows), steps=15, optimizer="sgd", schedule="constant", batch_size=6,
            progress=False, **settings,
        )  # fmt: skip
        with torch.no_grad():
            return nn.functional.cross_entropy(record.model(test.inputs), test.labels, reduction="none")

    everything = trained(list(range(6)))
    torch.testing.assert_close(whole, everything)
    for i in range(6):
        without = trained([j for j in range(6) if j != i])
        torch.testing.assert_close(influence[i], without - everything)


def test_an_image_without_gradient_has_no_influence():
    # A softmax regression learns nothing from an image of zeros once its bias is fixed.
    torch_linear = nn.Sequential(nn.Flatten(), nn.Linear(16, 3, bias=False)).double()
    few = split(4)
    few = Split(few.inputs * torch.tensor([1.0, 1.0, 0.0, 1.0]).view(4, 1, 1, 1), few.labels, few.classes, few.mean,
                few.std)  # fmt: skip
    # Dividing by the number kept changes the step size, so it is kept the same by a second image without gradient.
    twice = few.take([0, 1, 2, 3, 2])
    influence, _ = leave_one_out(torch_linear, twice, split(5, seed=1), steps=10)
    torch.testing.assert_close(influence[2], influence[4])
    only, whole = leave_one_out(torch_linear, twice, split(5, seed=1), steps=10, lr=0.01 * 4 / 5)
    # Without image 2 the mean is over 4: at 4/5 of the rate that run is the run on everything at the full rate.
    _, full = leave_one_out(torch_linear, twice, split(5, seed=1), steps=10, lr=0.01)
    reduced, _ = leave_one_out(torch_linear, twice.take([0, 1, 3, 2]), split(5, seed=1), steps=10, lr=0.01 * 4 / 5)
    torch.testing.assert_close(only[2] + whole, full)
    assert reduced.abs().max() > 0


def test_examples_of_one_image_leave_together():
    few, test = split(6), split(5, seed=1)
    owner = torch.tensor([0, 1, 2, 0, 1, 2])
    influence, _ = leave_one_out(network(), few, test, owner=owner, steps=8)
    assert influence.shape == (3, 5)
    alone, _ = leave_one_out(network(), few.take([0, 3, 1, 4, 2, 5]), test, owner=owner.sort().values, steps=8)
    torch.testing.assert_close(influence, alone)


def test_one_hot_soft_labels_are_hard_labels():
    few, test = split(5), split(5, seed=1)
    hard = leave_one_out(network(), few, test, steps=8)
    one_hot = nn.functional.one_hot(few.labels, 3).double()
    soft = leave_one_out(network(), few, test, soft=one_hot, steps=8)
    torch.testing.assert_close(hard, soft)
    blurred, _ = leave_one_out(network(), few, test, soft=0.8 * one_hot + 0.2 / 3, steps=8)
    assert not torch.allclose(blurred, hard[0])


def test_least_squares_is_the_hat_matrix():
    generator = torch.Generator().manual_seed(0)
    X = torch.linalg.qr(torch.randn(12, 4, generator=generator, dtype=torch.float64)).Q * 12**0.5
    y = torch.randn(12, generator=generator, dtype=torch.float64)
    zero = torch.zeros((), dtype=torch.float64)
    data = Split(X, y, (), zero, zero + 1)
    linear = nn.Linear(4, 1, bias=False).double()
    influence, whole = leave_one_out(
        linear, data, data, loss=losses.mean_squared_error, steps=400, lr=0.1, momentum=0.5
    )
    H = X @ torch.linalg.solve(X.T @ X, X.T)
    residual = y - H @ y
    left_out = residual / (1 - H.diagonal())  # y_i − f_{−i}(x_i)
    torch.testing.assert_close(whole, residual**2)
    torch.testing.assert_close(influence.diagonal() + whole, left_out**2)


def test_nothing_outside_changes_and_watch_can_stop():
    own, few = network(), split(4)
    before = copy.deepcopy(own.state_dict())
    shares = []

    def watch(share):
        shares.append(share)
        if len(shares) == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        leave_one_out(own, few, few, steps=10, watch=watch)
    assert shares == [0.1, 0.2, 0.3]
    assert all(torch.equal(before[name], value) for name, value in own.state_dict().items())
    with pytest.raises(ValueError, match="at least two"):
        leave_one_out(own, few.take([0]), few)
