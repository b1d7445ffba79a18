"""Masked distillation: the masks' own numbers, that they are fresh where a host asks, and that none changes nothing."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import workbench as wb
from workbench.condensation import FYI, MDT, MTT, DistributionMatching, Experts, Run, condense
from workbench.condensation.making.inner import InnerTraining, _batches
from workbench.condensation.methods.dc import GradientMatching
from workbench.condensation.methods.mdt import Masks, masked
from workbench.condensation.trajectories.student import Student

SMALL = {"width": 8, "depth": 1}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def few():
    return wb.data.load("digits").per_class(6).to(dtype=torch.float64)


@pytest.fixture(scope="module")
def hosts(few):
    experts = Experts(count=2, epochs=3, network="mlp", options=SMALL, lr=0.05, batch_size=20)
    network = {"network": "mlp", "options": SMALL}
    return {
        "DM": DistributionMatching(ipc=2, real_batch=4, **network),
        "DC": GradientMatching(ipc=2, real_batch=4, matches=2, lr=0.01, **network),
        "MTT": MTT(
            ipc=2,
            steps=3,
            span=1,
            latest=2,
            lr_images=3.0,
            experts=experts.train(few, device="cpu", progress=False),
        ),
    }


@given(st.integers(0, 2**31 - 1), st.floats(0, 1))
@settings(max_examples=25, deadline=None)
def test_a_share_of_the_values_is_missing_and_the_others_are_untouched(seed, ratio):
    """Card 112 (g): the mean of a mask is 1 − r within binomial bounds, and there is no factor 1/(1 − r)."""
    x = 1 + torch.rand(20, 3, 16, 16, generator=generator(seed), dtype=torch.float64)
    seen = masked(x, ratio, generator(seed + 1))
    kept = seen != 0
    assert torch.equal(seen[kept], x[kept])
    n = x.numel()
    assert abs(kept.double().mean().item() - (1 - ratio)) <= 5 * (ratio * (1 - ratio) / n) ** 0.5 + 1e-12
    if 0.1 < ratio < 0.9:  # channel by channel, not pixel by pixel
        assert (kept[:, 0] != kept[:, 1]).any()


def test_nothing_and_everything():
    x, g = torch.randn(4, 1, 8, 8), generator()
    before = g.get_state()
    assert masked(x, 0.0, g) is x
    assert torch.equal(g.get_state(), before)  # nothing was drawn
    assert not masked(x, 1.0, g).any()
    with pytest.raises(ValueError, match=r"ratio is 1\.5"):
        masked(x, 1.5, g)
    with pytest.raises(ValueError, match="at 1 nothing of the images is left"):
        MDT(DistributionMatching(), ratio=1.0)


@pytest.mark.parametrize("host", ["DM", "DC", "MTT"])
def test_without_masks_the_host_makes_what_it_makes_alone(hosts, few, host):
    """Card 112 (f)."""
    alone = condense(few, hosts[host], iterations=4, snapshots=5, progress=False)
    made = condense(few, MDT(hosts[host], ratio=0.0), iterations=4, snapshots=5, progress=False)
    assert torch.equal(made.images, alone.images)
    assert torch.equal(made.snapshots, alone.snapshots)
    assert torch.equal(made.loss, alone.loss)
    other = condense(few, MDT(hosts[host], ratio=0.3), iterations=4, snapshots=5, progress=False)
    assert not torch.equal(other.images, alone.images)
    assert torch.equal(other.snapshots[0], alone.snapshots[0])
    assert other.view == {}
    assert other.method == f"MDT-{alone.method}"


def test_masks_are_fresh_at_each_inner_step_and_the_same_when_a_step_is_made_again(hosts, few):
    run = Run(few.train, seed=0, device=torch.device("cpu"))
    synthetic = MDT(hosts["MTT"], ratio=0.3).start(run)
    student = Student(run, synthetic, run.made["network"])
    steps = [student.examples(n)[0] for n in range(4)]
    patterns = {tuple((x == 0).flatten().tolist()) for x in steps}
    assert len(patterns) == 4
    assert torch.equal(student.examples(2)[0], steps[2])
    run.iteration = 1
    assert not torch.equal(student.examples(2)[0], steps[2])
    inner = list(_batches(run, synthetic, InnerTraining(steps=4, batch=256)))
    assert len({(x == 0).sum().item() for x, _ in inner}) > 1


@pytest.mark.parametrize("host", ["DC", "MTT"])
def test_the_gradient_reaches_what_a_mask_shows(hosts, few, host):
    run = Run(few.train, seed=0, device=torch.device("cpu"))
    synthetic = MDT(hosts[host], ratio=0.5).start(run)
    loss = next(iter(MDT(hosts[host], ratio=0.5).losses(run, synthetic)))
    gradient = torch.autograd.grad(loss, synthetic.pixels)[0]
    assert gradient.isfinite().all()
    if host == "DC":  # one step, one mask: the view's own draw
        shown = masked(torch.ones_like(gradient), 0.5, run.generator("view")) != 0
        assert not gradient[~shown].any()
        assert gradient[shown].any()


def test_wrappers_compose(hosts, few):
    made = condense(few, MDT(FYI(hosts["MTT"]), ratio=0.2), iterations=2, progress=False)
    assert made.view == {"mirror": True}
    assert made.name == f"MDT(FYI({getattr(hosts['MTT'], 'name', 'MTT')}))"
    assert made.settings["host"]["host"]["steps"] == 3
    run = Run(few.train, seed=0, device=torch.device("cpu"))
    synthetic = MDT(FYI(hosts["DM"]), ratio=0.2).start(run)
    assert [type(view).__name__ for view in synthetic.views] == ["Mirror", "Masks"]
    seen, _ = synthetic.examples(generator())
    assert not torch.equal(seen[20:] == 0, seen[:20].flip(-1) == 0)  # each copy has a mask of its own
    assert Masks(0.2).copies == 1
