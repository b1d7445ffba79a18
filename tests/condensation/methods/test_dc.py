"""Gradient matching is the public code's loop, class by class; its distances and its inner network are exact."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from workbench.condensation import GradientMatching, InnerTraining, Mirror, Run, Siamese, condense
from workbench.condensation.making.inner import advance, current
from workbench.condensation.making.networks import Fresh
from workbench.condensation.methods.dc import DISTANCES, class_gradients, cosine_distance, matched, squared_distance
from workbench.data import Dataset

SMALL = {"width": 4, "depth": 2}
GREY = Siamese("color+crop+cutout+scale+rotate")


def run_of(data: Dataset, seed: int = 0) -> Run:
    return Run(data.train, seed=seed, device=torch.device("cpu"))


def public_distance(real, synthetic, kind):
    """The public code's `match_loss` on the gradients of one class."""
    total = torch.zeros((), dtype=torch.float64)
    for r, s in zip(real, synthetic, strict=True):
        if r.ndim == 1:  # biases, and the scales of norms
            continue
        if kind == "cosine":
            a, b = r.reshape(r.shape[0], -1), s.reshape(s.shape[0], -1)
            total = total + (1 - (a * b).sum(-1) / (a.norm(dim=-1) * b.norm(dim=-1) + 0.000001)).sum()
        else:
            total = total + ((r - s).square() if kind == "squared" else (r - s).abs()).sum()
    return total


@pytest.mark.parametrize("architecture", [("convnet", SMALL), ("mlp", {"width": 5, "depth": 2, "activation": "tanh"})])
@pytest.mark.parametrize("distance", ["cosine", "squared", "absolute"])
@pytest.mark.parametrize("augment", [None, GREY])
def test_loss_and_gradient_are_those_of_a_loop_over_the_classes(tiny, architecture, distance, augment):
    name, options = architecture
    method = GradientMatching(ipc=2, real_batch=5, distance=distance, augment=augment, network=name, options=options)
    run = run_of(tiny)
    synthetic = method.start(run)
    loss = next(method.losses(run, synthetic))
    (gradient,) = torch.autograd.grad(loss, synthetic.pixels)

    network = run.network(name, **options).requires_grad_(True)
    parameters = list(network.parameters())
    pixels = synthetic.pixels.detach().clone().requires_grad_()
    real, generator = run.real(5), run.generator("augment")
    expected = torch.zeros((), dtype=torch.float64)
    for c in range(3):
        theirs, ours = real[c], pixels[2 * c : 2 * c + 2]
        if augment is not None:
            change = augment.shared(generator)
            theirs, ours = change(theirs), change(ours)
        target = torch.autograd.grad(F.cross_entropy(network(theirs), torch.full((5,), c)), parameters)
        reached = torch.autograd.grad(
            F.cross_entropy(network(ours), torch.full((2,), c)), parameters, create_graph=True
        )
        expected = expected + public_distance(target, reached, distance)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, pixels)[0])


@pytest.mark.parametrize("distance", ["cosine", "squared", "absolute"])
def test_distance_of_a_batch_from_itself_is_zero(tiny, distance):
    few = tiny.per_class(4)
    method = GradientMatching(ipc=4, real_batch=4, distance=distance, options={"width": 4, "depth": 1})
    run = run_of(few)
    synthetic = method.start(run)
    loss = next(method.losses(run, synthetic))
    short = 1e-3 if distance == "cosine" else 1e-12  # 1e-6 beside the product of the lengths
    assert abs(loss.item()) < short
    if distance == "squared":
        assert torch.autograd.grad(loss, synthetic.pixels)[0].abs().max() < 1e-14


