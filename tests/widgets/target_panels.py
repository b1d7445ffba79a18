"""Sampling runs for the panels of the explorer of diffusion targets: a ring, a student that lost half of it, digits."""

import threading
from functools import cache

import torch
from torch import nn

from widgets.targets import TargetTrajectoryExplorer
from workbench import data
from workbench.diffusion import NetworkDenoiser, RectifiedFlow, kernel_density, picture_scale, ring, target_trajectories
from workbench.diffusion.methods.dt_hand_over import hand_over
from workbench.models import lora
from workbench.records import Adapter

TIMES = torch.tensor([0.99, 0.25, 0.15, 0.08, 0.0], dtype=torch.float64)


def half():
    """A student that knows four modes of eight."""
    return ring().only(torch.arange(4))


def noise(n=40, *shape):
    return torch.randn(n, *(shape or (2,)), generator=torch.Generator().manual_seed(3))


@cache
def pair(n=40, steps=20, names=("base", "student")):
    """A teacher's run and a student's from the same noise."""
    base = target_trajectories(ring(), noise(n), steps=steps, name=names[0], role="teacher")
    student = target_trajectories(half(), noise(n), steps=TIMES, sampler="ddim", name=names[1], role="student")
    return base, student


@cache
def handed(n=40, **options):
    return hand_over(ring(), half(), noise(n), times=TIMES, student_sampler="ddim", **options)


def explorer_of(n=40, *, swept=False, steps=20, names=("base", "student"), **options):
    known = {"hand_over": handed(n, names=names)} if swept else {}
    runs = list(pair(n, steps, names))
    return TargetTrajectoryExplorer(runs, teacher=ring(), students=half(), **known, **options)


def classes_of(n=24, guidance=2.0, **options):
    """A teacher with two classes, guided."""
    model = ring(classes=2)
    labels = torch.arange(n) % 2
    run = target_trajectories(
        model, noise(n), steps=12, condition=labels, guidance=guidance, classes=["up", "down"], name="base",
        role="teacher",
    )  # fmt: skip
    return TargetTrajectoryExplorer(run, teacher=model, **options)


@cache
def digit_runs(n):
    """Exact digits by class: a teacher in twenty steps, a student of four, and their hand-over."""
    model = kernel_density(data.load("digits").per_class(20, seed=0).train, bandwidth=0.15)
    mean, std = picture_scale()
    known = {"condition": torch.arange(n) % 3, "classes": tuple("0123456789"), "mean": mean, "std": std}
    start = noise(n, *model.shape)
    base = target_trajectories(model, start, steps=20, name="base", role="teacher", **known)
    student = target_trajectories(model, start, steps=4, sampler="consistency", name="student", role="student", **known)
    less = {"measures": {}} if n < 6 else {}  # diversity needs two seeds of a class
    swept = hand_over(model, model, start, times=student.settings["times"], names=("base", "student"), **less, **known)
    return model, base, student, swept


def digits(n=12, **options):
    model, base, student, swept = digit_runs(n)
    return TargetTrajectoryExplorer([base, student], teacher=model, students=model, hand_over=swept, **options)


class Net(nn.Module):
    """A small network of a state and its time."""

    def __init__(self, seed):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.first, self.last = nn.Linear(3, 16), nn.Linear(16, 2)
        for parameter in self.parameters():
            parameter.data = 0.3 * torch.randn(parameter.shape, generator=generator)

    def forward(self, x, t):
        return self.last(self.first(torch.cat([x, t[:, None]], 1)).tanh())


def network(seed=0):
    return NetworkDenoiser(Net(seed).requires_grad_(False), RectifiedFlow(), (2,))


def adapter_for(model, name="larger radius"):
    with lora.attach(model, rank=2) as on:
        generator = torch.Generator().manual_seed(7)
        for part in on.parts.values():
            part.up.data = torch.randn(part.up.shape, generator=generator)
        return Adapter(name=name, **on.factors())


class Gate:
    """A model that waits at every call until it is let through, and counts its calls."""

    def __init__(self, model):
        self.model, self.gate, self.calls = model, threading.Event(), 0
        self.schedule, self.shape, self.classes = model.schedule, model.shape, 0

    def __call__(self, x, t, condition=None):
        self.calls += 1
        assert self.gate.wait(60)
        return self.model(x, t, condition)


class Broken(Gate):
    """A model that fails."""

    def __call__(self, x, t, condition=None):
        raise RuntimeError("the device is gone")
