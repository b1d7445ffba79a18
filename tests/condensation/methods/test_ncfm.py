"""NCFM's discrepancy of characteristic functions, its limits (DM, MMD), and its sampling network."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from workbench.condensation import NCFM, Fresh, Interpolated, Run, Siamese, condense, pretrain
from workbench.condensation.making.plateau import Plateau
from workbench.condensation.methods.ncfm import Sampler, SamplingNet
from workbench.kernels.characteristic import characteristic_function, discrepancy, root

SMALL = {"width": 4, "depth": 1}


def run_of(data, seed=0):
    return Run(data.train, seed=seed, device=torch.device("cpu"))


def sample(seed, n=7, d=3):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def phi(x, t):
    return torch.exp(1j * (t @ x.mT)).mean(1)


@given(seed=st.integers(0, 10_000), alpha=st.floats(0, 1), beta=st.floats(0, 1))
def test_discrepancy_is_the_public_formula(seed, alpha, beta):
    x, y, t = sample(seed), sample(seed + 1, 5), sample(seed + 2, 11)
    R, S = phi(x, t), phi(y, t)
    amplitude = (R.abs() - S.abs()) ** 2
    phase = 2 * (R.abs() * S.abs() - (R * S.conj()).real)
    expected = (alpha * amplitude + beta * phase).clamp(min=0).sqrt()
    torch.testing.assert_close(discrepancy(x, y, t, alpha=alpha, beta=beta), expected, atol=1e-7, rtol=1e-7)


@given(seed=st.integers(0, 10_000))
def test_equal_weights_give_the_distance_of_the_characteristic_functions(seed):
    x, y, t = sample(seed), sample(seed + 1, 5), sample(seed + 2, 11)
    found = discrepancy(x, y, t)
    torch.testing.assert_close(found, (phi(x, t) - phi(y, t)).abs() / math.sqrt(2), atol=1e-14, rtol=0)
    torch.testing.assert_close(found, discrepancy(y, x, t), atol=1e-14, rtol=0)
    assert bool((found <= math.sqrt(2) + 1e-12).all())
    assert discrepancy(x, x.flip(0), t).abs().max() < 1e-15


@given(seed=st.integers(0, 10_000))
def test_characteristic_functions_are_at_most_one_and_one_at_zero(seed):
    re, im = characteristic_function(sample(seed), 5 * sample(seed + 1, 11))
    assert bool((re.square() + im.square() <= 1 + 1e-12).all())
    re, im = characteristic_function(sample(seed), torch.zeros(1, 3, dtype=torch.float64))
    assert (re.item(), im.item()) == (1.0, 0.0)


@given(seed=st.integers(0, 10_000), alpha=st.floats(0.1, 1))
def test_amplitudes_alone_are_blind_to_place(seed, alpha):
    x, y, t = sample(seed), sample(seed + 1, 5), sample(seed + 2, 11)
    moved = discrepancy(x + sample(seed + 3, 1), y - sample(seed + 4, 1), t, alpha=alpha, beta=0.0)
    torch.testing.assert_close(moved, discrepancy(x, y, t, alpha=alpha, beta=0.0), atol=1e-12, rtol=1e-9)


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.0])
def test_over_gaussian_frequencies_the_mean_square_is_the_mmd(sigma):
    """Bochner: E_t |Φ_R − Φ_S|² = MMD² of the Gaussian kernel, t ~ N(0, σ⁻²); the expectation by quadrature, d = 1."""
    x, y = sample(0, d=1), sample(1, 5, d=1) + 0.5
    nodes, weights = np.polynomial.hermite_e.hermegauss(120)
    t = torch.from_numpy(nodes)[:, None] / sigma
    expectation = (torch.from_numpy(weights) * 2 * discrepancy(x, y, t).square()).sum() / math.sqrt(2 * math.pi)

    def kernel(a, b):
        return torch.exp(-((a - b.mT) ** 2) / (2 * sigma**2)).mean()

    torch.testing.assert_close(expectation, kernel(x, x) + kernel(y, y) - 2 * kernel(x, y), atol=1e-10, rtol=1e-8)


def test_at_small_frequencies_it_is_the_distance_of_the_means():
    x, y, t = sample(0), sample(1, 5), sample(2, 200_000)
    gap = x.mean(0) - y.mean(0)
    small = discrepancy(x, y, 1e-5 * t) / 1e-5
    torch.testing.assert_close(small, (t @ gap).abs() / math.sqrt(2), atol=1e-4, rtol=1e-4)
    assert abs(small.mean() * math.sqrt(math.pi) / gap.norm() - 1) < 0.01  # E |⟨t, gap⟩| = ‖gap‖ √(2/π)


def test_gradient_at_equality_is_zero_not_infinite():
    x = sample(0).requires_grad_()
    for alpha, beta in ((0.5, 0.5), (1.0, 0.0), (0.2, 0.8)):
        discrepancy(sample(0), x, sample(2, 11), alpha=alpha, beta=beta).sum().backward()
    assert bool(torch.isfinite(x.grad).all())
    value = torch.tensor([0.0, 4.0, -1.0], requires_grad=True)
    root(value).sum().backward()
    assert root(value).tolist() == [0, 2, 0]
    assert value.grad.tolist() == [0, 0.25, 0]


def test_the_sampling_network_proposes_frequencies_in_the_cube_and_climbs():
    x, y = sample(0, 40, 6), 2 * sample(1, 40, 6)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        sampler = Sampler(SamplingNet(6).double(), lr=0.5, momentum=0.5)
    values = []
    for step in range(40):
        t = sampler.draw(32 * 16, torch.Generator().manual_seed(step))
        assert t.shape == (32, 6)
        assert t.abs().max() <= 1
        loss = discrepancy(x, y, t).mean()
        values.append(loss.item())
        sampler.ascend(loss)
    assert np.mean(values[-5:]) > 1.05 * np.mean(values[:5])


def fresh(**changes):
    settings = {"ipc": 2, "real_batch": 5, "frequencies": 32, "factor": 1, "pretrained": 0, "calibration": 0.0}
    return NCFM(**{**settings, "network": Fresh("convnet", SMALL), **changes})


@pytest.mark.parametrize("sampling", [False, True])
@pytest.mark.parametrize("augment", [None, Siamese("color+crop+cutout", mode="all")])
def test_loss_is_that_of_a_loop_over_the_classes(tiny, sampling, augment):
    """Image gradient and steps of the sampling network, in the order of the public code: class after class."""
    method = fresh(sampling=sampling, augment=augment, updates="all classes at once")
    run = run_of(tiny)
    synthetic = method.start(run)
    loss = next(method.losses(run, synthetic))
    (gradient,) = torch.autograd.grad(loss, synthetic.pixels)

    other = run_of(tiny)
    pixels = method.start(other).pixels
    network, real = other.network("convnet", **SMALL), other.real(5)
    augments, frequencies = other.generator("augment"), other.generator("frequencies")
    sampler, total, found = None, 0.0, torch.zeros_like(pixels)
    for c in range(3):
        sides = [real[c], pixels[2 * c : 2 * c + 2]]
        if augment is not None:
            change = augment.shared(augments)
            sides = [change(side) for side in sides]
        r, s = (network.flatten(network.stage1(side)) for side in sides)
        r, s = (each / each.norm(dim=1, keepdim=True) for each in (r.detach(), s))
        if sampling:
            sampler = sampler or Sampler.of(other, method, s[None])
            t = sampler.draw(32, frequencies).repeat(16, 1)
        else:
            t = torch.randn(32, r.shape[1], generator=frequencies).double()
        mine = 300 * discrepancy(r, s, t).mean()
        found += torch.autograd.grad(mine, pixels, retain_graph=True)[0]
        if sampling:
            sampler.ascend(mine)
        total += mine.item()
    assert loss.item() == pytest.approx(total, rel=1e-9)
    torch.testing.assert_close(gradient, found)
    if sampling:
        for name, value in sampler.state()["weights"].items():
            torch.testing.assert_close(run.memory["sampler"]["weights"][name], value)


def test_calibration_is_cross_entropy_under_the_trained_network(tiny):
    records = pretrain(tiny.train, "convnet", networks=2, epochs=2, options=SMALL)
    method = fresh(network=Interpolated(records), calibration=2.0, augment=None, updates="all classes at once")
    run = run_of(tiny)
    synthetic = method.start(run)
    _, loss = method.losses(run, synthetic)
    trained = run.made["networks"].pick(run).model.double()
    each = [
        torch.nn.functional.cross_entropy(trained(synthetic.pixels[2 * c : 2 * c + 2]), torch.full((2,), c))
        for c in range(3)
    ]
    torch.testing.assert_close(loss, 2.0 * torch.stack(each).sum(), atol=1e-5, rtol=1e-5)


def public_steps(tiny, method, iterations, optimizer):
    """The public code's loop, written out: AdamW on all images after each class; discrepancies, then calibrations."""
    run = run_of(tiny)
    pixels = method.start(run).pixels.detach().clone().requires_grad_()
    stepper = optimizer([pixels])
    for run.iteration in range(iterations):
        pools = run.made["networks"]
        network, trained = pools.draw(run), pools.pick(run).model.double()
        real, generator = run.real(5), run.generator("frequencies")
        for c in range(3):
            r, s = (network.flatten(network.stage1(side)) for side in (real[c], pixels[2 * c : 2 * c + 2]))
            r, s = (side / side.norm(dim=1, keepdim=True) for side in (r.detach(), s))
            t = torch.randn(32, r.shape[1], generator=generator).double()
            R, S = phi(r.to(torch.complex128).real, t), phi(s, t)
            root = ((R.abs() - S.abs()) ** 2 / 2 + (R.abs() * S.abs() - (R * S.conj()).real)).sqrt()
            (pixels.grad,) = torch.autograd.grad(300 * root.mean(), pixels)
            stepper.step()
        for c in range(3):
            labels = torch.full((2,), c)
            loss = torch.nn.functional.cross_entropy(trained(pixels[2 * c : 2 * c + 2]), labels)
            (pixels.grad,) = torch.autograd.grad(loss, pixels)
            stepper.step()
    return pixels.detach()