@given(seed=st.integers(0, 10_000), factor=st.floats(0.01, 100))
def test_cosine_is_blind_to_the_length_of_a_gradient_and_the_squared_distance_is_not(seed, factor):
    generator = torch.Generator().manual_seed(seed)
    s, r = ({"w": torch.randn(2, 3, 4, 5, generator=generator, dtype=torch.float64)} for _ in range(2))
    scaled = {"w": factor * s["w"]}
    near = cosine_distance(s, r)
    assert bool(((near >= 0) & (near <= 2 * 3)).all())
    torch.testing.assert_close(cosine_distance(scaled, r), near, rtol=1e-3, atol=1e-3)  # 1e-6 beside the lengths
    torch.testing.assert_close(cosine_distance(r, scaled), near, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(
        cosine_distance(s, {"w": -s["w"]}), torch.full((2,), 6.0, dtype=torch.float64), rtol=1e-5, atol=0
    )
    if abs(factor - 1) > 0.05:
        assert not torch.allclose(squared_distance(scaled, r), squared_distance(s, r))


def test_classes_do_not_touch_each_other(tiny):
    network = run_of(tiny).network("convnet", **SMALL)
    images = torch.randn(3, 2, 1, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    changed = images.clone()
    changed[1] += 1
    before, after = (class_gradients(network, matched(network), x) for x in (images, changed))
    for name, value in before.items():
        torch.testing.assert_close(value[[0, 2]], after[name][[0, 2]])
        assert not torch.allclose(value[1], after[name][1])


@pytest.mark.parametrize("architecture", ["convnet", "mlp"])
def test_a_class_smaller_than_the_batch_is_matched_as_a_whole(tiny, architecture):
    options = {"width": 4, "depth": 2}
    method = GradientMatching(  # two classes have 15
        ipc=1, real_batch=16, distance="squared", network=architecture, options=options
    )
    losses = []
    for seed in (0, 1):
        run = run_of(tiny, seed)
        synthetic = method.start(run_of(tiny))
        run.network = lambda name, purpose="network", at=None, **o: run_of(tiny).network(name, purpose, at, **o)
        losses.append(next(method.losses(run, synthetic)))
    torch.testing.assert_close(*losses)


def test_head_and_biases_are_left_out(tiny):
    network = run_of(tiny).network("convnet", **SMALL)
    assert matched(network) == ["stage1.conv.weight", "stage2.conv.weight", "head.weight"]
    assert matched(network, head=False) == ["stage1.conv.weight", "stage2.conv.weight"]
    only = run_of(tiny).network("mlp", width=3, depth=1)
    assert matched(only, head=False) == ["hidden.0.0.weight"]


def test_a_network_learns_between_matches_and_is_replaced_after_them(tiny):
    method = GradientMatching(ipc=1, matches=3, training=InnerTraining(steps=2), options=SMALL)
    run, seen = run_of(tiny), []
    synthetic = method.start(run)
    for run.iteration in range(4):
        held = run.memory.get("network")
        seen.append(None if held is None else held["weights"]["head.weight"].clone())
        for loss in method.losses(run, synthetic):
            loss.backward()
    assert seen[0] is None
    assert seen[3] is None  # after three matches the next network is a fresh one
    assert seen[1] is not None
    assert seen[2] is not None
    assert not torch.equal(seen[1], seen[2])


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_the_inner_network_takes_plain_sgd_steps_on_the_synthetic_images(tiny, momentum):
    run = run_of(tiny)
    synthetic = GradientMatching(ipc=2).start(run)
    training = InnerTraining(steps=3, lr=0.1, momentum=momentum)
    network = current(run, Fresh("convnet", SMALL), 0)
    advance(run, network, synthetic, training)
    run.iteration = 1
    again = current(run, Fresh("convnet", SMALL), 1)
    advance(run, again, synthetic, training)

    plain = run_of(tiny).network("convnet", **SMALL).requires_grad_(True)
    optimizer = torch.optim.SGD(plain.parameters(), 0.1, momentum=momentum)
    for _ in range(6):  # all images are one batch, so their order does not matter; the momentum goes on
        optimizer.zero_grad()
        F.cross_entropy(plain(synthetic.pixels.detach()), synthetic.labels).backward()
        optimizer.step()
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(run.memory["network"]["weights"][name], value)


def test_inner_steps_on_real_images_see_no_synthetic_ones(tiny):
    training = InnerTraining(on="real", steps=2, batch=8)
    weights = []
    for shift in (0.0, 1.0):
        run = run_of(tiny)
        synthetic = GradientMatching(ipc=1).start(run)
        with torch.no_grad():
            synthetic.pixels.add_(shift)
        advance(run, current(run, Fresh("convnet", SMALL), 0), synthetic, training)
        weights.append(run.memory["network"]["weights"]["head.weight"])
    assert torch.equal(*weights)


@pytest.mark.parametrize("on", ["synthetic", "real"])
@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_resuming_within_the_life_of_a_network_changes_nothing(tiny, on, norm):
    training = InnerTraining(on=on, steps=2, batch=8, momentum=0.9, weight_decay=1e-3)
    method = GradientMatching(
        ipc=1, matches=4, training=training, real_batch=5, augment=GREY, options={**SMALL, "norm": norm}
    )
    whole = condense(tiny, method, iterations=9, progress=False)
    part = condense(tiny, method, iterations=6, progress=False)
    rest = condense(tiny, method, iterations=9, resume=part, progress=False)
    assert torch.equal(rest.images, whole.images)
    assert torch.equal(rest.loss, whole.loss)


def test_a_mirror_doubles_what_the_network_sees_and_batches_keep_their_size(tiny):
    run = run_of(tiny)
    synthetic = GradientMatching(ipc=2).start(run)
    synthetic.views = (Mirror(),)
    loss = next(GradientMatching(ipc=2, options=SMALL).losses(run, synthetic))
    assert torch.isfinite(loss)
    assert synthetic.by_class(run.generator("view")).shape == (3, 4, 1, 6, 6)


def test_pixels_stay_in_range_when_clamped(tiny):
    made = condense(tiny, GradientMatching(ipc=1, lr=5.0, clamp=True, options=SMALL), iterations=4, progress=False)
    raw = made.images * made.std + made.mean
    assert raw.min() >= -1e-6
    assert raw.max() <= 1 + 1e-6


def test_with_an_augmentation_it_is_called_dsa():
    assert GradientMatching().short == "DC"
    assert GradientMatching(augment=Siamese()).short == "DSA"


def test_bad_arguments_name_what_would_do():
    with pytest.raises(ValueError, match="distance is 'l2'; it can be cosine, squared, absolute"):
        GradientMatching(distance="l2")
    with pytest.raises(ValueError, match="matches is 0"):
        GradientMatching(matches=0)
    with pytest.raises(ValueError, match="on is 'both'"):
        InnerTraining(on="both")
    assert set(DISTANCES) == {"cosine", "squared", "absolute"}


def test_short_gradients_are_further_apart_as_in_the_public_code():
    """On a trained network gradients are as short as the 1e-6 that is added to the product of their lengths."""
    short = {"w": torch.full((1, 1, 1, 1), 1e-3, dtype=torch.float64, requires_grad=True)}
    found = cosine_distance(short, {"w": short["w"].detach()})
    torch.testing.assert_close(found, torch.full((1,), 0.5, dtype=torch.float64))
    (slope,) = torch.autograd.grad(found.sum(), short["w"])
    torch.testing.assert_close(slope, torch.full_like(slope, -1e-6 * 1e-3 / (2e-6) ** 2))
