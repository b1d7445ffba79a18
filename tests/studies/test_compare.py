"""The comparison machinery: everything but the signal is the same, differences are paired, intervals are Student's."""

import math

import pytest
import torch
from scipy import stats

import workbench as wb
from workbench.knowledge import KL, CrossEntropy, Hint, LogitRegression, Mutual, Peers, SimilarityPreserving
from workbench.knowledge.making.distill import bind
from workbench.studies.kit.balance import balanced
from workbench.studies.kit.claims import Estimate, asserted, estimate, rank_correlation, reported, resampled
from workbench.studies.kit.compare import Comparison, Length, Method, compare
from workbench.studies.kit.noise import with_label_noise

SHORT = Length(10, 1e-2)


@pytest.fixture(scope="module")
def data():
    return wb.data.load("digits").subset(200)


@pytest.fixture(scope="module")
def teacher(data):
    return wb.training.fit(wb.models.build("mlp", data, seed=9), data, epochs=3, progress=False).model


def student(data, width=8):
    return lambda seed: wb.models.build("mlp", data, width=[width], seed=seed)


@pytest.fixture(scope="module")
def table(data, teacher):
    methods = {
        "labels": CrossEntropy(),
        "the same": CrossEntropy() + 0.0 * KL(4),
        "hint": Hint("hidden.0", "hidden.0"),
        "pair": Method(
            Mutual(), student=lambda seed: Peers([student(data)(seed), student(data)(seed + 9)]), deploy=Peers.first
        ),
    }
    return compare(
        methods, data, teacher=teacher, student=student(data), seeds=[0, 1, 2], sizes=(40, None), lengths=(SHORT,)
    )


def test_one_row_per_method_size_and_seed(table, data):
    assert len(table.rows) == 4 * 2 * 3
    assert table.methods == ("labels", "the same", "hint", "pair")
    assert table.sizes == (40, 200)
    columns = ("accuracy", "nll", "ece", "confidence gap", "agreement", "kl to teacher", "seconds", "extra parameters")
    assert set(columns) <= set(table.frame.columns)
    assert table.frame[list(columns)].notna().all().all()
    assert set(table.records) == {(name, size, 10) for name in table.methods for size in (40, 200)}


def test_only_the_signal_differs(table):
    """Starts, examples and batch order are the same: two names for one loss give the same students."""
    assert table.values("labels", "nll") == table.values("the same", "nll")
    zero = table.paired("the same", "labels", "nll")
    assert zero.mean == 0
    assert zero.interval == (0, 0)
    assert table.values("hint", "nll") != table.values("labels", "nll")


def test_extra_parameters_are_those_not_kept(table):
    def extra(name):
        return set(table.values(name, "extra parameters").values())

    assert extra("labels") == {0}
    assert extra("hint") == {8 * 128 + 128}
    assert extra("pair") == {64 * 8 + 8 + 8 * 10 + 10}


def test_metrics_are_those_of_the_student(table, data, teacher):
    record = table.records["labels", 200, 10]
    scores = wb.training.evaluate(record.model, data.test)
    row = next(row for row in table.rows if (row["method"], row["size"], row["seed"]) == ("labels", 200, 0))
    assert row["accuracy"] == pytest.approx(scores["accuracy"])
    assert row["nll"] == pytest.approx(scores["nll"], rel=1e-5)
    s, t = record.model(data.test.inputs), teacher(data.test.inputs)
    assert row["agreement"] == pytest.approx((s.argmax(1) == t.argmax(1)).float().mean().item())
    p = t.softmax(1)
    assert row["kl to teacher"] == pytest.approx((p * (p / s.softmax(1)).log()).sum(1).mean().item(), rel=1e-4)


def test_the_record_of_a_network_trained_in_company_is_its_own(table, tmp_path):
    record = table.records["pair", 40, 10]
    again = wb.records.open(record.save(tmp_path / "one.safetensors"))
    assert again.model.spec == record.model.spec
    inputs = torch.ones(1, 1, 8, 8)
    torch.testing.assert_close(again.model(inputs), record.model(inputs))


