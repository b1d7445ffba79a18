"""Sampling runs of exact teachers, of the size explorers carry, in milliseconds."""

import torch

from workbench import diffusion
from workbench.records import TargetTrajectories

COARSE = torch.tensor([0.99, 0.4, 0.25, 0.12, 0.0], dtype=torch.float64)


def noise(seeds, *shape, seed=0):
    return torch.randn(seeds, *shape, generator=torch.Generator().manual_seed(seed))


def collapsed():
    """The ring with half of its modes: what a student that lost the others samples from."""
    return diffusion.ring().only(torch.arange(0, 8, 2))


def ring_runs(seeds=40, steps=12, names=("base", "student")) -> list[TargetTrajectories]:
    """A teacher of `steps` steps and a student of four, which re-noises and knows half of the modes."""
    drawn = noise(seeds, 2)
    base = diffusion.target_trajectories(diffusion.ring(), drawn, steps=steps, name=names[0], role="teacher")
    student = diffusion.target_trajectories(
        collapsed(), drawn, steps=COARSE, sampler="consistency", name=names[1], role="student"
    )
    return [base, student]


def patterns(shape=(1, 4, 4), classes=3):
    """A teacher of images: one noisy pattern per class."""
    size = shape[0] * shape[1] * shape[2]
    means = (noise(classes, size, seed=7) > 0).float() * 1.6 - 0.8
    return diffusion.GaussianMixture(
        means,
        torch.full((classes, size), 0.01),
        torch.full((classes,), 1 / classes),
        labels=torch.arange(classes),
        shape=shape,
    )


def picture_runs(seeds=6, shape=(1, 4, 4), steps=8, classes=("cat", "dog", "owl")) -> list[TargetTrajectories]:
    """Images by class: a teacher of `steps` steps and a DDIM of four."""
    teacher, half = patterns(shape, len(classes)), torch.full((shape[0], 1, 1), 0.5)
    options = {"condition": torch.arange(seeds) % len(classes), "classes": classes, "mean": half, "std": half}
    drawn = noise(seeds, *shape)
    return [
        diffusion.target_trajectories(teacher, drawn, steps=steps, name="base", role="teacher", **options),
        diffusion.target_trajectories(teacher, drawn, steps=4, name="student", role="student", **options),
    ]
