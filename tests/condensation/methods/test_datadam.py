"""DataDAM is the public code's loss; its attention is blind to what it should be, and without attention it is DM."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from workbench import models
from workbench.condensation import DataDAM, DistributionMatching, Run, Siamese, condense
from workbench.condensation.methods.datadam import attended, attention, attention_loss
from workbench.models import Outputs, observe

SMALL = {"width": 4, "depth": 2}
GREY = Siamese("color+crop+cutout+scale+rotate")


def run_of(data, seed=0):
    return Run(data.train, seed=seed, device=torch.device("cpu"))


def maps_of(seed, n=3, c=4, h=3, w=5):
    return torch.randn(n, c, h, w, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def reference(method, run, pixels):
    """The loss as the public code computes it, class by class."""
    network = run.network("convnet", **method.options)
    look = observe(network, ("stage1.act", "flatten"))
    real, generator = run.real(method.real_batch), run.generator("augment")
    total = torch.zeros((), dtype=torch.float64)
    for c in range(run.classes):
        sides = [real[c], pixels[method.ipc * c : method.ipc * (c + 1)]]
        if method.augment is not None:
            change = method.augment.shared(generator)
            sides = [change(side) for side in sides]
        seen = [look(side).features for side in sides]
        z = [(s["stage1.act"].abs() ** method.power).sum(1).flatten(1) for s in seen]
        a = [(each / each.norm(dim=1, keepdim=True)).mean(0) for each in z]
        e = [s["flatten"].mean(0) for s in seen]
        total = total + 100 * ((a[0] - a[1]) ** 2).sum() + 100 * 0.01 * ((e[0] - e[1]) ** 2).sum()
    return total


@pytest.mark.parametrize("power", [1.0, 4.0])
@pytest.mark.parametrize("augment", [None, GREY])
def test_loss_and_gradient_are_those_of_a_loop_over_the_classes(tiny, power, augment):
    method = DataDAM(ipc=2, real_batch=5, power=power, augment=augment, options=SMALL)
    run = run_of(tiny)
    synthetic = method.start(run)
    (loss,) = method.losses(run, synthetic)
    (gradient,) = torch.autograd.grad(loss, synthetic.pixels)
    pixels = synthetic.pixels.detach().clone().requires_grad_()
    expected = reference(method, run, pixels)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, pixels)[0])


def test_without_attention_it_is_distribution_matching(tiny):
    common = {"ipc": 2, "real_batch": 5, "augment": GREY, "options": SMALL}
    gradients = []
    for method in (DataDAM(attention=0.0, task_balance=1.0, scale=1.0, **common), DistributionMatching(**common)):
        run = run_of(tiny)
        synthetic = method.start(run)
        (loss,) = method.losses(run, synthetic)
        gradients.append(torch.autograd.grad(loss, synthetic.pixels)[0])
    torch.testing.assert_close(*gradients)


def test_loss_and_gradient_are_zero_where_synthetic_and_real_are_the_same_images(tiny):
    few = tiny.per_class(4)
    run = run_of(few)
    method = DataDAM(ipc=4, real_batch=4, options=SMALL)
    synthetic = method.start(run)
    (loss,) = method.losses(run, synthetic)
    assert loss.item() < 1e-20
    assert torch.autograd.grad(loss, synthetic.pixels)[0].abs().max() < 1e-12


@given(seed=st.integers(0, 10_000), power=st.sampled_from([1.0, 2.0, 4.0]), factor=st.floats(0.01, 100))
def test_attention_has_unit_length_and_is_blind_to_factor_order_and_sign_of_channels(seed, power, factor):
    F = maps_of(seed)
    a = attention(F, power)
    torch.testing.assert_close(a.norm(dim=1), torch.ones(3, dtype=torch.float64))
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(4, generator=generator)
    signs = torch.randint(2, (4, 1, 1), generator=generator) * 2 - 1
    torch.testing.assert_close(attention(factor * F, power), a)
    torch.testing.assert_close(attention(F[:, order], power), a)
    torch.testing.assert_close(attention(F * signs, power), a)
    torch.testing.assert_close(attention(F.flip(3), power), a.view(3, 3, 5).flip(2).flatten(1))


def test_a_large_power_leaves_the_strongest_place():
    F = maps_of(0)
    strongest = F.abs().amax(1).flatten(1).argmax(1)
    sharp = attention(F / F.abs().amax((1, 2, 3), keepdim=True), 400.0)
    torch.testing.assert_close(sharp, torch.nn.functional.one_hot(strongest, 15).double(), atol=1e-3, rtol=0)


def test_power_one_after_relu_is_the_sum_of_channels():
    F = maps_of(0).relu()
    z = F.sum(1).flatten(1)
    torch.testing.assert_close(attention(F), z / z.norm(dim=1, keepdim=True))


@pytest.mark.parametrize("norm", ["instance", "group"])
def test_classes_do_not_touch_each_other(tiny, norm):
    run = run_of(tiny)
    look = observe(run.network("convnet", norm=norm, **SMALL), "stage1.act")
    images = torch.randn(6, 1, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    changed = images.clone()
    changed[2:4] += 1  # the second of three classes
    target = look(run.real(2).flatten(0, 1))
    before, after = (attention_loss(look(x), target, ("stage1.act",), 3) for x in (images, changed))
    torch.testing.assert_close(before[[0, 2]], after[[0, 2]])
    assert not torch.allclose(before[1], after[1])


def test_images_are_normalised_before_the_class_mean():
    bright = torch.zeros(2, 1, 1, 2, dtype=torch.float64)
    bright[0, 0, 0, 0], bright[1, 0, 0, 1] = 100.0, 1.0  # one class looks left loudly and right quietly
    even = torch.ones(2, 1, 1, 2, dtype=torch.float64)
    loss = attention_loss(Outputs(bright, {"l": bright}), Outputs(even, {"l": even}), ("l",), 1)
    torch.testing.assert_close(loss, torch.tensor([2 * (0.5 - 0.5**0.5) ** 2], dtype=torch.float64))


def test_attention_is_read_at_all_activations_but_the_last():
    assert attended(models.build("convnet", ((1, 16, 16), 10), depth=3)) == ("stage1.act", "stage2.act")
    assert attended(models.build("convnet", ((1, 8, 8), 10), depth=1)) == ("stage1.act",)
    with pytest.raises(ValueError, match="ResNet has no activation layers"):
        attended(models.build("resnet8", ((1, 8, 8), 10)))


def test_loss_falls_and_resuming_changes_nothing(tiny):
    method = DataDAM(ipc=1, lr=0.1, real_batch=8, augment=GREY, options=SMALL)
    whole = condense(tiny, method, iterations=60, progress=False)
    assert whole.curves["attention"][-15:].mean() < 0.8 * whole.curves["attention"][:15].mean()
    rest = condense(
        tiny, method, iterations=60, resume=condense(tiny, method, iterations=20, progress=False), progress=False
    )
    assert torch.equal(rest.images, whole.images)
