"""Samplers → samplers: diffusion teachers, few-step students, and what each believes the final image to be."""

from workbench.diffusion.boot import BOOT, Direct
from workbench.diffusion.consistency import Consistency
from workbench.diffusion.d_ode import DODE, adams_bashforth, distill_solver
from workbench.diffusion.denoiser import Denoiser, Guided, NetworkDenoiser, Rescheduled
from workbench.diffusion.dmd import DMD
from workbench.diffusion.dp_dmd import DPDMD
from workbench.diffusion.enhancing import Feedback, OneStep
from workbench.diffusion.hand_over import hand_over, hybrid
from workbench.diffusion.hyper_sd import TSCD
from workbench.diffusion.judge import Judge, judge
from workbench.diffusion.kde import kernel_density, picture_scale, signed
from workbench.diffusion.levels import EDMLevels, EvenLevels, LogNormalLevels
from workbench.diffusion.making import DistillationError, Distilling, adam
from workbench.diffusion.metrics import (
    Measure,
    Measured,
    PrecisionRecall,
    diversity,
    frechet,
    mmd,
    precision_recall,
    sliced_wasserstein,
)
from workbench.diffusion.mixture import GaussianMixture, grid, mixture, moons, ring
from workbench.diffusion.modes import ModeCoverage, class_measures, coverage_measures, mode_coverage, mode_uncertainty
from workbench.diffusion.pipelines import from_diffusers
from workbench.diffusion.predictions import Prediction
from workbench.diffusion.reference import FlowError, FlowMap, curvature, flow, step_errors, trajectory
from workbench.diffusion.regress import Denoising, Regression, denoise, regress
from workbench.diffusion.run import Run
from workbench.diffusion.sampling import DDIM, DPMSolver, Euler, Heun, Renoise, SamplingError, sample
from workbench.diffusion.schedules import VE, RectifiedFlow, Schedule, Trig, VPCosine, VPLinear
from workbench.diffusion.sid import SiD
from workbench.diffusion.signal import SignalDenoiser
from workbench.diffusion.singlestep import DPMSolver2
from workbench.diffusion.sliders import response, slider
from workbench.diffusion.starting import denoiser, fresh
from workbench.diffusion.tabulated import Tabulated
from workbench.diffusion.target_rules import TargetRule
from workbench.diffusion.targets import Tape, target_trajectories
from workbench.diffusion.tdd import TDD
from workbench.diffusion.teachers import digits_teacher
from workbench.diffusion.trainer import distill, usage
from workbench.diffusion.weighting import time_weight

__all__ = [
    "BOOT",
    "DDIM",
    "DMD",
    "DODE",
    "DPDMD",
    "TDD",
    "TSCD",
    "VE",
    "Consistency",
    "DPMSolver",
    "DPMSolver2",
    "Denoiser",
    "Denoising",
    "Direct",
    "DistillationError",
    "Distilling",
    "EDMLevels",
    "Euler",
    "EvenLevels",
    "Feedback",
    "FlowError",
    "FlowMap",
    "GaussianMixture",
    "Guided",
    "Heun",
    "Judge",
    "LogNormalLevels",
    "Measure",
    "Measured",
    "ModeCoverage",
    "NetworkDenoiser",
    "OneStep",
    "PrecisionRecall",
    "Prediction",
    "RectifiedFlow",
    "Regression",
    "Renoise",
    "Rescheduled",
    "Run",
    "SamplingError",
    "Schedule",
    "SiD",
    "SignalDenoiser",
    "Tabulated",
    "Tape",
    "TargetRule",
    "Trig",
    "VPCosine",
    "VPLinear",
    "adam",
    "adams_bashforth",
    "class_measures",
    "coverage_measures",
    "curvature",
    "denoise",
    "denoiser",
    "digits_teacher",
    "distill",
    "distill_solver",
    "diversity",
    "flow",
    "frechet",
    "fresh",
    "from_diffusers",
    "grid",
    "hand_over",
    "hybrid",
    "judge",
    "kernel_density",
    "mixture",
    "mmd",
    "mode_coverage",
    "mode_uncertainty",
    "moons",
    "picture_scale",
    "precision_recall",
    "regress",
    "response",
    "ring",
    "sample",
    "signed",
    "sliced_wasserstein",
    "slider",
    "step_errors",
    "target_trajectories",
    "time_weight",
    "trajectory",
    "usage",
]