def test_paired_differences_are_averaged_within_seeds_first():
    rows = tuple(
        {"method": m, "seed": seed, "size": size, "steps": 1, "lr": 1.0, "accuracy": a}
        for m, seed, size, a in (
            ("a", 0, 10, 0.5), ("a", 0, 20, 0.7), ("a", 1, 10, 0.6), ("a", 1, 20, 0.6),
            ("b", 0, 10, 0.4), ("b", 0, 20, 0.4), ("b", 1, 10, 0.5), ("b", 1, 20, 0.5),
        )
    )  # fmt: skip
    table = Comparison(rows, {})
    both = table.paired("a", "b")
    assert both.mean == pytest.approx(0.15)
    assert both.seeds == 2
    assert table.paired("a", "b", size=10).mean == pytest.approx(0.1)
    assert table.paired("a", "a", right_at={"size": 20}, size=10).mean == pytest.approx(-0.1)
    with pytest.raises(ValueError, match="no 'c' was trained"):
        table.values("c")
    with pytest.raises(ValueError, match="not trained on the same"):
        Comparison(rows[:-1], {}).paired("a", "b")
    with pytest.raises(ValueError, match="hold more columns fixed"):
        Comparison(rows + rows[:1], {}).values("a")


def test_interval_is_students():
    values = [0.1, 0.4, 0.2, 0.35]
    expected = stats.t.interval(0.95, 3, loc=sum(values) / 4, scale=stats.sem(values))
    assert estimate(values).interval == pytest.approx(expected)
    assert estimate([1.0]).interval == (-math.inf, math.inf)
    with pytest.raises(ValueError, match="empty"):
        estimate([])


def test_claims_keep_what_they_were_held_against():
    measured = Estimate(0.03, (0.01, 0.05), 8)
    claim = asserted("better", measured, ">=", 0.01)
    assert claim.holds
    assert claim.asserted
    assert (claim.left, claim.right, claim.interval, claim.seeds) == (0.03, 0.01, (0.01, 0.05), 8)
    assert asserted("better", measured, ">", 0.04).verdict == "fails"
    assert reported("better", measured, ">", 0.04, "why").verdict == "too few seeds"
    assert reported("better", measured, ">", 0.06, "why").verdict == "does not show here"


def test_rank_correlation_and_bootstrap():
    assert rank_correlation([1, 2, 3, 4], [4, 3, 2, 1]) == -1
    mean = resampled(lambda seeds: sum(seeds) / len(seeds), list(range(20)))
    assert mean.mean == 9.5
    assert mean.interval == pytest.approx((7, 12), abs=1)


def test_label_noise_changes_exactly_its_share_of_the_training_labels(data):
    noisy = with_label_noise(data, 0.25, seed=3)
    different = noisy.train.labels != data.train.labels
    assert int(different.sum()) == 50
    assert torch.equal(noisy.test.labels, data.test.labels)
    assert torch.equal(with_label_noise(data, 0.25, seed=3).train.labels, noisy.train.labels)
    assert not torch.equal(with_label_noise(data, 0.25, seed=4).train.labels, noisy.train.labels)
    with pytest.raises(ValueError, match="share is 2"):
        with_label_noise(data, 2)


@pytest.mark.parametrize(
    "signal", [LogitRegression(), SimilarityPreserving("hidden.0", "hidden.0"), Hint("hidden.0", "hidden.0")]
)
def test_balanced_signals_start_with_gradients_as_long_as_the_labels(data, teacher, signal):
    network = student(data)(0)
    told = balanced(signal, teacher, network, data)
    lengths = []
    inputs, labels = data.train.inputs[:64], data.train.labels[:64]
    for term in told.terms:
        bound = bind(term.signal, teacher, network, data)
        seen = [wb.models.observe(net, ["hidden.0"])(inputs) for net in (network, teacher)]
        loss = term.weight * bound(*seen, labels).mean()
        gradients = torch.autograd.grad(loss, list(network.parameters()), allow_unused=True)
        lengths.append(torch.cat([g.flatten() for g in gradients if g is not None]).norm().item())
    assert lengths[0] == pytest.approx(lengths[1], rel=1e-4)


def test_sizes_beyond_the_data_are_left_out_or_refused(data, teacher):
    on = {"teacher": teacher, "student": student(data), "seeds": [0], "lengths": (SHORT,)}
    assert compare({"labels": CrossEntropy()}, data, sizes=(40, 9999), **on).sizes == (40,)
    with pytest.raises(ValueError, match="200 training examples; the comparison needs at least 999"):
        compare({"labels": CrossEntropy()}, data, sizes=(999,), **on)
    with pytest.raises(ValueError, match="2 data sets for 1 seeds"):
        compare({"labels": CrossEntropy()}, [data, data], **on)
