"""What each step of an explanation says is so in the record; numbers are computed here by other means."""

import re

import numpy as np
import pytest
import torch
from every_explorer import EXPLORERS, compared, explorer, runs
from lens_records import distilled, evaluation, looks
from posteriors import X, Y, golden, moons, moons_test, truth
from synthetic_records import similarity_map
from target_panels import explorer_of, handed
from target_records import ring_runs

import widgets
from workbench import diffusion

GRID = np.linspace(0, 1, 41)[:, None]


def sentences(made):
    return [step.text for step in made.explain()]


def numbers(text):
    """The numbers of a sentence."""
    return [float(one.replace("−", "-").replace(",", "")) for one in re.findall(r"−?\d[\d,]*\.?\d*(?:e−?\d+)?", text)]


def says(text, *values, rel=6e-3):
    """Every value is among the numbers that the sentence holds."""
    found = np.array(numbers(text))
    for value in values:
        near = np.abs(found - float(value)) <= rel * max(abs(float(value)), 1e-9) + 1e-12
        assert near.any(), f"{float(value):.5g} is not in: {text}"


@pytest.mark.parametrize("name", EXPLORERS)
def test_every_explorer_has_four_to_six_steps_of_one_sentence(name):
    made = explorer(name)
    steps = made.explain()
    assert 3 <= len(steps) <= 6
    for step in steps:
        assert step.text.endswith(".")
        assert len(step.text) < 330
        assert "nan" not in step.text
        assert set(step.state) <= {*made.settings, "selection"}
        assert made.accepts(made.selection | step.state.get("selection", {}))
        for trait, value in step.state.items():
            if trait != "selection":
                kept = getattr(made, trait)
                setattr(made, trait, value)  # refused where it cannot be
                setattr(made, trait, kept)


def test_features():
    similar = similarity_map(examples=40, grams=20)
    made = widgets.explore(similar)
    what, most, best, course, clouds = made.explain()
    last = similar.stack[-1].numpy()
    assert f"{similar.n:,} examples" in what.text
    row, column = np.unravel_index(np.nanargmax(last), last.shape)
    assert f"{similar.layers_a[row]} of {similar.name_a} and {similar.layers_b[column]} of" in most.text
    says(most.text, last[row, column])
    assert most.state["selection"]["layer_a"] == similar.layers_a[row]
    assert most.state["selection"]["layer_b"] == similar.layers_b[column]
    winners = [similar.layers_b[int(np.nanargmax(line))] for line in last if not np.isnan(line).all()]
    often = max(dict.fromkeys(winners), key=winners.count)
    assert f"for {winners.count(often)} of {len(winners)} layers" in best.text
    assert f"it is {often} of" in best.text
    says(course.text, similar.epochs[0], np.nanmean(similar.stack[0]), similar.epochs[-1], np.nanmean(last))
    says(clouds.text, 40)
    pair = compared()
    (third,) = (step for step in widgets.explore(pair).explain() if step.part == "heatmap-difference")
    shift = (pair[1].stack[-1] - pair[0].stack[-1]).numpy()
    row, column = np.unravel_index(np.nanargmax(np.abs(shift)), shift.shape)
    assert f"{pair[0].layers_a[row]} × {pair[0].layers_b[column]}" in third.text
    says(third.text, shift[row, column])


def test_training():
    records = runs()
    made = widgets.explore(records)
    what, peak, heart, classes, trust = made.explain()
    best = max(records, key=lambda one: float(one.curves["test_accuracy"].max()))
    curve = best.curves["test_accuracy"].tolist()
    at = curve.index(max(curve))
    assert f"{len(records)} runs" in what.text
    assert peak.text.startswith(f"{best.name} is best at epoch {at + 1} of {best.epochs}")
    says(peak.text, 100 * curve[at])
    assert peak.state["selection"] == {"run": best.name, "epoch": at + 1}
    own = float(best.curves["train_accuracy"][at])
    says(heart.text, 100 * own, 100 * (own - curve[at]), rel=0.05)
    row = best.per_class_accuracy[at]
    assert f"is {best.classes[int(row.argmin())]} (" in classes.text
    assert f"easiest {best.classes[int(row.argmax())]} (" in classes.text
    says(classes.text, 100 * row.min(), 100 * row.max())
    says(trust.text, 100 * best.calibration.ece)


