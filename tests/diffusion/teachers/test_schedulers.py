"""Every scheduler of diffusers that `sampling` takes ends where its own loop ends; what it cannot do is refused."""

import sys
import types

import numpy as np
import pytest
import torch
from torch import nn

from workbench.diffusion import VE, RectifiedFlow, sample
from workbench.diffusion.sampling.rules import Heun, SamplingError
from workbench.diffusion.teachers.pipelines import from_diffusers, sampling, times

diffusers = pytest.importorskip("diffusers")
STEPS = 8


class Network(nn.Module):
    """Smooth in state and time, called as those of diffusers are."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(16, 16, generator=generator) / 4)
        self.config = types.SimpleNamespace(in_channels=1, sample_size=4)

    def forward(self, x, timestep, return_dict=True):
        clock = torch.as_tensor(timestep, dtype=torch.float64).reshape(-1, 1)
        clock = clock / 150 if float(clock.max()) > 5 else clock
        flat = x.flatten(1).double()
        out = (0.8 * flat + 0.4 * torch.tanh(flat @ self.weight.double() + torch.sin(clock))).view_as(x).to(x.dtype)
        return types.SimpleNamespace(sample=out) if return_dict else (out,)


NETWORK = Network().requires_grad_(requires_grad=False)
NOISE = torch.randn(3, 1, 4, 4, generator=torch.Generator().manual_seed(1))


def theirs(scheduler, noise=NOISE):
    scheduler.set_timesteps(STEPS)
    x = noise * float(getattr(scheduler, "init_noise_sigma", 1.0))
    for t in scheduler.timesteps:
        scaled = scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x
        x = scheduler.step(NETWORK(scaled, t).sample, t, x).prev_sample
    return x


def ours(scheduler, dtype=torch.float32):
    model, how = from_diffusers(NETWORK, scheduler), sampling(scheduler, STEPS)
    schedule, first = model.schedule, how["steps"][0]
    start = NOISE.double() / schedule.sigma(
        first
    )  # they begin with noise of their own size, we with σ of the first time
    if isinstance(schedule, VE):
        start = start * float(scheduler.init_noise_sigma)
    elif not isinstance(schedule, RectifiedFlow) and not type(scheduler).__name__.startswith(("DDIM", "DPM")):
        start = start * float(scheduler.init_noise_sigma) * schedule.alpha(first)
    return sample(model, start.to(dtype), **how)


def same(scheduler):
    expected = theirs(scheduler)
    # Their Euler and Heun hold the state in units of the data, where float32 rounds by the largest σ.
    levels = getattr(scheduler, "sigmas", None)
    rounding = 0.0 if levels is None else 8 * torch.finfo(torch.float32).eps * float(levels.max())
    rounding = rounding if "Euler" in type(scheduler).__name__ or "Heun" in type(scheduler).__name__ else 0.0
    gap = float((ours(scheduler) - expected).abs().max() / expected.abs().max())
    assert gap < 1e-4 + rounding, gap


KINDS = ("epsilon", "sample", "v_prediction")
BETAS = ("linear", "scaled_linear", "squaredcos_cap_v2")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("betas", BETAS)
@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("DDIMScheduler", {"clip_sample": False}),
        ("DDIMScheduler", {"clip_sample": False, "set_alpha_to_one": False}),
        ("EulerDiscreteScheduler", {}),
        ("EulerDiscreteScheduler", {"use_karras_sigmas": True}),
        ("HeunDiscreteScheduler", {}),
        ("HeunDiscreteScheduler", {"use_karras_sigmas": True}),
        ("DPMSolverMultistepScheduler", {}),
    ],
)
def test_tables(name, options, kind, betas, spacing):
    given = {"prediction_type": kind, "beta_schedule": betas, "timestep_spacing": spacing}
    scheduler = getattr(diffusers, name)(**given, **options)
    rounds = betas == "squaredcos_cap_v2" and spacing == "linspace" and options.get("use_karras_sigmas")
    if name == "DDIMScheduler" and spacing == "linspace":
        with pytest.raises(ValueError, match="goes to other times than it visits next: use 'trailing'"):
            sampling(scheduler, STEPS)
    elif rounds:
        with pytest.raises(ValueError, match=r"tells the network other \(rounded\) times"):
            sampling(scheduler, STEPS)
    else:
        same(scheduler)


class Double:
    """A library, but whoever asks it for single precision gets double: schedulers name float32 themselves."""

    def __init__(self, library):
        self.library, self.float32 = library, library.float64

    def __getattr__(self, name):
        return getattr(self.library, name)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("betas", BETAS)
@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("name", ["EulerDiscreteScheduler", "HeunDiscreteScheduler"])
def test_in_double_precision_nothing_is_left_of_the_difference(monkeypatch, name, kind, betas, spacing):
    """On cosine tables, of which the largest σ is 2e4, `same` allows for float32: here is what it would hide."""
    module = sys.modules[getattr(diffusers, name).__module__]
    monkeypatch.setattr(module, "torch", Double(torch))
    monkeypatch.setattr(module, "np", Double(np))
    scheduler = getattr(diffusers, name)(prediction_type=kind, beta_schedule=betas, timestep_spacing=spacing)
    expected = theirs(scheduler, NOISE.double())
    found = ours(scheduler, torch.float64)
    assert expected.dtype == found.dtype == scheduler.sigmas.dtype == torch.float64
    # Between the entries of a table they interpolate σ, we λ: what is left at the fractional times of "linspace".
    allowed = 1e-4 if spacing == "linspace" else 1e-7
    assert float((found - expected).abs().max() / expected.abs().max()) < allowed


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("betas", BETAS)
def test_zero_terminal_noise_ratio(kind, betas):
    scheduler = diffusers.DDIMScheduler(
        prediction_type=kind, beta_schedule=betas, rescale_betas_zero_snr=True, clip_sample=False,
        timestep_spacing="trailing",
    )  # fmt: skip
    if kind == "epsilon":
        with pytest.raises(ValueError, match="'epsilon' where the last ᾱ is 0"):
            sampling(scheduler, STEPS)
    else:
        same(scheduler)


@pytest.mark.parametrize("options", [{}, {"shift": 3.0}, {"use_karras_sigmas": True}, {"use_beta_sigmas": True}])
def test_flow_matching_by_euler(options):
    same(diffusers.FlowMatchEulerDiscreteScheduler(**options))


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_flow_matching_by_heun(shift):
    same(diffusers.FlowMatchHeunDiscreteScheduler(shift=shift))


@pytest.mark.parametrize("name", ["EDMEulerScheduler", "EDMDPMSolverMultistepScheduler"])
@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("sigmas", ["karras", "exponential"])
def test_edm(name, kind, sigmas):
    same(getattr(diffusers, name)(prediction_type=kind, sigma_schedule=sigmas))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}, r"other \(rounded\) times"),
        ("DPMSolverMultistepScheduler", {"solver_order": 3}, "solver_order=3, which no rule here does"),
        ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}, "algorithm_type='sde-dpmsolver"),
        ("DDIMScheduler", {}, "DDIMScheduler has clip_sample=True, which no rule here does; pass clip_sample=False"),
        ("DPMSolverSinglestepScheduler", {}, "DPMSolverSinglestepScheduler makes steps that no rule here makes"),
        ("PNDMScheduler", {}, "PNDMScheduler makes steps that no rule"),
        ("LCMScheduler", {}, "LCMScheduler makes steps that no rule"),
        ("UniPCMultistepScheduler", {}, "UniPCMultistepScheduler makes steps that no rule"),
        ("DEISMultistepScheduler", {}, "DEISMultistepScheduler makes steps that no rule"),
        ("EulerAncestralDiscreteScheduler", {}, "EulerAncestralDiscreteScheduler makes steps that no rule"),
    ],
)
def test_what_no_rule_does_is_refused_by_name(name, options, message):
    with pytest.raises(ValueError, match=message):
        sampling(getattr(diffusers, name)(**options), STEPS)


def test_a_cosine_table_keeps_its_small_entries():
    scheduler = diffusers.DDIMScheduler(beta_schedule="squaredcos_cap_v2")
    model = from_diffusers(NETWORK, scheduler)
    assert 0 < model.schedule.alphas[-1] < 1e-8
    assert model.schedule.alphas == tuple(scheduler.alphas_cumprod.double().tolist())


def test_a_grid_ends_where_the_scheduler_ends():
    scheduler = diffusers.DDIMScheduler(set_alpha_to_one=False, steps_offset=1, clip_sample=False)
    assert times(scheduler, 4)[-1] == pytest.approx(1 / 1000)
    scheduler = diffusers.DDIMScheduler(set_alpha_to_one=False, clip_sample=False)
    assert len(times(scheduler, 4)) == 4, "the last step is one from a time to itself"


def test_heun_says_what_its_variable_can_be():
    with pytest.raises(SamplingError, match="over is 'sigma'; it can be 'time' or 'noise'"):
        Heun(over="sigma")
