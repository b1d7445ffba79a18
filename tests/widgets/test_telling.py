"""Where each explorer opens: on its most telling moment, which is written in the record."""

import numpy as np
import torch
from lens_records import distilled
from posteriors import X, golden, moons, moons_test, truth
from synthetic_records import similarity_map, training_record

import widgets
from widgets.features.picture import _range

GRID = np.linspace(0, 1, 41)[:, None]


def test_a_posterior_opens_at_its_smallest_test_error():
    explorer = widgets.explore(golden(), test=(GRID, truth(GRID)))
    errors = [np.mean((golden().predict(GRID, step=t + 1) - truth(GRID)) ** 2) for t in range(6)]
    assert explorer.selection["step"] == 1 + int(np.argmin(errors))
    assert widgets.explore(golden()).selection["step"] == 6
    judged = widgets.explore(moons(), test=moons_test())
    nll = judged.content["variants"][0]["judged"]["nll"]
    assert judged.selection["step"] == 1 + nll.index(min(nll))
    assert len(X) == 11


def test_training_opens_where_the_best_run_is_best():
    one, other = training_record("one", best=0.8), training_record("other", best=0.9)
    curve = other.curves["test_accuracy"].clone()
    curve[6] = 0.99
    other = other.replace(curves=other.curves | {"test_accuracy": curve})
    assert widgets.explore([one, other]).selection["epoch"] == 7
    untested = one.replace(curves={"train_loss": one.curves["train_loss"]})
    assert widgets.explore(untested).selection["epoch"] == 20


def test_distilled_images_open_at_what_the_set_is():
    """What is known of its images, looks and evaluations, is known of the last ones."""
    made = distilled(snapshots=5)
    accuracy = torch.tensor([0.3, 0.6, 0.9, 0.8, 0.85])
    assert widgets.explore(made.replace(snapshot_accuracy=accuracy)).selection["iteration"] == 400


def test_colours_follow_the_values_of_all_epochs():
    similar = similarity_map(examples=40, grams=20)
    explorer = widgets.explore(similar)
    low, high = np.nanpercentile(similar.values.numpy(), [2, 98])
    assert _range(explorer) == (np.floor(low * 20) / 20, np.ceil(high * 20) / 20)
    explorer.stretch = False
    assert _range(explorer) == (0, 1)
    explorer.stretch = True
    alike = similar.replace(values=torch.full_like(similar.values, 0.5), intervals=None)
    assert _range(widgets.explore(alike)) == (0.5, 0.55)
