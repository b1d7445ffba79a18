"""Many networks as one: each member is what `fit` makes of it alone."""

import dataclasses
from dataclasses import replace

import pytest
import torch
from torch import nn

from workbench.models import Outputs, observe
from workbench.training import Ensemble, Guide, TrainingError, fit, grouping, losses

SEEDS = (3, 4, 8)


class Hint(nn.Module):
    """A loss with a trainable regressor on a feature and a teacher."""

    def __init__(self, seed: int, student: str, width: int):
        super().__init__()
        self.student = student
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.map = nn.Linear(width, 3).double()

    def forward(self, outputs, guide, labels):
        guess = self.map(outputs.features[self.student].flatten(1))
        return losses.cross_entropy(outputs, None, labels) + (guess - guide.logits).square().mean(1)


def one_by_one(make, name, data, lrs, **options):
    return [
        fit(make(name, seed), data[i] if isinstance(data, list) else data, seed=seed, lr=lr, progress=False, **options)
        for i, (seed, lr) in enumerate(zip(SEEDS, lrs, strict=True))
    ]


def together(make, name, data, lr, **options):
    return Ensemble([make(name, seed) for seed in SEEDS]).fit(data, lr=lr, seeds=SEEDS, progress=False, **options)


@pytest.mark.parametrize("lr", [0.01, (0.02, 0.01, 0.003)], ids=["one rate", "a rate each"])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("name", ["mlp", "convnet", "vit", "batchnorm", "resnet8", "mixer"])
def test_equals_one_by_one(tiny, make, close, name, optimizer, lr):
    options = {"epochs": 2, "batch_size": 16, "optimizer": optimizer, "snapshots": "all"}
    if optimizer == "sgd":  # with Adam, decay amplifies rounding where the true gradient is 0 (a key bias)
        options["weight_decay"] = 1e-3
    rates = (lr,) * 3 if isinstance(lr, float) else lr
    for a, b in zip(
        together(make, name, tiny, lr, **options), one_by_one(make, name, tiny, rates, **options), strict=True
    ):
        close(a, b)
        assert torch.allclose(a.per_class_accuracy, b.per_class_accuracy)
        assert a.calibration.ece == pytest.approx(b.calibration.ece)
        assert a.settings["seed"] == b.settings["seed"]
        for key in b.snapshots:
            torch.testing.assert_close(a.snapshots[key], b.snapshots[key], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_only_weights_that_the_loss_does_not_depend_on_drift_and_only_under_adam(tiny, make, optimizer):
    """A constant added to every key changes no attention: its bias has rounding for gradient, which Adam scales up."""
    single = replace(tiny, train=narrowed(tiny.train), test=narrowed(tiny.test))
    options = {"epochs": 10, "batch_size": 16, "optimizer": optimizer, "device": "cpu"}
    make_one = lambda name, seed: make(name, seed).float()  # noqa: E731
    pairs = zip(
        together(make_one, "vit", single, 0.01, **options),
        one_by_one(make_one, "vit", single, (0.01,) * 3, **options),
        strict=True,
    )
    drifts = []
    for a, b in pairs:
        gaps = {name: float((value - b.state[name]).abs().max()) for name, value in a.state.items()}
        free = [name for name in gaps if name.endswith("qkv.bias")]
        assert max(gap for name, gap in gaps.items() if name not in free) < 1e-5
        third = len(a.state[free[0]]) // 3
        key = slice(third, 2 * third)
        difference = (a.state[free[0]] - b.state[free[0]]).abs()
        assert float(torch.cat([difference[:third], difference[2 * third :]]).max()) < 1e-5
        drifts.append(float(difference[key].max()))
        with torch.no_grad():
            one, other = (network.eval()(single.test.inputs) for network in (a.model, b.model))
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    assert (max(drifts) > 1e-3) is (optimizer == "adam")


def narrowed(split):
    """The split in single precision."""
    return replace(split, inputs=split.inputs.float(), mean=split.mean.float(), std=split.std.float())


@pytest.mark.parametrize("groups", [2, 3])
def test_groups_on_threads_equal_one_by_one(tiny, make, close, monkeypatch, groups):
    monkeypatch.setattr("workbench.training.ensemble.group_count", lambda *_: groups)
    options = {"epochs": 2, "batch_size": 16, "augment": "shift"}
    teacher = make("mlp", 1)
    for a, b in zip(
        together(make, "convnet", tiny, 0.01, loss=Projecting(), guide=Guide(teacher), **options),
        one_by_one(make, "convnet", tiny, (0.01,) * 3, loss=Projecting(), guide=Guide(teacher), **options),
        strict=True,
    ):
        close(a, b)


class Projecting:
    """A loss without trainable parts that looks at the teacher."""

    def __call__(self, outputs, guide, labels):
        return losses.cross_entropy(outputs, None, labels) + (outputs.logits - guide.logits).square().mean(1)


@pytest.mark.parametrize("name", ["mlp", "convnet"])
@pytest.mark.parametrize("augment", [None, "shift+cutout+noise"])
def test_guides_and_trainable_losses_equal_one_by_one(tiny, make, close, name, augment):
    layer, width = ("hidden.0", 8) if name == "mlp" else ("stage1", 72)
    teachers = [make("vit", seed) for seed in (1, 2, 3)]
    options = {"epochs": 2, "batch_size": 16, "layers": layer, "augment": augment}
    hints = [Hint(seed, layer, width) for seed in SEEDS]
    got = together(make, name, tiny, 0.01, loss=hints, guide=[Guide(t) for t in teachers], **options)
    for i, seed in enumerate(SEEDS):
        want = fit(
            make(name, seed),
            tiny,
            seed=seed,
            lr=0.01,
            loss=Hint(seed, layer, width),
            guide=Guide(teachers[i]),
            progress=False,
            **options,
        )
        close(got[i], want)


def test_own_data_and_labels_per_member(tiny, make, close):
    """Different subsets of equal size; and the same inputs under different labels."""
    subsets = [tiny.subset(21, seed=seed) for seed in SEEDS]
    relabelled = [
        dataclasses.replace(tiny, train=dataclasses.replace(tiny.train, labels=(tiny.train.labels + k) % 3))
        for k in range(3)
    ]
    for data in (subsets, relabelled):
        options = {"epochs": 2, "batch_size": 16}
        got = together(make, "mlp", data, 0.01, **options)
        for a, b in zip(got, one_by_one(make, "mlp", data, (0.01,) * 3, **options), strict=True):
            close(a, b)


def test_optimizer_of_ones_own_sees_whole_parameters(tiny, make, close):
    """An optimizer that looks at a whole parameter's norm must look at one member's."""

    class Normed(torch.optim.Optimizer):
        def __init__(self, params):
            super().__init__(params, {"lr": 0.05})

        @torch.no_grad()
        def step(self):
            for group in self.param_groups:
                for p in group["params"]:
                    if p.grad is not None:
                        p.sub_(group["lr"] * p.grad / p.grad.norm())

    options = {"epochs": 1, "batch_size": 16, "optimizer": Normed}
    for a, b in zip(
        together(make, "mlp", tiny, 0.05, **options), one_by_one(make, "mlp", tiny, (0.05,) * 3, **options), strict=True
    ):
        close(a, b)


def test_parameters_without_gradient_are_left_alone(tiny, make, close):
    """A hint that does not reach the head: no weight decay on it either."""

    def loss(outputs, guide, labels):
        return outputs.features["hidden.0"].square().mean(1)

    options = {
        "epochs": 1,
        "batch_size": 16,
        "optimizer": "adamw",
        "weight_decay": 0.1,
        "loss": loss,
        "layers": "hidden.0",
    }
    for a, b in zip(
        together(make, "mlp", tiny, 0.01, **options), one_by_one(make, "mlp", tiny, (0.01,) * 3, **options), strict=True
    ):
        close(a, b)
        assert torch.equal(a.state["head.weight"], b.state["head.weight"])


@pytest.mark.parametrize("lr", [0.01, (0.02, 0.01, 0.003)])
def test_member_record_resumes_alone_and_together(tiny, make, close, lr):
    options = {"batch_size": 16, "schedule": "constant"}
    whole = together(make, "mlp", tiny, lr, epochs=3, **options)
    half = together(make, "mlp", tiny, lr, epochs=1, **options)
    again = together(make, "mlp", tiny, lr, epochs=3, resume=half, **options)
    for a, b in zip(again, whole, strict=True):
        close(a, b)
    rate = lr if isinstance(lr, float) else lr[1]
    alone = fit(make("mlp"), tiny, epochs=3, lr=rate, seed=SEEDS[1], resume=half[1], progress=False, **options)
    close(alone, whole[1])


def test_models_are_trained_in_place_and_members_can_be_taken_out(tiny, make):
    models = [make("convnet", seed) for seed in SEEDS]
    ensemble = Ensemble(models)
    got = ensemble.fit(tiny, epochs=1, seeds=SEEDS, progress=False, name="run")
    assert [record.name for record in got] == ["run 0", "run 1", "run 2"]
    for i, record in enumerate(got):
        assert record.model is models[i]
        assert ensemble.member(i) is models[i]
        assert all(torch.equal(models[i].state_dict()[key], record.state[key]) for key in record.state)
    with torch.no_grad():
        apart = torch.stack([model(tiny.test.inputs) for model in models])
    torch.testing.assert_close(ensemble.outputs(tiny.test.inputs).logits, apart)
    assert ensemble.evaluate(tiny.test)["accuracy"].tolist() == pytest.approx([record.accuracy for record in got])


@pytest.mark.parametrize("name", ["mlp", "convnet", "vit", "resnet8"])
def test_outputs_and_features_equal_the_networks_own(tiny, make, name):
    models = [make(name, seed) for seed in SEEDS]
    layers = [models[0].penultimate, "**"] if name != "vit" else ["blocks.0", "norm"]
    layers = [models[0].penultimate] if name == "resnet8" else layers[:1]
    ensemble = Ensemble(models)
    shared = ensemble.outputs(tiny.test.inputs, layers)
    each = ensemble.outputs(tiny.test.inputs.expand(3, *tiny.test.inputs.shape), layers)
    for i, model in enumerate(models):
        with torch.no_grad():
            want = observe(model.eval(), layers)(tiny.test.inputs)
        for got in (shared, each):
            torch.testing.assert_close(got.logits[i], want.logits)
            for key in want.features:
                torch.testing.assert_close(got.features[key][i], want.features[key])


def test_step_by_step_equals_a_plain_loop(tiny, make):
    """The lower level, as mutual learning uses it: two ensembles that teach each other."""
    x, y = tiny.train.inputs[:16], tiny.train.labels[:16]

    def loss(outputs, guide, labels):
        return losses.cross_entropy(outputs, None, labels) + (outputs.logits - guide.logits).square().mean(1)

    pairs = [Ensemble([make(name, seed) for seed in SEEDS]) for name in ("mlp", "convnet")]
    for ensemble in pairs:
        ensemble.prepare(loss=loss, optimizer="sgd", lr=0.1)
    batch = x.expand(3, *x.shape), y.expand(3, -1)
    for _ in range(3):
        said = [ensemble.outputs(batch[0], training=True) for ensemble in pairs]
        got = [pairs[0].step(*batch, said[1]), pairs[1].step(*batch, said[0])]
    assert got[0].shape == (3,)

    for i, seed in enumerate(SEEDS):
        plain = [make(name, seed).train() for name in ("mlp", "convnet")]
        steppers = [torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9) for model in plain]
        for _ in range(3):
            with torch.no_grad():
                said = [Outputs(model(x)) for model in plain]
            for model, stepper, other in zip(plain, steppers, said[::-1], strict=True):
                stepper.zero_grad()
                loss(Outputs(model(x)), other, y).mean().backward()
                stepper.step()
        for ensemble, model in zip(pairs, plain, strict=True):
            for a, b in zip(ensemble.member(i).parameters(), model.parameters(), strict=True):
                torch.testing.assert_close(a, b)


