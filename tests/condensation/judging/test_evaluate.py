"""`evaluate` gives what training one by one gives, keeps the protocol, stops when told, and refuses what cannot be."""

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F

import workbench as wb
from workbench import records
from workbench.condensation import evaluate, score_history
from workbench.condensation.judging.stepping import SoftCrossEntropy
from workbench.condensation.judging.teaching import Recipe, SoftLabels, halfway
from workbench.condensation.judging.usable import decoded, fitting, random_real
from workbench.data import Dataset, Split
from workbench.models import Outputs, build
from workbench.records import DistilledSet
from workbench.training import TrainingError, fit

PLAIN = {"references": False, "progress": False}
SMALL = {"options": {"mlp": {"width": 8, "depth": 1}, "convnet": {"width": 8, "depth": 1}}}


@pytest.fixture(scope="module")
def data() -> Dataset:
    """Three classes of 6×6 images in float64, with normalisation constants that are not 0 and 1."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(3, 1, 6, 6, generator=generator, dtype=torch.float64)

    def split(n):
        labels = torch.arange(n) % 3
        inputs = centres[labels] + 0.7 * torch.randn(n, 1, 6, 6, generator=generator, dtype=torch.float64)
        mean = torch.full((1, 1, 1), 0.4, dtype=torch.float64)
        return Split(inputs, labels, ("a", "b", "c"), mean, mean / 2)

    return Dataset("tiny", split(60), split(45))


@pytest.fixture(scope="module")
def distilled(data) -> DistilledSet:
    return made(data)


def made(data, ipc=2, **changes) -> DistilledSet:
    few = data.train.per_class(ipc, seed=1)
    fields = {"name": "few", "method": "Random", "images": few.inputs, "labels": few.labels, "classes": data.classes}
    return DistilledSet(**fields | {"mean": data.mean, "std": data.std} | changes)


def settings(**changes):
    given = {"optimizer": "sgd", "lr": 0.01, "weight_decay": 5e-4, "schedule": halfway, "batch_size": 256}
    return given | {"progress": False, "evaluate_every": 0} | changes


def double(name, data, seed):
    return build(name, data, seed=seed, **SMALL["options"][name]).to(data.train.inputs.dtype)


def alone(data, split, seed, name="mlp", **changes):
    """Predictions of one network trained by itself, in the precision that `build` gives."""
    network = build(name, data, seed=seed, **SMALL["options"][name])
    fit(network, Dataset("d", split, data.test), seed=seed, **settings(**changes))
    with torch.no_grad():
        return network(data.test.inputs.to(next(network.parameters()))).argmax(1)


@pytest.mark.parametrize("name", ["mlp", "convnet"])
def test_each_seed_is_what_training_alone_gives(data, distilled, name):
    found = evaluate(distilled, data, name, seeds=[4, 7], epochs=30, full_epochs=3, progress=False, **SMALL)
    few, _, _ = decoded(distilled)
    for s, seed in enumerate((4, 7)):
        for split, accuracy, options in (
            (few, found.accuracy, {"epochs": 30}),
            (random_real(data.train, distilled.labels, seed), found.random_accuracy, {"epochs": 30}),
            (data.train, found.full_accuracy, {"epochs": 3, "batch_size": 64}),
        ):
            predicted = alone(data, split, seed, name, **options)
            assert float((predicted == data.test.labels).double().mean()) == pytest.approx(float(accuracy[0, s]))
    predicted = torch.stack([alone(data, few, seed, name, epochs=30) for seed in (4, 7)])
    right = predicted == data.test.labels
    confusion = torch.zeros(3, 3, dtype=torch.int64)
    for p in predicted:
        for t, q in zip(data.test.labels.tolist(), p.tolist(), strict=True):
            confusion[t, q] += 1
    assert torch.equal(found.confusion[0], confusion)
    for c in range(3):
        wanted = right[:, data.test.labels == c].double().mean(1)
        torch.testing.assert_close(found.per_class[0, :, c], wanted)
    assert found.networks == (name,)
    assert found.seeds == (4, 7)
    for which in ("distilled", "random", "full"):
        assert found.curves[which].shape == found.confidence[which].shape == (1, 2, len(found.curve_steps[which]))
        assert bool(((found.confidence[which] >= 1 / 3) & (found.confidence[which] <= 1)).all())
    torch.testing.assert_close(found.curves["distilled"][..., -1], found.accuracy)
    assert int(found.calibration[0].count.sum()) == 2 * len(data.test)


def test_repeatable_stackable_and_independent_of_company(data, distilled):
    both = evaluate(distilled, data, ("mlp", "convnet"), seeds=2, epochs=10, **PLAIN, **SMALL)
    again = evaluate(distilled, data, ("mlp", "convnet"), seeds=2, epochs=10, **PLAIN, **SMALL)
    single = evaluate(distilled, data, "convnet", seeds=[1], epochs=10, progress=False, full_epochs=1, **SMALL)
    assert torch.equal(both.accuracy, again.accuracy)
    assert both.accuracy.shape == (2, 2)
    assert float(both.accuracy[1, 1]) == float(single.accuracy[0, 0])


def test_soft_labels_follow_the_definition(data, distilled):
    probabilities = (0.7 * F.one_hot(distilled.labels, 3) + 0.1).float()
    soft = distilled.replace(labels=probabilities)
    few, kept, _ = decoded(fitting(soft, data))
    torch.testing.assert_close(kept.float(), probabilities)

    def loss(outputs, guide, labels):
        return -(guide.logits.softmax(-1) * outputs.logits.log_softmax(-1)).sum(-1)

    def guide(inputs, rows):
        return Outputs(probabilities.to(inputs).log()[rows])

    found = evaluate(soft, data, "mlp", seeds=[3], epochs=40, **PLAIN, **SMALL)
    predicted = alone(data, few, 3, epochs=40, loss=loss, guide=guide)
    assert float((predicted == data.test.labels).double().mean()) == pytest.approx(float(found.accuracy))
    assert found.settings["labels"] == "soft"
    # One-hot soft labels are hard labels; so a set learned beside hard ones is not disturbed by them.
    one_hot = distilled.replace(labels=F.one_hot(distilled.labels, 3).float())
    hard = evaluate(distilled, data, "mlp", seeds=2, epochs=20, progress=False, full_epochs=1, **SMALL)
    same = evaluate(one_hot, data, "mlp", seeds=2, epochs=20, progress=False, full_epochs=1, **SMALL)
    torch.testing.assert_close(hard.accuracy, same.accuracy)
    torch.testing.assert_close(hard.random_accuracy, same.random_accuracy)
    assert evaluate(soft, data, "mlp", labels="hard", seeds=1, epochs=1, **PLAIN, **SMALL).settings["labels"] == "hard"


def test_soft_cross_entropy_takes_zeros_and_temperatures():
    said = SoftLabels(torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.25, 0.25]], dtype=torch.float64))
    logits = torch.randn(2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    guide = said(logits, torch.tensor([0, 1]))
    value = SoftCrossEntropy()(Outputs(logits), guide, torch.zeros(2))
    assert float(value[0].detach()) == pytest.approx(float(-logits.detach().log_softmax(1)[0, 0]))
    value.sum().backward()
    assert bool(logits.grad.isfinite().all())
    T = 4.0
    p = (guide.logits[1] / T).softmax(0)
    wanted = -(T**2) * (p * (logits.detach()[1] / T).log_softmax(0)).sum()
    assert float(SoftCrossEntropy(T)(Outputs(logits), guide, torch.zeros(2))[1].detach()) == pytest.approx(
        float(wanted)
    )


def test_a_teacher_labels_the_images_and_the_random_real_ones(data, distilled):
    teacher = build("mlp", data, seed=9, width=8, depth=1).double()
    with torch.no_grad():
        labels = teacher(distilled.images).softmax(1).float()
    by_teacher = evaluate(distilled, data, "mlp", seeds=2, epochs=20, teacher=teacher, full_epochs=1,
                          progress=False, **SMALL)  # fmt: skip
    by_hand = evaluate(distilled.replace(labels=labels), data, "mlp", seeds=2, epochs=20, **PLAIN, **SMALL)
    torch.testing.assert_close(by_teacher.accuracy, by_hand.accuracy)
    hard = evaluate(distilled, data, "mlp", seeds=2, epochs=20, full_epochs=1, progress=False, **SMALL)
    assert not torch.equal(by_teacher.random_accuracy, hard.random_accuracy)


def test_views_are_decoded_and_know_their_image(data, distilled):
    tiles = distilled.replace(view={"tiles": 2, "mirror": True})
    examples, soft, owner = decoded(tiles)
    assert soft is None
    assert len(examples) == 6 * 4 * 2
    assert torch.equal(examples.labels, tiles.labels[owner])
    assert torch.bincount(owner).tolist() == [8] * 6
    only, _, _ = decoded(tiles.take([3]))
    torch.testing.assert_close(examples.inputs[owner == 3], only.inputs)
    found = evaluate(tiles, data, "convnet", seeds=1, epochs=2, full_epochs=1, progress=False, **SMALL)
    assert found.settings["examples"] == 48
    assert found.images == 6
    assert found.random_accuracy is not None


def test_other_normalisation_gives_the_same_networks(data, distilled):
    raw = distilled.replace(
        images=distilled.images * data.std + data.mean, mean=torch.zeros(1, 1, 1), std=torch.ones(1, 1, 1)
    )
    torch.testing.assert_close(fitting(raw, data).images, distilled.images)
    one, other = (evaluate(each, data, "mlp", seeds=1, epochs=10, **PLAIN, **SMALL) for each in (raw, distilled))
    torch.testing.assert_close(one.accuracy, other.accuracy)


def test_own_start_is_used_for_its_network_only(data, distilled):
    network = double("mlp", data, 77)
    own = distilled.replace(spec=network.spec, start=dict(network.state_dict()))
    found = evaluate(own, data, ("mlp", "convnet"), seeds=2, epochs=10, **PLAIN, **SMALL)
    assert found.settings["own_start"] == ["mlp"]
    assert float(found.accuracy[0, 0]) == float(found.accuracy[0, 1])  # one start, whole batches: one result
    assert "own initial weights" in found.summary()
    fresh = evaluate(own, data, "mlp", seeds=2, epochs=10, own_start=False, **PLAIN, **SMALL)
    plain = evaluate(distilled, data, "mlp", seeds=2, epochs=10, **PLAIN, **SMALL)
    assert torch.equal(fresh.accuracy, plain.accuracy)
    assert fresh.settings["own_start"] == []


def test_learned_step_size_is_the_learning_rate(data, distilled):
    learned = distilled.replace(step_size=torch.tensor(0.05))
    asked = evaluate(learned, data, "mlp", seeds=2, epochs=20, step_size=True, **PLAIN, **SMALL)
    given = evaluate(distilled, data, "mlp", seeds=2, epochs=20, lr=0.05, **PLAIN, **SMALL)
    torch.testing.assert_close(asked.accuracy, given.accuracy)
    torch.testing.assert_close(asked.curves["distilled"], given.curves["distilled"])


ALTERNATELY = torch.tensor([[True, False], [False, True]]).repeat(2, 3)
"""Four steps on three classes of two images: the first image of each class, the second, the first, the second."""


def test_learned_step_sizes_are_the_steps_of_a_replay(data):
    tiny = made(data, 2, step_size=torch.tensor([0.3, 0.1, 0.2, 0.4]), step_images=ALTERNATELY,
                spec=build("mlp", data, width=8, depth=1).spec)  # fmt: skip
    found = evaluate(tiny, data, "mlp", seeds=[0, 1], step_size=True, points=4, **PLAIN, **SMALL)
    single = tiny.replace(images=tiny.images.float())
    path = wb.condensation.replay(single, starts=[0, 1]).accuracy(data.test.to(dtype=torch.float32))
    torch.testing.assert_close(found.curves["distilled"][0], path[:, 1:])
    assert found.curve_steps["distilled"] == (1, 2, 3, 4)
    with pytest.raises(ValueError, match="replay"):
        score_history(with_snapshots(tiny), data, "mlp", step_size=True)
    for changes in ({"loss": SoftCrossEntropy(2.0)}, {"temperature": 2.0}):
        with pytest.raises(ValueError, match="repeats the distilled steps"):
            evaluate(tiny, data, "mlp", seeds=1, step_size=True, **changes, **PLAIN, **SMALL)


def test_an_image_taken_out_changes_no_other_images_steps(data):
    tiny = made(data, 2, step_size=torch.tensor([0.3, 0.1, 0.2, 0.4]), step_images=ALTERNATELY)
    rest = tiny.without([2])
    assert rest.step_images.tolist() == ALTERNATELY[:, [0, 1, 3, 4, 5]].tolist()
    found = evaluate(rest, data, "mlp", seeds=[3], step_size=True, points=4, **PLAIN, **SMALL)
    network = build("mlp", data, seed=3, **SMALL["options"]["mlp"])
    for rate, kept in zip([0.3, 0.1, 0.2, 0.4], [[0, 3], [1, 2, 4], [0, 3], [1, 2, 4]], strict=True):
        loss = F.cross_entropy(network(rest.images[kept].float()), rest.labels[kept])
        network.zero_grad()
        loss.backward()
        with torch.no_grad():
            for weight in network.parameters():
                weight.sub_(rate * weight.grad)
    with torch.no_grad():
        right = network(data.test.inputs.float()).argmax(1) == data.test.labels
    assert found.accuracy[0, 0] == pytest.approx(right.double().mean().item())
    with pytest.raises(ValueError, match="step 2 of 4 has lost all its images"):
        evaluate(tiny.take([0, 2, 4]), data, "mlp", seeds=1, step_size=True, **PLAIN, **SMALL)


def with_snapshots(distilled, k=3):
    noise = torch.randn(k - 1, *distilled.images.shape, generator=torch.Generator().manual_seed(0))
    snapshots = torch.cat([noise.to(distilled.images), distilled.images[None]]).half()
    return distilled.replace(snapshots=snapshots, snapshot_iterations=tuple(range(k)), loss=torch.zeros(k - 1))


def test_history_is_scored_as_each_moment_would_be(data, distilled):
    history = with_snapshots(distilled)
    shares = []
    found = score_history(
        history, data, "mlp", seeds=2, epochs=20, options=SMALL["options"]["mlp"], watch=shares.append
    )
    each = [evaluate(history.at(i), data, "mlp", seeds=2, epochs=20, **PLAIN, **SMALL).mean() for i in range(3)]
    torch.testing.assert_close(found.snapshot_accuracy, torch.tensor(each))
    assert shares[-1] == 1.0
    assert shares == sorted(shares)
    with pytest.raises(ValueError, match="kept no snapshots"):
        score_history(distilled, data, "mlp")


def test_watch_sees_everything_and_can_stop(data, distilled):
    moments = []
    evaluate(distilled, data, ("mlp", "convnet"), seeds=2, epochs=10, full_epochs=2, points=5, progress=False,
             watch=moments.append, **SMALL)  # fmt: skip
    assert moments[-1].share == pytest.approx(1.0)
    assert [m.share for m in moments] == sorted(m.share for m in moments)
    assert {m.network for m in moments} == {"mlp", "convnet"}
    assert moments[0].trained_on == ("distilled", "random")
    assert set(moments[-1].accuracy) == {"distilled", "random", "full"}
    assert int(moments[0].accuracy["distilled"].isnan().sum()) == 2 * 4

    def stop(moment):
        if moment.network == "convnet" and moment.step == 4:
            raise KeyboardInterrupt

    stopped = evaluate(distilled, data, ("mlp", "convnet"), seeds=2, epochs=10, full_epochs=2, points=5,
                       progress=False, watch=stop, **SMALL)  # fmt: skip
    assert stopped.interrupted
    assert stopped.networks == ("mlp", "convnet")
    assert stopped.full_accuracy is None  # the second architecture had not come to it
    assert stopped.random_accuracy is not None
    assert int((~stopped.curves["distilled"][1, 0].isnan()).sum()) == 2

    def at_once(moment):
        raise InterruptedError

    with pytest.raises(InterruptedError):
        evaluate(distilled, data, "mlp", seeds=1, epochs=2, watch=at_once, **PLAIN, **SMALL)


def test_augmentation_is_each_networks_own(data, distilled):
    few, _, _ = decoded(distilled)
    found = evaluate(distilled, data, "mlp", seeds=[2, 5], epochs=15, augment="shift", **PLAIN, **SMALL)
    for s, seed in enumerate((2, 5)):
        predicted = alone(data, few, seed, epochs=15, augment="shift")
        assert float((predicted == data.test.labels).double().mean()) == pytest.approx(float(found.accuracy[0, s]))


def test_memory_limit_only_splits_the_work(data, distilled, monkeypatch):
    whole = evaluate(distilled, data, "convnet", seeds=3, epochs=5, **PLAIN, **SMALL)
    monkeypatch.setattr("workbench.condensation.judging.teaching.ACTIVATION_BYTES", 1)
    parts = evaluate(distilled, data, "convnet", seeds=3, epochs=5, **PLAIN, **SMALL)
    torch.testing.assert_close(whole.accuracy, parts.accuracy)


def test_recipe_counts_steps_as_training_does():
    for examples in (1, 255, 256, 257, 300, 512):
        recipe = Recipe(epochs=3)
        course = wb.training.plan.make(
            examples, epochs=3, steps=None, batch_size=256, schedule="constant", warmup=0, snapshots=0,
            evaluate_every=None,
        )  # fmt: skip
        assert recipe.length(examples) == course.steps


def test_record_survives_a_file_and_tells_itself(data, distilled, tmp_path):
    found = evaluate(distilled, data, ("mlp",), seeds=3, epochs=5, full_epochs=1, progress=False, **SMALL)
    back = records.open(found.save(tmp_path / "e.safetensors"))
    assert torch.equal(back.accuracy, found.accuracy)
    assert back.curve_steps == found.curve_steps
    frame = back.to_frame()
    assert len(frame) == 9
    assert set(frame["trained on"]) == {"distilled", "random", "full"}
    assert "random real" in back.summary()
    low, high = back.interval(0)
    assert low <= back.mean(0) <= high
    assert evaluate(distilled, data, "mlp", seeds=1, epochs=1, **PLAIN, **SMALL).interval(0) == (-torch.inf, torch.inf)


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"classes": ("a", "b")}, {}, "2 classes"),
        ({"images": torch.zeros(6, 1, 5, 5)}, {}, "shape"),
        ({"images": torch.full((6, 1, 6, 6), torch.nan)}, {}, "image 0 of few is not finite"),
        ({}, {"labels": "soft"}, "pass a teacher"),
        ({}, {"labels": "fuzzy"}, "'hard' or 'soft'"),
        ({}, {"step_size": True}, "no step size was learned"),
        ({"step_size": torch.tensor(-0.1)}, {"step_size": True}, "positive"),
        ({}, {"seeds": 0}, "whole number of at least 1"),
        ({}, {"networks": ()}, "at least one"),
        ({}, {"epochs": 0}, "epochs is 0"),
        ({}, {"batch_size": 0}, "batch_size is 0"),
        ({}, {"temperature": 0.0}, "temperature"),
        ({}, {"networks": "transformer"}, "transformer"),
        ({}, {"schedule": "linear"}, "schedule"),
    ],
)
def test_bad_input_is_named(data, distilled, changes, options, message):
    if "classes" in changes:
        changes = changes | {"labels": distilled.labels.clamp(max=1)}
    given = {"networks": "mlp", "seeds": 1, "epochs": 1} | PLAIN | options
    with pytest.raises(ValueError, match=message):
        evaluate(distilled.replace(**changes), data, **given)


def test_too_few_real_images_are_named(data):
    many = made(data, 20)
    few = dataclasses.replace(data, train=data.train.per_class(5))
    with pytest.raises(ValueError, match="only 5 real ones"):
        evaluate(many, few, "mlp", seeds=1, epochs=1, progress=False, **SMALL)


def test_divergence_says_which_network(data, distilled):
    with pytest.raises(TrainingError, match=r"mlp trained on distilled images.*lower lr"):
        evaluate(distilled.replace(images=distilled.images * 1e4), data, "mlp", seeds=1, epochs=50, lr=1e6,
                 weight_decay=0.0, **PLAIN, **SMALL)  # fmt: skip


def test_a_checkpoint_continues_with_the_networks_that_are_not_finished(data, distilled, tmp_path, capsys):
    path = tmp_path / "evaluation.safetensors"
    given = {"seeds": 2, "epochs": 4, "full_epochs": 1, "points": 2, "progress": False, **SMALL}
    whole = evaluate(distilled, data, ("mlp", "convnet"), **given)

    def stop(moment):
        if moment.network == "convnet":
            raise KeyboardInterrupt

    evaluate(distilled, data, ("mlp", "convnet"), checkpoint=path, watch=stop, **given)
    assert f"resume={str(path)!r} goes on" in capsys.readouterr().out
    kept = records.open(path)
    assert (kept.what, kept.done, kept.interrupted) == ("evaluate", 2, True)
    trained = []
    rest = evaluate(
        distilled, data, ("mlp", "convnet"), resume=path, checkpoint=path,
        watch=lambda moment: trained.append(moment.network), **given,
    )  # fmt: skip
    assert set(trained) == {"convnet"}
    assert torch.equal(rest.accuracy, whole.accuracy)
    assert torch.equal(rest.random_accuracy, whole.random_accuracy)
    assert not records.open(path).interrupted
    with pytest.raises(ValueError, match="resume is an evaluation with another distilled set"):
        evaluate(distilled.replace(images=-distilled.images), data, ("mlp", "convnet"), resume=path, **given)
    with pytest.raises(ValueError, match=r"resume is an evaluation with seeds=\[0, 1\], not \[0, 1, 2\]"):
        evaluate(distilled, data, ("mlp", "convnet"), resume=path, **{**given, "seeds": 3})


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"epochs": 1.5}, r"epochs is 1\.5; it must be a whole number of at least 1"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"lr": math.nan}, "lr is nan; it must be a positive number"),
        ({"temperature": 0}, "temperature is 0; it must be a positive number"),
        ({"seeds": 0}, "seeds is 0; it must be a whole number of at least 1"),
        ({"momentum": "0.9"}, "momentum is '0"),
    ],
)
def test_numbers_that_cannot_be_meant_are_refused(data, distilled, setting, message):
    with pytest.raises(ValueError, match=message):
        evaluate(distilled, data, "mlp", **setting)