def trained_pool(tiny):
    return Interpolated(pretrain(tiny.train, "convnet", networks=2, epochs=2, options=SMALL))


def test_images_move_after_each_class_as_in_the_public_code(tiny):
    free = replace(tiny, train=replace(tiny.train, std=tiny.train.std / 1000))
    method = fresh(network=trained_pool(tiny), calibration=1.0, augment=None, lr=0.05)  # within the range of pixels
    ours = condense(free, method, iterations=6, progress=False)
    theirs = public_steps(free, method, 6, lambda p: torch.optim.AdamW(p, 0.05, weight_decay=5e-4))
    torch.testing.assert_close(ours.images, theirs, rtol=1e-8, atol=1e-8)
    together = condense(free, replace(method, updates="all classes at once"), iterations=6, progress=False)
    assert (together.images - theirs).norm() > 0.1 * (theirs - ours.at(0).images).norm()


def test_steps_that_add_up_over_classes_are_the_same_either_way(tiny):
    """Plain descent moves the images of the class alone; AdamW, whose step does not add up, all of them."""
    made = {}
    for updates in ("class by class", "all classes at once"):
        run = run_of(tiny)
        method = fresh(augment=None, updates=updates)
        synthetic = method.start(run)
        plain = torch.optim.SGD([synthetic.pixels], 0.01)
        for loss in method.losses(run, synthetic):
            (synthetic.pixels.grad,) = torch.autograd.grad(loss, synthetic.pixels)
            plain.step()
        made[updates] = synthetic.pixels.detach(), run.logged["discrepancy"]
    torch.testing.assert_close(*(images for images, _ in made.values()))
    assert len({round(value, 9) for _, value in made.values()}) == 1


