"""A hand-over between two runs as they are made now: the public sweep, and what it is measured beside."""

import pytest
import torch

from workbench import data
from workbench.diffusion import kernel_density, picture_scale, ring, target_trajectories
from workbench.diffusion.judging.handing_over import judged_hand_over
from workbench.diffusion.methods.dt_hand_over import hand_over
from workbench.diffusion.trajectories.again import Choice

TIMES = torch.tensor([0.99, 0.25, 0.15, 0.08, 0.0], dtype=torch.float64)


def noise(n, *shape):
    return torch.randn(n, *(shape or (2,)), generator=torch.Generator().manual_seed(3))


def rings(n=40):
    """A ring of eight modes, and a student that knows four."""
    models = {"base": ring(), "student": ring().only(torch.arange(4))}
    runs = {
        "base": target_trajectories(models["base"], noise(n), steps=20, name="base", role="teacher"),
        "student": target_trajectories(models["student"], noise(n), steps=TIMES, name="student", role="student"),
    }
    return runs, models, {name: Choice.given(run, models[name]) for name, run in runs.items()}


def test_points_are_handed_over_as_the_public_function_does():
    runs, models, choices = rings()
    told = []
    found = judged_hand_over(runs, models, choices, told.append)
    own = hand_over(models["base"], models["student"], noise(40), times=TIMES, student_sampler="ddim")
    assert torch.equal(found.switches, own.switches)
    assert torch.equal(found.positions, own.positions)
    assert torch.equal(found.measures["entropy"]["switches"], own.measures["entropy"]["switches"])
    assert (found.base, found.student, found.settings["reference"]) == ("base", "student", "")
    assert told == sorted(told)
    assert told[-1] == 1


def test_it_follows_how_the_student_is_made_now():
    runs, models, choices = rings()
    found = judged_hand_over(runs, models, choices | {"student": Choice("consistency", 2, 1.0)})
    own = hand_over(
        models["base"], models["student"], noise(40), times=TIMES[::2].tolist(), student_sampler="consistency"
    )
    assert torch.equal(found.switches, own.switches)


@pytest.mark.parametrize(
    ("seeds", "measured"), [(12, ["precision", "recall", "diversity"]), (3, [])]
)  # three seeds of three classes: too few for neighbours, and no pair within a class
def test_images_are_measured_beside_what_the_base_makes_alone(seeds, measured):
    model = kernel_density(data.load("digits").per_class(20, seed=0).train, bandwidth=0.15)
    mean, std = picture_scale()
    known = {"condition": torch.arange(seeds) % 3, "classes": tuple("0123456789"), "mean": mean, "std": std}
    start = noise(seeds, *model.shape)
    runs = {
        "base": target_trajectories(model, start, steps=20, name="base", **known),
        "student": target_trajectories(model, start, steps=4, sampler="consistency", name="student", **known),
    }
    choices = {name: Choice.given(run, model) for name, run in runs.items()}
    found = judged_hand_over(runs, {"base": model, "student": model}, choices)
    assert list(found.measures) == measured
    assert found.settings["reference"] == f"{seeds} other samples of base alone, in 20 steps"


def test_a_student_sampler_known_by_name_only_is_refused():
    runs, models, choices = rings(4)
    with pytest.raises(ValueError, match="'student' was made by somebody's own, which is known by name only"):
        judged_hand_over(runs, models, choices | {"student": Choice("somebody's own", 4, 1.0)})
