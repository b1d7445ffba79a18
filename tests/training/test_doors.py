"""`fit`, `Ensemble.fit`, `evaluate` and `distill` take what a torch user has, and refuse what cannot be meant."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils import data as torch_data

from workbench import records
from workbench.knowledge import KL, distill, distill_many
from workbench.training import Ensemble, evaluate, fit

QUIET = {"epochs": 2, "batch_size": 16, "progress": False}


class Tokens(nn.Module):
    """A classifier of token ids, as BERT is one in small: its logits come in an object."""

    def __init__(self, seed=0):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.embed = nn.Embedding(11, 8)
            self.head = nn.Linear(8, 3)

    def forward(self, input_ids):
        return {"logits": self.head(self.embed(input_ids).mean(1))}


@pytest.fixture(scope="module")
def tokens():
    ids = torch.randint(0, 11, (40, 5), generator=torch.Generator().manual_seed(1))
    return {"input_ids": ids, "labels": ids[:, 0] % 3}


def test_every_verb_takes_tensors_arrays_loaders_and_dicts(tiny, make, same_bits):
    x, y = tiny.train.inputs, tiny.train.labels
    wanted = fit(make("mlp"), tiny.train, **QUIET)
    for given in (
        (x, y),
        (x.numpy(), y.numpy()),
        torch_data.TensorDataset(x, y),
        torch_data.DataLoader(torch_data.TensorDataset(x, y), batch_size=7, shuffle=True),
        {"images": x, "labels": y},
    ):
        same_bits(wanted, fit(make("mlp"), given, **QUIET))
    whole = ((x, y), (tiny.test.inputs, tiny.test.labels))
    tested = fit(make("mlp"), whole, **QUIET)
    assert tested.accuracy == fit(make("mlp"), tiny, **QUIET).accuracy
    assert evaluate(tested.model, whole[1]) == evaluate(tested.model, tiny.test)
    (one,) = Ensemble([make("mlp")]).fit((x, y), **QUIET)
    assert one.epochs == 2
    told = distill(make("mlp", 3), make("mlp"), tiny.train, **QUIET)
    same_bits(told, distill(make("mlp", 3), make("mlp"), (x, y), **QUIET))
    assert len(distill_many(make("mlp", 3), [make("mlp"), make("mlp", 1)], (x, y), **QUIET)) == 2


def test_token_ids_are_trained_on_distilled_and_scored(tokens):
    teacher = fit(Tokens(1), tokens, epochs=30, lr=0.1, progress=False).model
    assert evaluate(teacher, tokens)["accuracy"] > 0.6
    before = evaluate(Tokens(2), tokens)["nll"]
    student = distill(teacher, Tokens(2), tokens, KL(temperature=2), epochs=10, lr=0.05, progress=False).model
    assert evaluate(student, tokens)["nll"] < before
    ensemble = Ensemble([Tokens(2), Tokens(3)])
    alone = fit(Tokens(2), tokens, **QUIET)
    first, _ = ensemble.fit(tokens, **QUIET, seeds=[0, 1])
    assert torch.allclose(first.curves["train_loss"], alone.curves["train_loss"], atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epoch": 3}, "fit has no argument 'epoch': did you mean 'epochs'?"),
        ({"batch": 8}, "fit has no argument 'batch': did you mean 'batch_size'?"),
        ({"learning_rate": 8}, "fit has no argument 'learning_rate': it takes model, data"),
        ({"data": "digits"}, "data is 'digits', a name: pass wb.data.load('digits')"),
        ({"model": "mlp"}, "model is 'mlp'; it must be an nn.Module"),
        ({"lr": "x"}, "lr is 'x'; it must be a positive number"),
        ({"lr": float("nan")}, "lr is nan; it must be a positive number"),
        ({"lr": float("inf")}, "lr is inf; it must be a positive number"),
        ({"lr": 0}, "lr is 0; it must be a positive number"),
        ({"lr": True}, "lr is True; it must be a positive number"),
        ({"weight_decay": float("nan")}, "weight_decay is nan; it must be a finite number of at least 0"),
        ({"momentum": "0.9"}, "momentum is '0.9'; it must be a finite number of at least 0"),
        ({"warmup": "one"}, "warmup is 'one'; it must be a finite number of at least 0"),
        ({"epochs": 1.5}, "epochs is 1.5; it must be a whole number of at least 0"),
        ({"epochs": "3"}, "epochs is '3'; it must be a whole number of at least 0"),
        ({"steps": float("nan")}, "steps is nan; it must be a whole number of at least 0"),
        ({"batch_size": 0}, "batch_size is 0; it must be a whole number of at least 1"),
        ({"seed": "one"}, "seed is 'one'; it must be a whole number"),
        ({"snapshots": 1.5}, "snapshots is 1.5; it can be 'all'"),
        ({"snapshots": [0.5]}, "an epoch of snapshots is 0.5; it must be a whole number"),
        ({"augment": 3}, "augment is a int; it is a name, or a function"),
        ({"schedule": ["cosine"]}, "schedule is ['cosine']; it can be 'cosine'"),
        ({"optimizer": 3}, "optimizer is 3; it can be 'adam'"),
        ({"device": 3.5}, "device is 3.5; it can be 'auto'"),
        ({"loss": "ce"}, "loss is a str; it must be callable"),
    ],
)
def test_fit_refuses_at_the_door(tiny, make, options, message):
    with pytest.raises((ValueError, TypeError)) as refused:
        fit(**{"model": make("mlp"), "data": tiny, **QUIET, **options})
    assert message in str(refused.value)


def test_the_other_verbs_refuse_too(tiny, make):
    with pytest.raises(TypeError, match=r"Ensemble\.fit has no argument 'epoch': did you mean 'epochs'"):
        Ensemble([make("mlp")]).fit(tiny, epoch=3)
    with pytest.raises(ValueError, match="lr is nan; it must be a positive number"):
        Ensemble([make("mlp"), make("mlp")]).fit(tiny, lr=[0.1, float("nan")])
    with pytest.raises(TypeError, match="distill has no argument 'signl': did you mean 'signal'"):
        distill(make("mlp"), make("mlp"), tiny, signl=KL())
    with pytest.raises(TypeError, match="distill has no argument 'epoch': did you mean 'epochs'"):
        distill(make("mlp"), make("mlp"), tiny, epoch=3)
    with pytest.raises(TypeError, match="distill_many has no argument 'seed': did you mean 'seeds'"):
        distill_many(make("mlp"), [make("mlp")], tiny, seed=3)
    with pytest.raises(TypeError, match=r"split is a Dataset: pass one of its splits"):
        evaluate(make("mlp"), tiny)


def test_numbers_of_numpy_are_numbers(tiny, make, tmp_path):
    record = fit(
        make("mlp"), tiny, epochs=np.int64(1), lr=np.float32(0.25), batch_size=np.int32(16), seed=np.int64(3),
        weight_decay=np.float64(0), progress=False,
    )  # fmt: skip
    kept = records.open(record.save(tmp_path / "run")).settings
    assert (kept["epochs"], kept["lr"], kept["batch_size"], kept["seed"]) == (1, 0.25, 16, 3)
