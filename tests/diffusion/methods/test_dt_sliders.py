"""A slider trained on a base moves what the base makes as its scale says, and a student that began from it alike."""

import copy

import pytest
import torch
from torch import nn

from workbench.diffusion import (
    NetworkDenoiser,
    RectifiedFlow,
    VPLinear,
    denoiser,
    distill,
    regress,
    ring,
    sample,
)
from workbench.diffusion.methods.dt_sliders import response, slider
from workbench.diffusion.methods.tdd import TDD

SCALES = (-1.0, 0.0, 1.0)


class Affine(nn.Module):
    """u(x, t, c) = W x + b_c: what a slider of it must become is known."""

    def __init__(self, seed=0):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.body = nn.Linear(3, 3)
        self.classes = nn.Linear(3, 3, bias=False)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator)
        self.double()

    def forward(self, x, t, condition):
        told = torch.eye(3, dtype=x.dtype)[condition.clamp_min(0)] * (condition >= 0).to(x)[:, None]
        return self.body(x) + self.classes(told)


def affine(seed=0):
    return NetworkDenoiser(Affine(seed), RectifiedFlow(), (3,), "velocity", classes=3)


def test_scale_one_adds_what_tells_the_ends_apart():
    """Between two classes, c⁺ − c⁻ = b₁ − b₀ everywhere: the adapter of the class table alone learns it for class 2."""
    base = affine()
    state = copy.deepcopy(base.state_dict())
    adapter = slider(
        base, 1, 0, condition=2, rank=3, alpha=3.0, only="classes", strength=0.5, scales=(1.0,), steps=600, lr=0.03,
        examples=torch.zeros(1, 3), batch=8, progress=False,
    )  # fmt: skip
    assert all(bool((base.state_dict()[name] == value).all()) for name, value in state.items())
    table = base.network.classes.weight
    change = adapter.change("classes.weight")
    torch.testing.assert_close(change[:, 2], 0.5 * (table[:, 1] - table[:, 0]), atol=1e-3, rtol=0)
    assert float(adapter.curves["loss"][-1]) < 1e-6 < float(adapter.curves["loss"][0])


def test_the_same_seed_gives_the_same_slider():
    one, again, other = (
        slider(affine(), 1, 0, steps=3, batch=4, seed=seed, examples=torch.zeros(5, 3), progress=False)
        for seed in (1, 1, 2)
    )
    assert all(bool((one.change(key) == again.change(key)).all()) for key in one.down)
    assert not all(bool((one.change(key) == other.change(key)).all()) for key in one.down)


@pytest.fixture(scope="module")
def moved():
    """A base fitted to a ring, a slider of its radius, and a student distilled from the base."""
    quiet = {"progress": False, "device": "cpu"}
    start = regress(ring(), steps=250, batch=128, **quiet)
    student = distill(ring(), TDD(batch=64), network=start, steps=40, **quiet)
    base = denoiser(start)
    larger = slider(base, ring(radius=1.15), ring(radius=0.85), rank=2, steps=150, batch=128, progress=False)
    return base, denoiser(student), larger


def test_a_slider_moves_base_and_student_alike(moved):
    base, student, larger = moved
    noise = torch.randn(300, 2, generator=torch.Generator().manual_seed(0))
    on_base, on_student = (
        response(model, larger, lambda x: x.norm(dim=1), noise, scales=(-2.0, -1.0, 0.0, 1.0, 2.0), steps=8)
        for model in (base, student)
    )
    for one in (on_base, on_student):
        assert bool((one.diff() > 0.1).all()), "monotone in the scale"
    slopes = [float(one[3] - one[1]) for one in (on_base, on_student)]
    assert 0.4 < slopes[0] < 1.2, (
        "the ends are 0.3 apart and the scales 2; a base of 250 updates knows its ring roughly"
    )
    assert 0.6 < slopes[1] / slopes[0] < 1.6


def test_a_response_leaves_the_model_alone_and_scale_zero_is_it(moved):
    base, _, larger = moved
    noise = torch.randn(20, 2, generator=torch.Generator().manual_seed(0))
    state = copy.deepcopy(base.state_dict())
    zero = response(base, larger, lambda x: x[:, 0], noise, scales=(0.0,), steps=4)
    assert float(zero) == float(sample(base, noise, steps=4)[:, 0].double().mean())
    assert list(base.state_dict()) == list(state)
    assert all(bool((base.state_dict()[name] == value).all()) for name, value in state.items())


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="plus is class 3; this model has 3 classes"):
        slider(affine(), 3, 0)
    with pytest.raises(ValueError, match=r"minus is a model of \(2,\) on VPLinear"):
        slider(affine(), 1, ring(schedule=VPLinear()))
    with pytest.raises(ValueError, match="condition is 7"):
        slider(affine(), 1, 0, condition=7)
    with pytest.raises(ValueError, match="loss became nan at step 1"):
        slider(affine(), 1, 0, examples=torch.full((1, 3), torch.nan), steps=2, progress=False)
