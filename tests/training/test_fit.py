"""One network: what the record holds, options, and what is refused."""

import math

import pytest
import torch
from torch import nn

from workbench import records
from workbench.data import load
from workbench.models import Outputs
from workbench.training import TrainingError, evaluate, fit, losses


def test_learns_and_records(tiny, make):
    record = fit(make("mlp"), tiny, epochs=15, lr=0.02, batch_size=16, snapshots=5, progress=False, name="one")
    assert record.accuracy > 0.8
    assert list(record.curves) == ["train_loss", "train_accuracy", "test_loss", "test_accuracy", "learning_rate"]
    assert all(curve.shape == (15,) for curve in record.curves.values())
    assert record.curves["train_loss"][-1] < record.curves["train_loss"][0]
    assert record.per_class_accuracy.shape == (15, 3)
    counts = torch.bincount(tiny.test.labels).double() / len(tiny.test)
    assert torch.allclose(record.per_class_accuracy[-1] @ counts, record.curves["test_accuracy"][-1])
    assert record.snapshot_epochs == (0, 5, 10, 15)
    assert record.calibration.count.sum() == len(tiny.test)
    assert not record.interrupted
    with torch.no_grad():
        last = record.model_at(15).double()(tiny.test.inputs)
    assert (last.argmax(1) == tiny.test.labels).double().mean() == record.accuracy
    assert evaluate(record.model, tiny.test)["accuracy"] == pytest.approx(record.accuracy)


def test_record_survives_a_file(tiny, make, tmp_path):
    record = fit(make("convnet"), tiny, epochs=1, snapshots="all", progress=False)
    opened = records.open(record.save(tmp_path / "run.safetensors"))
    assert opened.settings == record.settings
    assert opened.snapshot_epochs == (0, 1)
    assert all(torch.equal(opened.state[name], record.state[name]) for name in record.state)


@pytest.mark.parametrize("name", ["convnet", "batchnorm", "vit", "resnet8"])
def test_same_seed_same_bits(tiny, make, same_bits, name):
    runs = [fit(make(name), tiny, epochs=1, batch_size=16, augment="shift", progress=False) for _ in range(2)]
    same_bits(*runs)
    other = fit(make(name), tiny, epochs=1, batch_size=16, augment="shift", seed=1, progress=False)
    assert not torch.equal(other.curves["train_loss"], runs[0].curves["train_loss"])


def test_global_random_state_is_left_alone(tiny):
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.Dropout(0.5), nn.Linear(8, 3)).double()
    before = torch.get_rng_state()
    fit(model, tiny, epochs=1, augment="noise", progress=False)
    assert torch.equal(before, torch.get_rng_state())


def test_weight_zero_signal_reproduces_plain_training(tiny, make, same_bits):
    """A teacher that counts for nothing changes no bit: what a loss or a guide does never shifts the data's draws."""
    teacher = make("mlp", 5)

    def guide(inputs, rows):
        torch.rand(3)
        return Outputs(teacher(inputs))

    def loss(outputs, guide, labels):
        return losses.cross_entropy(outputs, None, labels) + 0.0 * guide.logits.sum(1)

    options = {"epochs": 2, "batch_size": 16, "augment": "shift+noise", "progress": False}
    plain = fit(make("mlp"), tiny, **options)
    same_bits(plain, fit(make("mlp"), tiny, loss=loss, guide=guide, **options))


def test_trainable_loss_is_trained_and_not_kept(tiny, make):
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones((), dtype=torch.float64))
            self.logged = {}

        def forward(self, outputs, guide, labels):
            self.logged = {"scale": self.scale}
            assert set(outputs.features) == {"hidden.0", "hidden.1"}
            return losses.cross_entropy(Outputs(outputs.logits * self.scale), None, labels)

    loss = Scaled()
    record = fit(make("mlp"), tiny, epochs=2, loss=loss, layers="hidden.*", progress=False)
    assert loss.scale != 1
    assert record.curves["scale"].shape == (2,)
    assert not any("scale" in name for name in record.state)


def test_steps_instead_of_epochs(tiny, make):
    record = fit(make("mlp"), tiny, steps=50, batch_size=16, evaluate_every=20, progress=False)
    assert record.epochs == 3  # after 20, 40 and 50 steps
    assert record.checkpoint["step"] == 50
    assert fit(make("mlp"), tiny, steps=400, batch_size=16, progress=False).epochs == 20


