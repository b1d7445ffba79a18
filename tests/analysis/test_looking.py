"""Probes, dominant examples, fidelity and calibration, each against doing it by hand."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.analysis.networks_to_compare import Passing, split_of
from workbench import records
from workbench.analysis import agreement, agreement_of_logits, calibration, cka, dominant_examples, linear_probes
from workbench.analysis.fidelity import wilson
from workbench.analysis.probes import ridge_probe
from workbench.data import Dataset

seeds = st.integers(0, 2**31 - 1)
few = settings(max_examples=15, deadline=None)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# Probes


def ridge(x, y, new, penalty):
    """Scores of ridge regression with an unpenalised intercept, from the normal equations."""
    design = torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], 1)
    diagonal = torch.full((design.shape[1],), penalty, dtype=x.dtype)
    diagonal[-1] = 0
    weights = torch.linalg.solve(design.T @ design + diagonal.diag(), design.T @ y)
    return torch.cat([new, torch.ones(len(new), 1, dtype=x.dtype)], 1) @ weights


@few
@given(seed=seeds, width=st.sampled_from([3, 40]))
def test_ridge_probe_is_ridge_regression_with_the_penalty_leave_one_out_prefers(seed, width):
    x, new = random(20, width, seed=seed), random(7, width, seed=seed + 1)
    labels = (x[:, 0] > 0).long() + (x[:, 1] > 0)
    targets = torch.nn.functional.one_hot(labels, 3).double()
    unit = float((x - x.mean(0)).square().sum()) / 20
    grid = (1e-2, 1e-1, 1.0, 10.0)
    errors = {}
    for penalty in grid:
        total = 0.0
        for i in range(20):
            stay = [j for j in range(20) if j != i]
            total += float((ridge(x[stay], targets[stay], x[i : i + 1], penalty * unit) - targets[i]).square().sum())
        errors[penalty] = total
    fitted, predicted, chosen = ridge_probe(x, labels, new, 3, grid)
    assert errors[chosen] == pytest.approx(min(errors.values()), rel=1e-6)
    torch.testing.assert_close(predicted, ridge(x, targets, new, chosen * unit), atol=1e-7, rtol=0)
    torch.testing.assert_close(fitted, ridge(x, targets, x, chosen * unit), atol=1e-7, rtol=0)


def test_probes_find_classes_where_they_are_and_nothing_where_they_are_not(tmp_path):
    train, test = split_of(300, seed=0), split_of(150, seed=1)
    data = Dataset("made", train, test)
    noise = random(450, 8, seed=5)
    model = Passing(lambda x: x, lambda x: noise[: len(x)], torch.ones_like)
    found = linear_probes(model, data, layers=model.names, batch_size=300)
    informative, random_layer, constant = found.accuracy.tolist()
    assert informative > 0.6
    assert random_layer < 0.5
    assert math.isnan(constant)
    assert found.masked == {"f2": "constant features"}
    assert found.chance == pytest.approx(1 / 3)
    low, high = found.intervals[0].tolist()
    assert low < informative < high
    again = records.open(found.save(tmp_path / "probes.safetensors"))
    assert again.to_frame().shape == (3, 6)
    assert "best: f0" in again.summary()


# Dominant examples


@pytest.mark.parametrize("debiased", [True, False])
@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_influence_is_cka_with_minus_cka_without(debiased, kernel):
    data = split_of(24)
    a, b = Passing(lambda x: x, lambda x: x.relu()), Passing(lambda x: x.tanh())
    how = {"layers_a": a.names, "layers_b": b.names, "debiased": debiased, "progress": False, "kernel": kernel}
    found = dominant_examples(a, b, data, batch_size=12, remove=3, seed=0, **how)
    whole = cka(a, b, data, batch_size=12, seed=0, **how)
    torch.testing.assert_close(found.values, whole.values)
    if kernel == "linear":  # leaving one of a single batch out: cka of the others
        found = dominant_examples(a, b, data, batch_size=24, remove=3, **how)
        whole = cka(a, b, data, batch_size=24, **how).values
        for i in range(24):
            others = data.take([j for j in range(24) if j != i])
            without = cka(a, b, others, batch_size=24, **how).values
            torch.testing.assert_close(found.influence[..., i], whole - without, atol=2e-6, rtol=0)
        for cell in ((0, 0), (1, 0)):
            top = found.top(3)[cell].tolist()
            rest = data.take([j for j in range(24) if j not in top])
            expected = cka(a, b, rest, batch_size=24, **how).values[cell]
            assert float(found.removed[*cell, 3]) == pytest.approx(float(expected), abs=2e-6)


def test_influence_in_several_batches_is_cka_with_one_batch_shorter():
    from workbench.analysis.hsic_sums import HSICSums

    data, net = split_of(20), Passing(lambda x: x)
    other = Passing(lambda x: x.tanh())
    found = dominant_examples(net, other, data, layers_a="f0", layers_b="f0", batch_size=10, seed=None, progress=False)
    for i in (0, 13):
        sums = HSICSums.empty(1, 1)
        for rows in torch.arange(20).split(10):
            x = data.inputs[rows[rows != i]]
            sums.update((x @ x.T)[None], (x.tanh() @ x.tanh().T)[None])
        assert float(found.values[0, 0] - found.influence[0, 0, i]) == pytest.approx(float(sums.result()), abs=1e-6)


def test_a_planted_outlier_is_found_and_explains_the_score(tmp_path):
    data = split_of(60, classes=1)
    mix = random(8, 8, seed=3)

    def spike(x):
        out = x @ mix
        return torch.where((x == data.inputs[17]).all(1, keepdim=True), 100 * out.sign(), out)

    a, b = Passing(spike), Passing(lambda x: spike(x) + 5 * (x @ mix.T).cos())
    found = dominant_examples(a, b, data, layers_a="f0", layers_b="f0", progress=False)
    assert found.influence[0, 0, 17] > 0.1
    assert found.largest[0, 0] > 3 * found.influence[0, 0].abs().sort().values[-2]
    assert found.top(1)[0, 0, 0] == 17
    assert "number 17" in found.summary()
    assert found.removed[0, 0, 0] == found.values[0, 0]
    again = records.open(found.save(tmp_path / "dominant.safetensors"))
    assert again.to_frame()["example"].tolist() == [17]


# Fidelity


@few
@given(seed=seeds)
def test_agreement_and_kl_by_hand(seed):
    teacher, student = random(30, 4, seed=seed), random(30, 4, seed=seed + 1)
    labels = torch.arange(30) % 4
    found = agreement_of_logits(teacher, student, labels)
    same = [int(t.argmax()) == int(s.argmax()) for t, s in zip(teacher, student, strict=True)]
    kl = [
        float((t.softmax(0) * (t.log_softmax(0) - s.log_softmax(0))).sum())
        for t, s in zip(teacher, student, strict=True)
    ]
    wrong = [ok for ok, t, y in zip(same, teacher, labels, strict=True) if int(t.argmax()) != int(y)]
    assert found.agreement == pytest.approx(sum(same) / 30)
    assert found.kl == pytest.approx(sum(kl) / 30, rel=1e-6)
    assert found.agreement_when_wrong == pytest.approx(sum(wrong) / len(wrong))
    assert found.kl_interval[0] <= found.kl <= found.kl_interval[1]
    assert found.agreement_interval[0] <= found.agreement <= found.agreement_interval[1]
    assert agreement_of_logits(teacher, teacher + 3).agreement == 1


def test_agreement_runs_networks_in_batches():
    data = split_of(50)
    mix = random(8, 3)
    from torch import nn

    class Map(nn.Module):
        def __init__(self, w):
            super().__init__()
            self.w = nn.Parameter(w)

        def forward(self, x):
            return x @ self.w

    found = agreement(Map(mix), Map(mix + 0.1 * random(8, 3, seed=1)), data, batch_size=7)
    expected = agreement_of_logits(
        (data.inputs @ mix).float(), (data.inputs @ (mix + 0.1 * random(8, 3, seed=1))).float(), data.labels
    )
    assert found.agreement == expected.agreement
    assert found.kl == pytest.approx(expected.kl, abs=1e-7)
    assert math.isnan(agreement(Map(mix), Map(mix), data.inputs).student_accuracy)
    with pytest.raises(ValueError, match="must be"):
        agreement_of_logits(torch.zeros(3, 2), torch.zeros(3, 4))


def test_wilson_covers():
    from scipy.stats import binom

    for share in (0.02, 0.5, 0.9):
        covered = sum(binom.pmf(k, 50, share) for k in range(51) if wilson(k, 50)[0] <= share <= wilson(k, 50)[1])
        assert covered > 0.9


# Calibration


@few
@given(seed=seeds, bins=st.integers(1, 20), scale=st.floats(0.1, 10))
def test_calibration_by_hand(seed, bins, scale):
    logits = scale * random(80, 3, seed=seed)
    labels = torch.arange(80) % 3
    found = calibration(logits, labels, bins)
    ece = nll = brier = 0.0
    for b in range(bins):
        inside = []
        for row, y in zip(logits, labels.tolist(), strict=True):
            p = row.softmax(0).tolist()
            top = max(p)
            if b == min(int(top * bins), bins - 1):
                inside.append((top, p.index(top) == y))
                nll -= math.log(p[y]) / 80
                brier += sum((p[c] - (c == y)) ** 2 for c in range(3)) / 80
        assert int(found.count[b]) == len(inside)
        if inside:
            confidence, accuracy = (sum(column) / len(inside) for column in zip(*inside, strict=True))
            assert float(found.confidence[b]) == pytest.approx(confidence, abs=1e-6)
            assert float(found.accuracy[b]) == pytest.approx(accuracy, abs=1e-6)
            ece += len(inside) / 80 * abs(confidence - accuracy)
        else:
            assert math.isnan(found.accuracy[b])
    assert found.ece == pytest.approx(ece, abs=1e-6)
    assert found.nll == pytest.approx(nll, abs=1e-6)
    assert found.brier == pytest.approx(brier, abs=1e-6)


@few
@given(seed=seeds, shift=st.floats(-50, 50))
def test_calibration_does_not_see_a_constant_added_to_the_logits(seed, shift):
    logits, labels = random(40, 4, seed=seed), torch.arange(40) % 4
    one, other = calibration(logits, labels), calibration(logits + shift, labels)
    assert (one.ece, one.nll, one.brier) == pytest.approx((other.ece, other.nll, other.brier), abs=1e-9)


def test_sure_and_right_is_perfect_sure_and_wrong_is_worst():
    logits = 100 * torch.eye(3)
    right, wrong = calibration(logits, torch.arange(3)), calibration(logits, torch.tensor([1, 2, 0]))
    assert (right.ece, right.nll, right.brier) == pytest.approx((0, 0, 0), abs=1e-9)
    assert (wrong.ece, wrong.nll, wrong.brier) == pytest.approx((1, 100, 2), abs=1e-9)


def test_calibration_refuses_what_does_not_fit():
    for logits, labels, bins in ((torch.zeros(3, 2), torch.zeros(2), 5), (torch.zeros(0, 2), torch.zeros(0), 5)):
        with pytest.raises(ValueError, match=r"are needed|no examples"):
            calibration(logits, labels.long(), bins)
    with pytest.raises(ValueError, match="bins=0"):
        calibration(torch.zeros(3, 2), torch.zeros(3).long(), 0)
