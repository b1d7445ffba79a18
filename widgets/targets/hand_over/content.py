"""A hand-over: computed from models that are here, and as it travels: samples, what was measured, calls."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from widgets.core.arrays import Arrays
from widgets.targets.content import is_images, pictures
from widgets.targets.resampling import Choice, device_of, plain, rule_of, sampled, times_of
from widgets.targets.stage.plane import Plane
from workbench.diffusion import Denoiser, GaussianMixture, Rescheduled
from workbench.diffusion.judging.metrics import Measure, diversity, precision_recall
from workbench.records import HandOver, TargetTrajectories

Way = Literal["switches", "positions"]
"""By how many first steps the base makes, or by which single step."""

MOST_POINTS = 2000
"""Seeds that a sweep samples, and that are sent for each way, where examples are points."""

MOST_IMAGES = 256
"""Seeds that a sweep samples where they are images."""

NEIGHBOURS = 3
"""Of precision and recall, which need more samples than that."""

REFERENCE_SEED = 1_000_003

MOST_PICTURES = 64
MOST_BYTES = 24 * 2**20


def swept(
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
    from workbench.diffusion.methods.dt_hand_over import hand_over  # noqa: PLC0415 - the trainer it brings takes a while to load

    base, student = runs
    run, choice = runs[student], choices[student]
    sampler = rule_of(choice.sampler)
    if sampler is None:
        raise ValueError(f"{student!r} was made by {choice.sampler}, which is known by name only: choose another")
    some = slice(0, MOST_IMAGES if is_images(run) else MOST_POINTS)
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
    from workbench.diffusion.methods.dt_hand_over import COUNTED  # noqa: PLC0415 - as above

    bottom: Any = plain(model)
    while isinstance(bottom, Rescheduled):
        bottom = bottom.model
    if isinstance(bottom, GaussianMixture) and len(bottom.weights) <= COUNTED:
        return None, ""
    start, condition = run.noise[some], None if run.condition is None else run.condition[some]
    generator = torch.Generator().manual_seed(REFERENCE_SEED)
    fresh = torch.randn(start.shape, generator=generator, dtype=start.dtype)
    half = watch and (lambda share: watch(share / 2))
    real = sampled(run, model, choice, noise=fresh, condition=condition, watch=half).samples

    def of(what: str) -> Measure:
        return lambda samples, _: getattr(precision_recall(samples.cpu(), real), what)

    found: dict[str, Measure] = {}
    if len(start) > NEIGHBOURS:
        found |= {"precision": of("precision"), "recall": of("recall")}
    # Diversity is that of one class: where a class has a single seed there is none.
    if condition is None or int(condition.unique(return_counts=True)[1].min()) > 1:
        found["diversity"] = diversity
    return found, f"{len(real)} other samples of {run.name} alone, in {choice.steps} steps"


def handed_content(
    handed: HandOver, runs: Mapping[str, TargetTrajectories], plane: Plane
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Plain values and the arrays they refer to.

    Ways are counted 0..K by first steps of the base, and 0..K by the one step it makes, where 0 is the student alone.
    """
    arrays = Arrays()
    first = next(iter(runs.values()))
    same = len(handed) <= len(first) and bool(torch.equal(handed.noise, first.noise[: len(handed)]))
    both = {"switches": handed.switches, "positions": handed.positions}
    kinds: tuple[Way, ...] = ("switches", "positions")
    ways = {way: whole(both, way) for way in kinds}
    shown = slice(0, MOST_POINTS)
    images = is_images(first)
    pictured = 0
    if images:
        each = sum(len(samples) for samples in ways.values()) * handed.noise[0].numel()
        pictured = min(len(handed), MOST_PICTURES, MOST_BYTES // each)
    scaled = first.replace(mean=handed.mean, std=handed.std)
    condition = handed.condition
    content = {
        "base": handed.base,
        "student": handed.student,
        "steps": handed.steps,
        "times": handed.times.tolist(),
        "count": len(handed),
        "shown": min(len(handed), MOST_POINTS),
        "pictured": pictured,
        "same_seeds": same,
        "condition": None if condition is None else arrays.add(condition, "int32"),
        "classes": list(handed.classes),
        "reference": str(handed.settings.get("reference", "")),
        "places": {
            way: None if images else arrays.add(plane.project(samples[:, shown]), "float32")
            for way, samples in ways.items()
        },
        "pictures": {
            way: arrays.add(pictures(scaled, samples[:, :pictured]), "uint8") if pictured else None
            for way, samples in ways.items()
        },
        "order": list(handed.measures),  # a saved notebook sorts the keys of an object
        "measures": {name: _measure(handed, name) for name in handed.measures},
        "calls": {way: calls(handed, way) for way in kinds},
    }
    return content, arrays.packed


def _measure(handed: HandOver, name: str) -> dict[str, Any]:
    """Values and intervals by way; the student alone is the first of both."""
    found: dict[str, Any] = {}
    kinds: tuple[Way, ...] = ("switches", "positions")
    for way in kinds:
        values = whole(handed.measures[name], way)
        between = handed.intervals.get(name)
        rows = torch.full((len(values), 2), float("nan")) if between is None else whole(between, way)
        found[way] = {"values": _plain(values), "low": _plain(rows[:, 0]), "high": _plain(rows[:, 1])}
    return found


def whole(by: Mapping[str, Tensor], way: Way) -> Tensor:
    """Values or samples of every way, the student alone first, (K + 1, ...)."""
    return by["switches"] if way == "switches" else torch.cat([by["switches"][:1], by["positions"]])


def _plain(values: Tensor) -> list[float | None]:
    """Numbers that JSON can carry."""
    return [float(value) if bool(torch.isfinite(value)) else None for value in values]


def calls(handed: HandOver, way: Way) -> tuple[list[int], list[int]] | None:
    """Model evaluations of base and student for each way; None where they were not counted."""
    if way == "switches":
        return handed.base_calls.tolist(), handed.student_calls.tolist()
    if handed.position_base_calls is None or handed.position_student_calls is None:
        return None
    alone = handed.base_calls[:1], handed.student_calls[:1]
    both = handed.position_base_calls, handed.position_student_calls
    base, student = (torch.cat(pair).tolist() for pair in zip(alone, both, strict=True))
    return base, student
