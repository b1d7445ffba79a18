"""Samplers → samplers: diffusion teachers, few-step students, and what each believes the final image to be."""

from workbench.diffusion import lora
from workbench.diffusion.consistency import Consistency
from workbench.diffusion.d_ode import DODE, adams_bashforth, distill_solver
from workbench.diffusion.denoiser import Denoiser, Guided, NetworkDenoiser, Rescheduled
from workbench.diffusion.hand_over import hand_over, hybrid
from workbench.diffusion.kde import kernel_density, picture_scale, signed
from workbench.diffusion.making import DistillationError, Distilling, adam
from workbench.diffusion.metrics import (
    Measured,
    ModeCoverage,
    PrecisionRecall,
    coverage_measures,
    diversity,
    frechet,
    mmd,
    mode_coverage,
    mode_uncertainty,
    precision_recall,
    sliced_wasserstein,
)
from workbench.diffusion.mixture import GaussianMixture, grid, mixture, moons, ring
from workbench.diffusion.predictions import Prediction
from workbench.diffusion.reference import FlowError, FlowMap, curvature, flow, step_errors, trajectory
from workbench.diffusion.regress import Denoising, Regression, denoise, regress
from workbench.diffusion.run import Run
from workbench.diffusion.sampling import DDIM, DPMSolver, Euler, Heun, Renoise, SamplingError, sample
from workbench.diffusion.schedules import VE, RectifiedFlow, Schedule, Trig, VPCosine, VPLinear
from workbench.diffusion.signal import SignalDenoiser
from workbench.diffusion.singlestep import DPMSolver2
from workbench.diffusion.starting import denoiser, fresh
from workbench.diffusion.target_rules import TargetRule
from workbench.diffusion.targets import Tape, target_trajectories
from workbench.diffusion.trainer import distill, usage
from workbench.diffusion.weighting import time_weight

__all__ = [
    "DDIM",
    "DODE",
    "VE",
    "Consistency",
    "DPMSolver",
    "DPMSolver2",
    "Denoiser",
    "Denoising",
    "DistillationError",
    "Distilling",
    "Euler",
    "FlowError",
    "FlowMap",
    "GaussianMixture",
    "Guided",
    "Heun",
    "Measured",
    "ModeCoverage",
    "NetworkDenoiser",
    "PrecisionRecall",
    "Prediction",
    "RectifiedFlow",
    "Regression",
    "Renoise",
    "Rescheduled",
    "Run",
    "SamplingError",
    "Schedule",
    "SignalDenoiser",
    "Tape",
    "TargetRule",
    "Trig",
    "VPCosine",
    "VPLinear",
    "adam",
    "adams_bashforth",
    "coverage_measures",
    "curvature",
    "denoise",
    "denoiser",
    "distill",
    "distill_solver",
    "diversity",
    "flow",
    "frechet",
    "fresh",
    "grid",
    "hand_over",
    "hybrid",
    "kernel_density",
    "lora",
    "mixture",
    "mmd",
    "mode_coverage",
    "mode_uncertainty",
    "moons",
    "picture_scale",
    "precision_recall",
    "regress",
    "ring",
    "sample",
    "signed",
    "sliced_wasserstein",
    "step_errors",
    "target_trajectories",
    "time_weight",
    "trajectory",
    "usage",
]