def test_a_regression():
    made = widgets.explore(golden(), test=(GRID, truth(GRID)))
    ordinary, pulled, stop, filtered, end = made.explain()
    assert ordinary.state["selection"]["step"] == 1
    model = golden()
    scatter = [float(np.std(part, ddof=1)) for part in (Y, model.predict(X, step=1))]
    says(pulled.text, *scatter)
    errors = [np.sqrt(np.mean((model.predict(GRID, step=t + 1) - truth(GRID)) ** 2)) for t in range(6)]
    best = int(np.argmin(errors))
    assert f"smallest at step {best + 1}:" in stop.text
    says(stop.text, errors[best], errors[0], errors[-1])
    assert stop.state["selection"]["step"] == best + 1
    gram = model.fitted_kernel_gram(X) if hasattr(model, "fitted_kernel_gram") else np.exp(-80 * (X - X.T) ** 2)
    d = np.sort(np.linalg.eigvalsh(gram))[::-1]
    kept = (d / (d + 0.2)) ** np.array([[1], [6]])
    says(filtered.text, 100 * kept[0, 0], 100 * kept[0, -1], 100 * kept[1, 0], 100 * kept[1, -1], rel=0.03)
    shown = made.data()["x"].to_numpy()[:, None]
    says(end.text, *(np.ptp(model.predict(shown, step=t)) for t in (1, 6)))
    assert end.state["selection"]["step"] == "limit"
    untested = widgets.explore(golden()).explain()[2]
    errors = [np.sqrt(np.mean((model.predict(X, step=t) - Y) ** 2)) for t in (1, 6)]
    says(untested.text, *errors)
    assert "follows them less" in untested.text


def test_a_classification():
    made = widgets.explore(moons(), test=moons_test())
    first, moved, stop, trust = made.explain()
    assert "50 training rows" in first.text
    assert "Each of 3 steps" in moved.text
    inputs, labels = moons_test()
    names = list(moons().classes_)
    truths = np.array([names.index(one) for one in labels])
    answers = [moons().predict_proba(inputs, step=t + 1) for t in range(3)]
    losses = [-np.mean(np.log(one[np.arange(len(truths)), truths])) for one in answers]
    best = int(np.argmin(losses))
    assert f"smallest at step {best + 1}:" in stop.text
    says(stop.text, losses[best], losses[0], losses[-1])
    says(trust.text, 100 * np.mean(answers[best].argmax(1) != truths))


def test_distilled_images():
    made = distilled(snapshots=5)
    accuracy = torch.tensor([0.3, 0.6, 0.9, 0.8, 0.85])
    made = made.replace(snapshot_accuracy=accuracy)
    told, judged = looks(made), evaluation(made)
    what, began, taught, hard, teaches = widgets.explore(made, looks=told, evaluation=judged).explain()
    says(what.text, len(made), len(made.classes))
    raw = [made.raw(images.float()) for images in (made.snapshots[0], made.images)]
    says(began.text, 0, 400, (raw[1] - raw[0]).abs().mean())
    says(taught.text, 200, 90.0, 0, 30.0)
    assert taught.state["selection"]["iteration"] == 200
    worst = int(told.loss.argmax())
    assert f"Image {worst}, a {made.classes[int(made.labels[worst])]}," in hard.text
    says(hard.text, told.loss.max(), told.loss.mean())
    assert hard.state["selection"]["images"] == [worst]
    says(teaches.text, 100 * judged.accuracy[0].mean(), 100 * judged.full_accuracy[0].mean(), len(judged.seeds))


def test_targets():
    base, student = ring_runs()
    what, noisy, decided, fewer = widgets.explore([base, student], teacher=diffusion.ring()).explain()
    says(what.text, len(base), base.steps)
    samples = base.samples.double()
    first = base.targets[0].double()
    away = (first - samples).norm(dim=1).mean()
    vary = (first - first.mean(0)).square().sum() / (samples - samples.mean(0)).square().sum()
    says(noisy.text, 1, away, vary)
    gap = (base.targets.double() - samples).square().sum(-1).mean(1)
    commitment = 1 - gap / (2 * samples.var(0, correction=0).sum())
    step = next(k for k, value in enumerate(commitment.tolist()) if value >= 0.5)
    assert f"half decided by step {step + 1} of {base.steps}" in decided.text
    says(decided.text, base.times[step], 100 * commitment[step])
    assert decided.state["selection"]["step"] == step + 1
    assert fewer.text.startswith("student asks its model ")
    says(fewer.text, student.calls, base.calls)
    swept = explorer_of(swept=True).explain()[-1]
    record = handed(40, names=("base", "student"))
    name = next(name for name in ("diversity", "recall", "entropy", "modes") if name in record.measures)
    values = record.measures[name]["switches"].tolist()
    assert f"the others, {name} goes from" in swept.text
    says(swept.text, values[0], values[1], values[-1])