def test_logged_values_become_curves(tiny, make):
    class Loss(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones((), dtype=torch.float64))

        def forward(self, outputs, guide, labels):
            self.logged = {"scale": self.scale}
            return losses.cross_entropy(Outputs(outputs.logits * self.scale), None, labels)

    got = together(make, "mlp", tiny, 0.01, epochs=2, loss=Loss())
    assert len({record.curves["scale"][-1].item() for record in got}) == 3


def test_one_diverging_member_is_named_and_all_are_kept(tiny, make):
    with pytest.raises(TrainingError, match=r"of member 2 is .* at step") as caught:
        together(make, "mlp", tiny, (0.01, 0.01, 1e200), epochs=6, batch_size=16, optimizer="sgd")
    assert len(caught.value.records) == 3
    assert all(value.isfinite().all() for record in caught.value.records for value in record.state.values())


def test_refuses_what_does_not_fit(tiny, make):
    with pytest.raises(ValueError, match=r"models\[1\] differs from models\[0\]"):
        Ensemble([make("mlp"), make("convnet")])
    with pytest.raises(ValueError, match="models is empty"):
        Ensemble([])
    with pytest.raises(ValueError, match="pass data and seeds"):
        Ensemble("mlp", tiny)
    pair = Ensemble([make("mlp", 0), make("mlp", 1)])
    for options, message in [
        ({"lr": [0.1]}, "lr has 1 entries for 2 networks"),
        ({"seeds": [1, 2, 3]}, "seeds has 3 entries"),
        ({"loss": [Hint(0, "hidden.0", 8)]}, "loss has 1 entries"),
        ({"data": [tiny, tiny.subset(20)]}, "equal size"),
    ]:
        with pytest.raises(ValueError, match=message):
            pair.fit(**{"data": tiny, "progress": False, **options})


