"""Samplers → samplers: diffusion teachers, few-step students, and what each believes the final image to be."""

from workbench.diffusion.denoiser import Denoiser, Guided, NetworkDenoiser, Rescheduled
from workbench.diffusion.kde import kernel_density, picture_scale, signed
from workbench.diffusion.mixture import GaussianMixture, grid, mixture, moons, ring
from workbench.diffusion.predictions import Prediction
from workbench.diffusion.sampling import DDIM, DPMSolver, Euler, Heun, Renoise, SamplingError, sample
from workbench.diffusion.schedules import VE, RectifiedFlow, Schedule, Trig, VPCosine, VPLinear
from workbench.diffusion.targets import Tape, target_trajectories

__all__ = [
    "DDIM",
    "VE",
    "DPMSolver",
    "Denoiser",
    "Euler",
    "GaussianMixture",
    "Guided",
    "Heun",
    "NetworkDenoiser",
    "Prediction",
    "RectifiedFlow",
    "Renoise",
    "Rescheduled",
    "SamplingError",
    "Schedule",
    "Tape",
    "Trig",
    "VPCosine",
    "VPLinear",
    "grid",
    "kernel_density",
    "mixture",
    "moons",
    "picture_scale",
    "ring",
    "sample",
    "signed",
    "target_trajectories",
]
