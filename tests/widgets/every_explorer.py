"""Every explorer in the states that ask for most room, by name: what holds of all is tested on each."""

import functools

from lens_records import distilled, evaluation, looks
from posteriors import X, Y, fitted_table, golden, moons, truth
from synthetic_records import similarity_map, training_record
from target_panels import explorer_of
from target_records import collapsed, noise, picture_runs, ring_runs

import widgets
from workbench import diffusion


def three_samplers():
    third = diffusion.target_trajectories(
        collapsed(), noise(40, 2), steps=8, sampler="consistency", name="renoised", role="student"
    )
    return [*ring_runs(), third]


def compared():
    one = similarity_map(examples=40, grams=20, name_a="resnet20", name_b="labels only", seed=1)
    other = similarity_map(examples=40, grams=20, name_a="resnet20", name_b="KL", seed=2)
    return [one, other.replace(views_a=one.views_a)]


def runs():
    names = {"teacher": 0.985, "student, labels only": 0.93, "student, KL": 0.96}
    return [training_record(name, seed=k, best=best) for k, (name, best) in enumerate(names.items())]


EXPLORERS = {
    "features": lambda: widgets.explore(
        similarity_map(examples=40, grams=20), selection={"layer_a": "conv1", "layer_b": "layer1.0"}
    ),
    "features, two students": lambda: widgets.explore(compared()),
    "training": lambda: widgets.explore(runs()),
    "posterior": lambda: widgets.explore(golden(), test=(X, Y), truth=truth),
    "posterior, both": lambda: widgets.explore(golden(), approach="both", truth=truth),
    "posterior, table": lambda: widgets.explore(fitted_table()),
    "posterior, map": lambda: widgets.explore(moons(), selection={"point": 3}),
    "posterior, maps": lambda: widgets.explore(moons(), approach="both", show="mean"),
    "distilled": lambda: _distilled(selection={"images": [3, 5]}),
    "distilled, compared": lambda: widgets.explore(
        [distilled(snapshots=5), distilled(ipc=2, snapshots=3, name="MTT")], against="MTT"
    ),
    "distilled, teaching": lambda: _distilled(panel="teaching"),
    "targets": lambda: widgets.explore(ring_runs(), teacher=diffusion.ring(), selection={"seeds": [3]}),
    "targets, three samplers": lambda: widgets.explore(three_samplers(), teacher=diffusion.ring()),
    "targets, together": lambda: widgets.explore(ring_runs(), arrange="together"),
    "targets, strip": lambda: widgets.explore(picture_runs()),
    "targets, hand-over": lambda: explorer_of(swept=True, view="hand-over"),
}


def _distilled(**options):
    made = distilled(snapshots=5)
    return widgets.explore(made, looks=looks(made), evaluation=evaluation(made), **options)


@functools.cache
def explorer(name):
    """The explorer of that name, made once."""
    return EXPLORERS[name]()