def test_grouping_is_decided_by_work_and_randomness(tiny, make):
    cpu = torch.device("cpu")
    example = tiny.train.inputs[0]
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert grouping.group_count([make("mlp")] * 10, example, 64, cpu) == 1
        wide = nn.Sequential(nn.Flatten(), nn.Linear(36, 2000), nn.Linear(2000, 3)).double()
        assert grouping.group_count([wide] * 10, example, 640, cpu) == 2
        random = nn.Sequential(nn.Flatten(), nn.Linear(36, 2000), nn.Dropout(), nn.Linear(2000, 3)).double()
        assert grouping.group_count([random] * 10, example, 640, cpu) == 1
    finally:
        torch.set_num_threads(threads)


def test_dropout_differs_between_members_and_repeats(tiny):
    def network():
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.Dropout(0.5), nn.Linear(8, 3)).double()

    runs = [Ensemble([network(), network()]).fit(tiny, epochs=1, seeds=[0, 0], progress=False) for _ in range(2)]
    assert not torch.equal(runs[0][0].state["1.weight"], runs[0][1].state["1.weight"])
    assert torch.equal(runs[0][0].state["1.weight"], runs[1][0].state["1.weight"])


@pytest.mark.parametrize("stop_at", [None, 2])
def test_watch_sees_the_scores_and_can_stop(tiny, make, stop_at, capsys):
    seen = []

    def watch(step, scores):
        seen.append((step, scores.accuracy.tolist(), scores.logits.shape))
        if len(seen) == stop_at:
            raise KeyboardInterrupt

    records = Ensemble([make("mlp", seed) for seed in SEEDS]).fit(
        tiny, steps=8, evaluate_every=2, progress=False, watch=watch
    )
    points = 4 if stop_at is None else stop_at
    assert [step for step, _, _ in seen] == [2 * (k + 1) for k in range(points)]
    assert all(shape == (3, 30, 3) for _, _, shape in seen)
    for member, record in enumerate(records):
        assert record.curves["test_accuracy"].tolist() == [accuracy[member] for _, accuracy, _ in seen]
        assert record.interrupted == (stop_at is not None)
        assert record.checkpoint["step"] == 2 * points
