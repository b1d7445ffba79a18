"""A hand-over judged: every way of sharing the student's steps, beside what the base makes alone from other noise."""

from collections.abc import Callable, Mapping

import torch

from workbench.diffusion.judging.metrics import Measure, diversity, precision_recall
from workbench.diffusion.methods.dt_hand_over import COUNTED, hand_over
from workbench.diffusion.sampling.denoiser import Denoiser
from workbench.diffusion.sampling.wrapping import bare, device_of, plain
from workbench.diffusion.teachers.mixture import GaussianMixture
from workbench.diffusion.trajectories.again import Choice, again, rule_of, times_of
from workbench.records import HandOver, TargetTrajectories

MOST_POINTS = 2000
"""Seeds that are sampled where examples are points."""

MOST_IMAGES = 256
"""Seeds that are sampled where examples are images."""

NEIGHBOURS = 3
"""Of precision and recall, which need more samples than that."""

REFERENCE_SEED = 1_000_003


def judged_hand_over(
    runs: Mapping[str, TargetTrajectories],
    models: Mapping[str, Denoiser],
    choices: Mapping[str, Choice],
    watch: Callable[[float], None] | None = None,
) -> HandOver:
    """Every way of sharing the student's steps, from the noise of the runs.

    Parameters
    ----------
    runs, models
        Base and student, in this order, by name; the runs as they were given.
    choices
        How they are made now: the base's guidance, and the student's sampler and steps.
    watch
        Told which share is made.

    Raises
    ------
    ValueError
        The student's sampler is known by name only, or the schedules differ.
    """
    base, student = runs
    run, choice = runs[student], choices[student]
    sampler = rule_of(choice.sampler)
    if sampler is None:
        raise ValueError(f"{student!r} was made by {choice.sampler}, which is known by name only: choose another")
    some = slice(0, MOST_IMAGES if run.samples.ndim > 2 else MOST_POINTS)
    model = models[base]
    guided = bool(getattr(plain(model), "classes", 0)) and run.condition is not None
    measures, reference = _measures(runs[base], model, choices[base], some, watch)
    found = hand_over(
        plain(model),
        plain(models[student]),
        run.noise[some].to(device_of(model)),
        times=times_of(run, choice.steps),
        student_sampler=sampler,
        measures=measures,
        condition=None if run.condition is None else run.condition[some].to(device_of(model)),
        guidance=choices[base].guidance if guided else 1.0,
        seed=int(run.settings.get("seed", 0)),
        name=f"{base} → {student}",
        names=(base, student),
        classes=run.classes,
        mean=run.mean,
        std=run.std,
        watch=watch and (lambda share: watch(share if measures is None else (1 + share) / 2)),
    )
    return found.replace(settings=found.settings | {"reference": reference})


def _measures(
    run: TargetTrajectories,
    model: Denoiser,
    choice: Choice,
    some: slice,
    watch: Callable[[float], None] | None,
) -> tuple[dict[str, Measure] | None, str]:
    """What is measured, and beside which samples; None: the modes of a mixture, which is its own reference.

    Elsewhere samples are compared with those that the base makes alone, in its own steps and from other noise:
    diversity by itself does not tell variety from being off the mark.
    """
    bottom = bare(model)
    if isinstance(bottom, GaussianMixture) and len(bottom.weights) <= COUNTED:
        return None, ""
    start, condition = run.noise[some], None if run.condition is None else run.condition[some]
    generator = torch.Generator().manual_seed(REFERENCE_SEED)
    fresh = torch.randn(start.shape, generator=generator, dtype=start.dtype)
    half = watch and (lambda share: watch(share / 2))
    real = again(run, model, choice, noise=fresh, condition=condition, watch=half).samples

    def of(what: str) -> Measure:
        return lambda samples, _: getattr(precision_recall(samples.cpu(), real), what)

    found: dict[str, Measure] = {}
    if len(start) > NEIGHBOURS:
        found |= {"precision": of("precision"), "recall": of("recall")}
    # Diversity is that of one class: where a class has a single seed there is none.
    if condition is None or int(condition.unique(return_counts=True)[1].min()) > 1:
        found["diversity"] = diversity
    return found, f"{len(real)} other samples of {run.name} alone, in {choice.steps} steps"