def test_sparse_evaluation_leaves_gaps_but_ends_with_a_value(tiny, make):
    record = fit(make("mlp"), tiny, epochs=5, evaluate_every=2, progress=False)
    assert record.curves["test_accuracy"].isnan().tolist() == [True, False, True, False, False]
    assert record.per_class_accuracy.shape == (5, 3)
    last = fit(make("mlp"), tiny, epochs=3, evaluate_every=0, progress=False)
    assert last.curves["test_loss"].isnan().tolist() == [True, True, False]
    assert not math.isnan(last.accuracy)


def test_learning_rate_curve_follows_warmup_and_schedule(tiny, make):
    record = fit(make("mlp"), tiny, epochs=4, batch_size=46, lr=0.4, warmup=2, schedule="constant", progress=False)
    assert record.curves["learning_rate"].tolist() == pytest.approx([0.2, 0.4, 0.4, 0.4])


def test_regression(make):
    data = load("diabetes").to(dtype=torch.float64)
    model = nn.Sequential(nn.Linear(data.shape[0], 8), nn.Tanh(), nn.Linear(8, 1)).double()
    record = fit(model, data, epochs=5, lr=0.01, progress=False)
    assert set(record.curves) == {"train_loss", "test_loss", "learning_rate"}
    assert record.per_class_accuracy is None
    assert record.calibration is None
    assert set(evaluate(model, data.test)) == {"mse", "rmse", "r2"}


def test_split_alone_trains_without_testing(tiny, make):
    record = fit(make("mlp"), tiny.train, epochs=1, progress=False)
    assert "test_loss" not in record.curves
    assert record.calibration is None


def test_single_leftover_example_joins_the_last_batch(tiny):
    """Batch norm cannot normalise one example: 46 = 3 · 15 + 1."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)).double()
    assert fit(model, tiny, epochs=1, batch_size=15, progress=False).checkpoint["step"] == 3


def test_mixed_precision(tiny, make):
    record = fit(make("mlp").float(), tiny.to(dtype=torch.float32), epochs=3, lr=0.02, amp=True, progress=False)
    assert torch.isfinite(record.curves["train_loss"]).all()
    assert all(value.dtype == torch.float32 for value in record.state.values())


def test_custom_optimizer(tiny, make, same_bits):
    options = {"epochs": 2, "schedule": "constant", "progress": False}
    named = fit(make("mlp"), tiny, optimizer="sgd", lr=0.1, **options)
    own = fit(
        make("mlp"), tiny, optimizer=lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, fused=True), lr=0.1, **options
    )
    same_bits(named, own)


def test_diverging_loss_names_step_and_rate_and_keeps_the_last_sound_epoch(tiny, make):
    steps = []

    def loss(outputs, guide, labels):
        steps.append(len(steps))
        value = losses.cross_entropy(outputs, None, labels)
        return value * (math.inf if len(steps) == 8 else 1)

    with pytest.raises(TrainingError, match=r"step 7 of 12 \(learning rate 0.05") as caught:
        fit(make("mlp"), tiny, epochs=4, batch_size=16, loss=loss, lr=0.05, schedule="constant", progress=False)
    record = caught.value.record
    assert record.epochs == 2
    assert all(value.isfinite().all() for value in record.state.values())
    assert record.checkpoint["step"] == 6
    resumed = fit(make("mlp"), tiny, epochs=4, batch_size=16, lr=0.01, resume=record, progress=False)
    assert resumed.epochs == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": -1}, "epochs is -1"),
        ({"epochs": 2.5}, "epochs is 2.5"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"schedule": "linear"}, "schedule is 'linear'; it can be 'cosine'"),
        ({"optimizer": "lion"}, "optimizer is 'lion'; it can be 'adam'"),
        ({"augment": "shift+flop"}, "no 'flop'; names are shift"),
        ({"lr": 0.0}, "lr is 0.0"),
        ({"warmup": 99}, "make it shorter"),
        ({"snapshots": [0, 9]}, "epoch 9"),
        ({"snapshots": "some"}, "snapshots is 'some'"),
        ({"device": "gpu7"}, "device is 'gpu7'"),
        ({"evaluate_every": -1}, "evaluate_every is -1"),
    ],
)
def test_refuses_at_the_door(tiny, make, options, message):
    with pytest.raises(ValueError, match=message):
        fit(make("mlp"), tiny, **{"epochs": 2, "progress": False, **options})


def test_loss_of_a_wrong_shape_is_refused(tiny, make):
    with pytest.raises(ValueError, match=r"loss returned shape \(16, 3\)"):
        fit(make("mlp"), tiny, batch_size=16, loss=lambda outputs, guide, labels: outputs.logits, progress=False)


def test_a_terminal_shows_a_bar(tiny, make, capsys):
    fit(make("mlp"), tiny, epochs=2, name="digits")
    shown = capsys.readouterr().err
    assert "digits: 100%" in shown
    assert "test accuracy=" in shown
