"""What an explorer of diffusion targets is given, checked at the door: runs that go together, and their models."""

from collections.abc import Mapping, Sequence

from workbench.diffusion import Denoiser, denoiser
from workbench.records import DiffusionModel, TargetTrajectories

Model = Denoiser | DiffusionModel
"""What can be asked: a model, or the record of a trained one."""


def named(records: Sequence[TargetTrajectories]) -> dict[str, TargetTrajectories]:
    """The runs by name, numbered where a name repeats."""
    names = [item.name or item.role for item in records]
    found: dict[str, TargetTrajectories] = {}
    for k, (name, item) in enumerate(zip(names, records, strict=True)):
        found[f"{name} ({names[:k].count(name) + 1})" if names.count(name) > 1 else name] = item
    if len(found) < len(records):
        raise ValueError(f"runs are called {', '.join(names)}: give each a name of its own")
    return found


def check_alike(runs: Mapping[str, TargetTrajectories]) -> None:
    """Refuse runs of different shapes or numbers of seeds.

    Raises
    ------
    ValueError
        Names the two runs and what to do.
    """
    (first, one), *others = runs.items()
    for name, run in others:
        if run.samples.shape[1:] != one.samples.shape[1:]:
            shapes = ["×".join(map(str, item.samples.shape[1:])) for item in (one, run)]
            raise ValueError(
                f"the run {first!r} has examples of shape {shapes[0]}, the run {name!r} of {shapes[1]}; one explorer "
                "shows examples of one shape: open each by itself"
            )
        if len(run) != len(one):
            least = min(len(run), len(one))
            raise ValueError(
                f"the run {first!r} has {len(one)} seeds, the run {name!r} {len(run)}; runs are compared seed by seed: "
                f"take as many of each, as in run.seeds(range({least}))"
            )


def models_of(
    runs: Mapping[str, TargetTrajectories],
    teacher: Model | None,
    students: Model | Sequence[Model] | Mapping[str, Model] | None,
    models: Mapping[str, Model] | None,
) -> dict[str, Denoiser]:
    """The models by the names of their runs: the teacher to the first of its role, students in order, or by name.

    Raises
    ------
    TypeError
        Something that is no model.
    ValueError
        A name that no run has, more students than runs of students, or a model of another shape.
    """
    given: dict[str, Model] = {}
    roles: dict[str, list[str]] = {
        role: [n for n, run in runs.items() if run.role == role] for role in ("teacher", "student")
    }
    if teacher is not None and roles["teacher"]:
        given[roles["teacher"][0]] = teacher
    if isinstance(students, Mapping):
        given |= students
    elif students is not None:
        listed = list(students) if isinstance(students, Sequence) else [students]
        if len(listed) > len(roles["student"]):
            raise ValueError(
                f"{len(listed)} students were given, but {len(roles['student'])} runs have the role 'student': pass a "
                "dict from run names to models"
            )
        given |= dict(zip(roles["student"], listed, strict=False))
    given |= models or {}
    found = {}
    for name, item in given.items():
        if name not in runs:
            raise ValueError(f"a model was given for the run {name!r}; the runs are {', '.join(map(repr, runs))}")
        model = found[name] = asked(item, name)
        if tuple(model.shape) != tuple(runs[name].samples.shape[1:]):
            raise ValueError(
                f"the model of {name!r} makes examples of shape {tuple(model.shape)}, its run has "
                f"{tuple(runs[name].samples.shape[1:])}"
            )
    return found


def asked(model: Model, name: str) -> Denoiser:
    """A model that can be asked; of a record the one in it."""
    if isinstance(model, DiffusionModel):
        return denoiser(model)
    if isinstance(model, type) or not isinstance(model, Denoiser):
        raise TypeError(f"the model of {name!r} is a {type(model).__name__}; a Denoiser or a DiffusionModel is needed")
    return model