@pytest.mark.parametrize("sampling", [False, True])
def test_resuming_changes_nothing(tiny, sampling):
    method = NCFM(
        ipc=1, real_batch=5, frequencies=32, sampling=sampling, pretrained=2, epochs=1, patience=2, options=SMALL
    )
    whole = condense(tiny, method, iterations=12, progress=False)
    rest = condense(
        tiny, method, iterations=12, resume=condense(tiny, method, iterations=5, progress=False), progress=False
    )
    assert torch.equal(rest.images, whole.images)
    assert torch.equal(rest.loss, whole.loss)
    assert whole.checkpoint["memory"]["plateau"]["factor"] < 1  # and the learning rate had been lowered
    assert whole.view == {"tiles": 2}


def test_the_learning_rate_falls_as_pytorch_lowers_it():
    generator = torch.Generator().manual_seed(0)
    losses = torch.rand(60, generator=generator) + torch.linspace(1, 0, 60)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=3)
    ours = Plateau({}, 3)
    for loss in losses.tolist():
        theirs.step(loss)
        ours.note(loss)
        assert ours.factor == optimizer.param_groups[0]["lr"]
    assert ours.factor < 1


def test_bad_arguments_name_what_would_do():
    with pytest.raises(ValueError, match=r"calibration is 1\.0, but the networks are not trained"):
        NCFM(pretrained=0)
    with pytest.raises(ValueError, match=r"calibration is 1\.0, but the networks are not trained"):
        NCFM(network=Fresh())
    with pytest.raises(ValueError, match="updates is 'jointly'; it can be 'class by class' or 'all classes at once'"):
        NCFM(updates="jointly")
    with pytest.raises(ValueError, match="frequencies is 16; the sampling network"):
        NCFM(sampling=True, frequencies=16)
