"""The probes of paper 009 start from what training alone gives, and compare like with like."""

import pytest
import torch
import torch.nn.functional as F

from workbench.condensation import evaluate
from workbench.condensation.methods.what_dd_learns import (
    PROBE,
    predictions_along,
    resemblance,
    stopped_early,
    taught_by,
    trained_on_subsets,
)
from workbench.data import Dataset, Split
from workbench.models import build
from workbench.records import DistilledSet
from workbench.studies.condensation.what_dd_learns_probes import chance, explained
from workbench.training import fit
from workbench.training.evaluating import logits_of

OPTIONS = {"width": 8, "depth": 1}


@pytest.fixture(scope="module")
def data() -> Dataset:
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(3, 1, 5, 5, generator=generator)

    def split(n):
        labels = torch.arange(n) % 3
        zero = torch.zeros(1, 1, 1)
        return Split(centres[labels] + torch.randn(n, 1, 5, 5, generator=generator), labels, ("a", "b", "c"), zero,
                     zero + 1)  # fmt: skip

    return Dataset("tiny", split(60), split(60))


def made(data, seed, ipc=2):
    few = data.train.per_class(ipc, seed=seed)
    return DistilledSet(name=f"set {seed}", method="Random", images=few.inputs, labels=few.labels,
                        classes=data.classes, mean=data.mean, std=data.std)  # fmt: skip


def alone(data, split, seed, steps, **options):
    network = build("mlp", data, seed=seed, **OPTIONS)
    fit(network, split, steps=steps, weight_decay=0.0, seed=seed, progress=False, **PROBE, **options)
    return logits_of(network, data.test.inputs)


def test_mixing_with_nothing_is_the_set_itself(data):
    sets = {"one": made(data, 1), "two": made(data, 2), "larger": made(data, 3, ipc=3)}
    taught = taught_by(sets, data, "mlp", [4, 7], steps=20, options=OPTIONS)
    assert list(taught) == list(sets)
    for name, one in sets.items():
        few = Split(one.images, one.labels, one.classes, one.mean, one.std)
        for s, seed in enumerate((4, 7)):
            torch.testing.assert_close(taught[name].logits[s], alone(data, few, seed, 20), rtol=1e-3, atol=1e-4)
    by_evaluate = evaluate(sets["one"], data, "mlp", [4, 7], 20, weight_decay=0.0, schedule="constant",
                           references=False, progress=False, options={"mlp": OPTIONS})  # fmt: skip
    right = (taught["one"].logits.argmax(2) == data.test.labels).double().mean(1)
    torch.testing.assert_close(by_evaluate.accuracy[0], right)


def test_mixed_sets_share_the_real_images_that_are_added(data):
    one = made(data, 1)
    soft = one.replace(labels=(0.7 * F.one_hot(one.labels, 3) + 0.1).float())
    hard = one.replace(labels=F.one_hot(one.labels, 3).float())
    taught = taught_by({"plain": one, "one-hot": hard, "soft": soft}, data, "mlp", [3], real=9, steps=15,
                       options=OPTIONS)  # fmt: skip
    drawn = data.train.subset(9, seed=3)
    both = Split(torch.cat([one.images, drawn.inputs]), torch.cat([one.labels, drawn.labels]), one.classes, one.mean,
                 one.std)  # fmt: skip
    wanted = alone(data, both, 3, 15)
    torch.testing.assert_close(taught["plain"].logits[0], wanted, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(taught["one-hot"].logits[0], wanted, rtol=1e-3, atol=1e-4)
    assert not torch.allclose(taught["soft"].logits[0], wanted, rtol=1e-3, atol=1e-4)


def test_subsets_repeat_their_examples_to_one_length(data):
    predicted = trained_on_subsets(data, "mlp", [6, 24], 2, steps=30, batch_size=24, options=OPTIONS)
    assert predicted.shape == (4, 60)
    # Four times the same six examples in one whole batch is the mean over the six.
    number = 10_000
    wanted = alone(data, data.train.subset(6, seed=number), number, 30).argmax(1)
    assert float((predicted[0] == wanted).double().mean()) > 0.98
    wanted = alone(data, data.train.subset(24, seed=number + 2), number + 2, 30).argmax(1)
    assert float((predicted[2] == wanted).double().mean()) > 0.98


def test_moments_of_training_are_networks_stopped_there(data):
    (record,) = stopped_early(data, "mlp", [5], steps=12, every=4, options=OPTIONS)
    along = predictions_along(record, data.test.inputs)
    assert along.shape == (4, 60)
    for k, epoch in enumerate(record.snapshot_epochs):
        assert torch.equal(along[k], logits_of(record.model_at(epoch), data.test.inputs).argmax(1))
    assert torch.equal(predictions_along(record, data.test.inputs, every=3), along[::3])


def test_evaluation_says_whom_networks_resemble(data):
    found = evaluate(made(data, 1), data, "mlp", 2, 20, references=False, agreement=True, progress=False,
                     options={"mlp": OPTIONS})  # fmt: skip
    assert set(found.agreement) == {"early-stopped", "subset-trained"}
    for shares in found.agreement.values():
        assert shares.shape == (1, 2)
        known = shares[~shares.isnan()]
        assert bool(((known >= 0) & (known <= 1)).all())
    everything = resemblance(data.test.labels[None], data, "mlp", images=6, seeds=[1, 2], within=1.0, options=OPTIONS)
    assert all(bool(shares.isfinite().all()) for shares in everything.values())


def test_variance_between_groups_that_mean_nothing_is_chance():
    generator = torch.Generator().manual_seed(0)
    groups = torch.arange(40) % 4
    shares = [explained(torch.randn(40, generator=generator), groups) for _ in range(2000)]
    assert sum(shares) / 2000 == pytest.approx(chance(torch.zeros(40), groups), abs=0.005)
    assert explained(torch.ones(5), torch.arange(5)) == 0.0
