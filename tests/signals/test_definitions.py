"""Formulas that a mutant survived: each signal against its definition, by loops, in float64."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from workbench.knowledge import KDCL
from workbench.models import Outputs
from workbench.signals import FSP
from workbench.signals.crd import contrast
from workbench.signals.fsp import flow

SEEDS = st.integers(0, 10_000)


@given(seed=SEEDS)
def test_contrast_looks_both_ways(seed):
    """½ of picking j for i and ½ of picking i for j: rows and columns of the scores are normalised apart."""
    g = torch.Generator().manual_seed(seed)
    a, b = (torch.randn(4, 3, generator=g, dtype=torch.float64) for _ in range(2))
    expected = []
    for i in range(4):
        of_a = sum(((a[i] @ b[j]) / 0.5).exp() for j in range(4))
        of_b = sum(((a[j] @ b[i]) / 0.5).exp() for j in range(4))
        match = ((a[i] @ b[i]) / 0.5).exp()
        expected.append(-0.5 * (match / of_a).log() - 0.5 * (match / of_b).log())
    torch.testing.assert_close(contrast(a, b, 0.5), torch.stack(expected))


@given(seed=SEEDS)
def test_a_flow_is_a_mean_over_positions_and_the_loss_one_over_entries(seed):
    g = torch.Generator().manual_seed(seed)

    def maps(channels):
        return torch.randn(2, channels, 3, 5, generator=g, dtype=torch.float64)

    early, late, early_t, late_t = maps(2), maps(4), maps(2), maps(4)

    def matrix(x, y, n):
        return torch.tensor(
            [[sum(float(x[n, a, i, j] * y[n, b, i, j]) for i in range(3) for j in range(5)) / 15 for b in range(4)]
             for a in range(2)], dtype=torch.float64,
        )  # fmt: skip

    torch.testing.assert_close(flow(early, late), torch.stack([matrix(early, late, n) for n in range(2)]))
    logits = torch.zeros(2, 3, dtype=torch.float64)
    found = FSP(("a", "b"), ("a", "b"))(
        Outputs(logits, {"a": early, "b": late}),
        Outputs(logits, {"a": early_t, "b": late_t}),
        torch.zeros(2, dtype=torch.int64),
    )
    expected = [float(((matrix(early, late, n) - matrix(early_t, late_t, n)) ** 2).sum() / 8) for n in range(2)]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


@given(seed=SEEDS)
def test_the_shared_mean_of_kdcl_teaches_and_learns_nothing(seed):
    """Each network's gradient is softmax − label + T (p − p̄): none passes through p̄."""
    g = torch.Generator().manual_seed(seed)
    logits = [torch.randn(5, 4, generator=g, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    labels = torch.randint(4, (5,), generator=g)
    peers = Outputs(logits[0], {f"networks.{k}": z for k, z in enumerate(logits)})
    KDCL(temperature=2.0, weight=0.5)(peers, None, labels).sum().backward()
    p = [(z.detach() / 2).softmax(1) for z in logits]
    mean = sum(p) / 3
    for z, own in zip(logits, p, strict=True):
        expected = z.detach().softmax(1) - torch.nn.functional.one_hot(labels, 4) + 0.5 * 2 * (own - mean)
        torch.testing.assert_close(z.grad, expected)
