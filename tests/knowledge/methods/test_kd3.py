"""Every exact line of paper 026's card, in float64: the mixture of statistics, the shared classifier, the selection."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import workbench as wb
from workbench.knowledge import KD3, KL, distil_from_web
from workbench.knowledge.methods import kd3
from workbench.knowledge.methods.kd3 import WebStudent, combined, mix_distribution, select, statistics
from workbench.models import Outputs
from workbench.signals.crd import contrast

seeds = st.integers(0, 2**31 - 1)


def normal(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(seeds, st.floats(0, 1))
def test_mixed_images_have_mixed_statistics_and_the_same_content(seed, lam):
    x, other = normal(seed, 3, 2, 5, 4), 2 * normal(seed + 1, 3, 2, 5, 4) + 1
    (mu, sigma), (mu_2, sigma_2) = statistics(x), statistics(other)
    mixed = mix_distribution(x, mu_2, sigma_2, lam)
    found = statistics(mixed)
    torch.testing.assert_close(found[0], lam * mu + (1 - lam) * mu_2)
    torch.testing.assert_close(found[1], lam * sigma + (1 - lam) * sigma_2)
    torch.testing.assert_close((mixed - found[0]) / found[1], (x - mu) / sigma)
    torch.testing.assert_close(mix_distribution(x, mu_2, sigma_2, 1.0), x)
    back = mix_distribution(mix_distribution(x, mu_2, sigma_2, 0.0), mu, sigma, 0.0)
    torch.testing.assert_close(back, x)


def test_statistics_are_of_each_image_and_channel_and_flat_ones_give_the_mean():
    x = normal(0, 2, 3, 4, 4)
    mu, sigma = statistics(x)
    assert mu.shape == (2, 3, 1, 1)
    assert float(mu[1, 2]) == pytest.approx(float(x[1, 2].mean()))
    assert float(sigma[1, 2]) == pytest.approx(float(x[1, 2].std(correction=0)))
    assert statistics(normal(0, 4, 7))[0].shape == (4, 1)
    flat = mix_distribution(torch.ones(1, 1, 2, 2), torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1), 0.5)
    assert torch.equal(flat, torch.full((1, 1, 2, 2), 0.5))


@pytest.fixture
def pair():
    data = wb.data.load("digits").subset(40).to(dtype=torch.float64)
    teacher, small = (wb.models.build("mlp", data, width=[9, width], seed=1).double() for width in (6, 4))
    return data, teacher, small


def test_with_the_shared_classifier_equal_features_are_equal_logits(pair):
    data, teacher, small = pair
    x = data.train.inputs
    S = WebStudent(small, teacher, x[:2], shared=True).double()
    z, f = S.both(x)
    z_T, f_T = kd3.features(teacher, x)
    assert torch.equal(S.classifier.weight, teacher.head.weight)
    assert not any(parameter.requires_grad for parameter in S.classifier.parameters())
    torch.testing.assert_close(S.classifier(f_T), z_T)
    largest = torch.linalg.matrix_norm(teacher.head.weight, 2)
    assert ((z - z_T).norm(dim=1) <= largest * (f - f_T).norm(dim=1) + 1e-9).all()
    own = WebStudent(small, teacher, x[:2], shared=False).double()
    torch.testing.assert_close(own(x), small(x))


@given(seeds, st.floats(1, 5), st.floats(0, 2), st.floats(0, 2))
def test_the_loss_by_hand_and_without_its_parts_plain_distillation(seed, tau, a, b):
    z_S, z_T, f_S, f_T, mixed = (normal(seed + k, 6, 4) for k in range(5))
    w = normal(seed, 6).abs()
    plain = KL(tau)(Outputs(z_S), Outputs(z_T), torch.zeros(6, dtype=torch.int64))
    torch.testing.assert_close(KD3(tau, a=0, b=0).losses(z_S, z_T, f_S, f_T, mixed, w), plain)
    u, v = (f / f.norm(dim=1, keepdim=True) for f in (f_S, mixed))
    scores = u @ v.T / 0.2
    found = 0.5 * (scores.logsumexp(1) + scores.logsumexp(0)) - scores.diagonal()
    expected = plain + a * w * (f_S - f_T).square().mean(1) + b * found
    torch.testing.assert_close(KD3(tau, a=a, b=b).losses(z_S, z_T, f_S, f_T, mixed, w), expected)
    unweighted = plain + a * (f_S - f_T).square().mean(1) + b * found
    torch.testing.assert_close(KD3(tau, a=a, b=b, weighted=False).losses(z_S, z_T, f_S, f_T, mixed, w), unweighted)
    leaf = f_T.clone().requires_grad_()
    KD3().losses(z_S.clone().requires_grad_(), z_T, f_S, leaf, mixed, w).sum().backward()
    assert leaf.grad is None


def test_identical_embeddings_cost_the_log_of_the_batch():
    same = nn.functional.normalize(torch.ones(7, 3, dtype=torch.float64))
    torch.testing.assert_close(contrast(same, same, 0.2), torch.full((7,), math.log(7), dtype=torch.float64))


@given(seeds)
def test_eta_one_asks_the_teacher_alone_and_each_class_keeps_its_share(seed):
    z_T, z_S = normal(seed, 40, 3), normal(seed + 1, 40, 3)
    torch.testing.assert_close(combined(z_T, z_S, 1.0), z_T.softmax(1))
    torch.testing.assert_close(combined(z_T, z_S, 0.25), 0.25 * z_T.softmax(1) + 0.75 * z_S.softmax(1))
    p = combined(z_T, z_S, 0.5)
    chosen = select(p, 0.5)
    confidence, predicted = p.max(1)
    for c in range(3):
        rows, kept = (predicted == c).nonzero()[:, 0], [i for i in chosen.tolist() if predicted[i] == c]
        assert len(kept) == (max(1, round(0.5 * len(rows) + 1e-9)) if len(rows) else 0)
        if 0 < len(kept) < len(rows):
            left = [i for i in rows.tolist() if i not in kept]
            assert confidence[kept].min() >= confidence[left].max()
    assert select(p, 1.0).tolist() == list(range(40))


def test_selection_is_anew_every_epoch_and_by_the_student_too():
    data = wb.data.load("digits").subset(300)
    teacher = wb.training.fit(wb.models.build("convnet", data, width=8, depth=2), data, epochs=4, progress=False).model
    pool = wb.data.web_pool(data, 200, seed=1)
    run = {"test": data.test, "steps": 12, "batch_size": 32, "device": "cpu", "lr": 1e-2}
    small = lambda: wb.models.build("convnet", data, width=4, depth=2, seed=2)  # noqa: E731
    dynamic = distil_from_web(teacher, small(), pool.split, **run)
    fixed = distil_from_web(teacher, small(), pool.split, KD3(selection="teacher"), **run)
    all_ = distil_from_web(teacher, small(), pool.split, KD3(selection="none", b=0.0), **run)
    assert torch.equal(dynamic.kept[0], fixed.kept[0])  # at first the student has no say
    assert torch.equal(fixed.kept[0], fixed.kept[-1])
    assert not torch.equal(dynamic.kept[0], dynamic.kept[-1])
    assert all_.kept.all()
    again = distil_from_web(teacher, small(), pool.split, **run)
    assert torch.equal(again.record.state["adapter.weight"], dynamic.record.state["adapter.weight"])
    assert torch.equal(dynamic.record.state["classifier.weight"], teacher.head.weight)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: KD3(temperature=0), "temperature is 0"),
        (lambda: KD3(keep=0), "keep is 0; it must be a share"),
        (lambda: KD3(selection="all"), "selection is 'all'"),
        (lambda: KD3(a=-1), "a is -1"),
        (lambda: kd3.head_of(nn.Linear(2, 2)), "it must have penultimate and a linear head"),
    ],
)
def test_bad_settings_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
