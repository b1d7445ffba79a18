"""Every exact line of paper 086's card, in float64, on the hosts themselves."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.func import functional_call, grad

import workbench as wb
from workbench.condensation import (
    FYI,
    MTT,
    DistributionMatching,
    Experts,
    Mirror,
    Run,
    Synthetic,
    asymmetry,
    condense,
    evaluate_mirrored,
)
from workbench.condensation.making.inner import InnerTraining, _batches
from workbench.condensation.methods.dc import GradientMatching
from workbench.condensation.trajectories.student import Student

SMALL = {"width": 8, "depth": 1}
seeds = st.integers(0, 2**31 - 1)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def images(n=6, seed=0, side=8):
    return torch.randn(n, 1, side, side, generator=generator(seed), dtype=torch.float64)


@pytest.fixture(scope="module")
def few():
    return wb.data.load("digits").per_class(6).to(dtype=torch.float64)


@pytest.fixture(scope="module")
def hosts(few):
    experts = Experts(count=2, epochs=3, network="mlp", options=SMALL, lr=0.05, batch_size=20)
    trained = experts.train(few, device="cpu", progress=False)
    network = {"network": "mlp", "options": SMALL}
    return {
        "DM": DistributionMatching(ipc=2, real_batch=4, **network),
        "DC": GradientMatching(ipc=2, real_batch=4, matches=2, lr=0.01, **network),
        "MTT": MTT(ipc=2, steps=3, span=1, latest=2, lr_images=3.0, experts=trained),
    }


def loss_of(host, few, pixels=None, views=()):
    """The host's first loss at some pixels, and its gradient for them; where there are more than the host has, the
    labels start over.
    """
    run = Run(few.train, seed=0, device=torch.device("cpu"))
    synthetic = host.start(run)
    if pixels is not None:
        learned = {name: leaf for name, leaf in synthetic.leaves.items() if name != "pixels"}
        labels = synthetic.hard_labels.repeat(len(pixels) // len(synthetic.hard_labels))
        synthetic = Synthetic(pixels, labels, 10, views=(*synthetic.views, *views), **learned)
    loss = next(iter(host.losses(run, synthetic)))
    return loss.detach(), torch.autograd.grad(loss, synthetic.pixels)[0], synthetic


@given(seeds, st.integers(1, 5))
@settings(max_examples=20, deadline=None)
def test_the_view_doubles_images_and_labels_and_flips_the_last_axis(seed, n):
    x, labels = images(n, seed), torch.arange(n)
    seen, said = Mirror()(x, labels, generator())
    assert seen.shape == (2 * n, 1, 8, 8)
    assert torch.equal(said, torch.cat([labels, labels]))
    assert torch.equal(seen[:n], x)
    assert torch.equal(seen[n:], x.flip(3))
    assert torch.equal(Mirror()(seen[n:], labels, generator())[0][n:], x)  # flipping twice


@pytest.mark.parametrize("host", ["DM", "DC", "MTT"])
def test_which_side_is_stored_does_not_matter(hosts, few, host):
    """Card (b): the loss stays as it is when any stored image is replaced by its mirror image."""
    pixels = images(20)
    loss, gradient, _ = loss_of(FYI(hosts[host]), few, pixels, (Mirror(),))
    turned = pixels.clone()
    turned[[0, 3, 19]] = pixels[[0, 3, 19]].flip(-1)
    again, other, _ = loss_of(FYI(hosts[host]), few, turned, (Mirror(),))
    assert again == pytest.approx(loss.item(), rel=1e-9)
    assert torch.allclose(other[[0, 3, 19]].flip(-1), gradient[[0, 3, 19]], rtol=1e-7, atol=1e-12)
    without, _, _ = loss_of(hosts[host], few, turned)
    assert without != pytest.approx(loss_of(hosts[host], few, pixels)[0].item(), rel=1e-9)


@pytest.mark.parametrize("host", ["DM", "DC", "MTT"])
def test_the_gradient_comes_through_both_copies(hosts, few, host):
    """Card (d): g₁ + flip(g₂), the gradients on the two copies being those of the host on twice the images."""
    pixels = images(20)
    loss, gradient, _ = loss_of(FYI(hosts[host]), few, pixels, (Mirror(),))
    doubled, both, _ = loss_of(hosts[host], few, torch.cat([pixels, pixels.flip(-1)]))
    assert doubled == pytest.approx(loss.item(), rel=1e-9)
    assert torch.allclose(gradient, both[:20] + both[20:].flip(-1), rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("host", ["DM", "DC", "MTT"])
def test_symmetric_images_gain_nothing(hosts, few, host):
    """Card (e): of images that are their own mirror images FYI's loss is the host's, and so is the gradient, of which
    FYI keeps the symmetric part only.
    """
    pixels = images(20) + images(20).flip(-1)
    loss, gradient, _ = loss_of(FYI(hosts[host]), few, pixels, (Mirror(),))
    alone, other, _ = loss_of(hosts[host], few, pixels)
    assert loss == pytest.approx(alone.item(), rel=1e-9)
    assert torch.allclose(gradient, (other + other.flip(-1)) / 2, rtol=1e-7, atol=1e-12)


def test_a_network_blind_to_flips_learns_as_from_the_images_alone():
    """Card (c): if f(flip x) = f(x), the mean gradient on θ over the doubled batch is that over the batch."""
    network = wb.models.build("mlp", ((1, 8, 8), 3), width=8).double()
    parameters = {name: value.detach() for name, value in network.named_parameters()}

    def loss(parameters, x, labels):
        logits = functional_call(network, parameters, (x + x.flip(-1),))
        return torch.nn.functional.cross_entropy(logits, labels)

    x, labels = images(6), torch.arange(6) % 3
    alone = grad(loss)(parameters, x, labels)
    doubled = grad(loss)(parameters, *Mirror()(x, labels, generator()))
    for name, value in alone.items():
        assert torch.allclose(value, doubled[name], rtol=1e-10, atol=1e-14)


def test_a_mirrored_real_batch_has_the_same_target():
    """Card (f): the mean feature over FYI(real) is that over FYI(flip(real))."""
    network = wb.models.build("convnet", ((1, 8, 8), 3), width=8).double()
    phi = wb.models.observe(network, network.penultimate)

    def target(real):
        seen, _ = Mirror()(real, torch.zeros(len(real)), generator())
        return phi(seen).features[network.penultimate].mean(0)

    real = images(10)
    assert torch.allclose(target(real), target(real.flip(-1)), rtol=1e-12)
    assert not torch.allclose(phi(real).features["flatten"].mean(0), phi(real.flip(-1)).features["flatten"].mean(0))


def test_batches_hold_pairs_and_half_as_many_stored_images(hosts, few):
    """Card, Method 1 and 2: mini-batches of inner steps are doubled, the stored ones among them halved."""
    run = Run(few.train, seed=0, device=torch.device("cpu"))
    synthetic = FYI(hosts["MTT"]).start(run)
    student = Student(run, synthetic, run.made["network"], batch=8)
    sweep = [student.examples(n) for n in range(5)]
    for x, labels in sweep:
        assert x.shape[0] == len(labels) == 8
        assert torch.equal(x[4:], x[:4].flip(-1))
        assert torch.equal(labels[4:], labels[:4])
    stored = torch.cat([x[:4] for x, _ in sweep])
    assert torch.equal(stored.flatten(1).sum(1).sort().values, synthetic.pixels.flatten(1).sum(1).sort().values)
    inner = list(_batches(run, synthetic, InnerTraining(steps=5, batch=8)))
    assert all(torch.equal(x[4:], x[:4].flip(-1)) and len(x) == 8 for x, _ in inner)
    whole = Student(run, synthetic, run.made["network"])
    assert len(whole.examples(0)[0]) == 40


@pytest.mark.parametrize("host", ["DM", "DC", "MTT"])
def test_only_one_side_is_stored_and_the_host_is_kept(hosts, few, host):
    alone = condense(few, hosts[host], iterations=3, snapshots=2, progress=False)
    made = condense(few, FYI(hosts[host]), iterations=3, snapshots=2, progress=False)
    assert made.images.shape == alone.images.shape
    assert made.view == {"mirror": True}
    assert made.method == f"FYI-{alone.method}"
    assert made.name == f"FYI({alone.name})"
    assert (made.spec, made.step_size is None) == (alone.spec, alone.step_size is None)
    assert torch.equal(made.snapshots[0], alone.snapshots[0])  # the same start
    assert made.settings["host"]["ipc"] == 2
    part = condense(few, FYI(hosts[host]), iterations=1, snapshots=2, progress=False)
    assert torch.equal(condense(few, FYI(hosts[host]), iterations=3, resume=part, progress=False).images, made.images)


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_asymmetry(seed):
    x = images(4, seed)
    assert 0 < asymmetry(x) <= 2
    assert asymmetry(x) == pytest.approx(asymmetry(x.flip(-1)))
    assert asymmetry(3 * x) == pytest.approx(asymmetry(x))
    assert asymmetry(x + x.flip(-1)) == 0
    assert asymmetry(x - x.flip(-1)) == pytest.approx(2)
    assert asymmetry(torch.zeros(1, 1, 8, 8)) == 0


def test_the_same_images_are_tested_with_and_without_copies(few):
    made = condense(few, FYI(DistributionMatching(ipc=1, real_batch=4, network="mlp")), iterations=1, progress=False)
    options = {"seeds": 2, "epochs": 3, "references": False, "progress": False, "options": {"mlp": {"width": 8}}}
    found = evaluate_mirrored(made, few.to(dtype=torch.float32), "mlp", batch_size=8, **options)
    assert list(found) == ["copies", "plain", "random flip", "doubled batch"]
    steps = {test: int(one.curve_steps["distilled"][-1]) for test, one in found.items()}
    assert steps == {"copies": 9, "plain": 6, "random flip": 6, "doubled batch": 6}
    alone = wb.condensation.evaluate(made.replace(view={}), few.to(dtype=torch.float32), "mlp", batch_size=8, **options)
    assert torch.equal(alone.accuracy, found["plain"].accuracy)
    with pytest.raises(ValueError, match="tests has 'mirror'"):
        evaluate_mirrored(made, few, tests=("mirror",))
    with pytest.raises(ValueError, match="augment must be left out"):
        evaluate_mirrored(made, few, augment="shift")
