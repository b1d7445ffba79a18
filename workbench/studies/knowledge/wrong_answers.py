"""A teacher that is made wrong about some examples, and logistic regression that learns from it to its optimum."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from workbench.data import Dataset, Split
from workbench.training.evaluating import logits_of


@dataclass(frozen=True)
class Told:
    """What the student sees: examples, the teacher's probabilities, which are wrong, and the trusted examples."""

    train: Split
    trusted: Split
    says: Tensor
    wrong: Tensor


def told(
    data: Dataset,
    teacher: nn.Module,
    sizes: tuple[int, int],
    share: float,
    seed: int,
    *,
    odd_only: bool = False,
) -> Told:
    """Draw so many examples and trusted ones, ask the teacher, and make a share of its answers wrong."""
    n = min(sizes[0], len(data.train) * 2 // 3)
    m = min(sizes[1], len(data.train) - n)
    generator = torch.Generator().manual_seed(seed)
    split = data.train.to("cpu")
    order = torch.randperm(len(split), generator=generator)
    train, trusted = split.take(order[:n]), split.take(order[n : n + m])
    says = logits_of(teacher.cpu(), train.inputs).double().softmax(1)
    may = train.labels % 2 == 1 if odd_only else torch.ones(n, dtype=torch.bool)
    wrong = torch.zeros(n, dtype=torch.bool)
    chosen = may.nonzero()[:, 0]
    wrong[chosen[torch.randperm(len(chosen), generator=generator)[: round(share * len(chosen))]]] = True
    classes = len(data.classes)
    shift = torch.randint(1, classes, (n,), generator=generator)
    lies = functional.one_hot((train.labels + shift) % classes, classes).double()
    return Told(train, trusted, torch.where(wrong[:, None], lies, says), wrong)


def regression(X: Tensor, targets: Tensor, w: Tensor, damping: float, start: Tensor | None = None) -> Tensor:
    """Softmax regression (C, D + 1), bias last, at the optimum of (1/n) Σ w_i CE_i + δ/2 ‖θ‖² (Newton's method)."""
    X = torch.cat([X, torch.ones_like(X[:, :1])], 1)
    n, D, C = len(X), X.shape[1], targets.shape[1]
    theta = X.new_zeros(C, D) if start is None else start.clone()
    ridge = damping * torch.eye(C * D, dtype=X.dtype)

    def value(theta: Tensor) -> float:
        z = X @ theta.T
        return float(-(w * (targets * z.log_softmax(1)).sum(1)).sum() / n + damping / 2 * theta.square().sum())

    for _ in range(50):
        p = (X @ theta.T).softmax(1)
        gradient = (w[:, None] * (p * targets.sum(1, keepdim=True) - targets)).T @ X / n + damping * theta
        if gradient.norm() < 1e-10:
            break
        Z = ((w / n).sqrt()[:, None, None] * p[:, :, None] * X[:, None]).flatten(1)
        H = ridge - Z.T @ Z + torch.block_diag(*((X * (w * p[:, c] / n)[:, None]).T @ X for c in range(C)))
        step = torch.linalg.solve(H, gradient.flatten()).view(C, D)
        size, now = 1.0, value(theta)
        while value(theta - size * step) > now and size > 1e-4:
            size /= 2
        theta = theta - size * step
    return theta


def linear(theta: Tensor) -> nn.Linear:
    """The regression as a network."""
    network = nn.Linear(theta.shape[1] - 1, len(theta)).double()
    with torch.no_grad():
        network.weight.copy_(theta[:, :-1])
        network.bias.copy_(theta[:, -1])
    return network


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Of probabilities as targets: KL's gradient and curvature."""
    return -(targets * logits.log_softmax(1)).sum(1)


class Said(nn.Module):
    """A teacher as it was heard: the answers to known inputs, found again by a random projection of them."""

    keys: Tensor
    answers: Tensor
    direction: Tensor

    def __init__(self, inputs: Tensor, probabilities: Tensor) -> None:
        super().__init__()
        flat = inputs.flatten(1).double()
        direction = torch.randn(flat.shape[1], generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        self.register_buffer("direction", direction)
        self.register_buffer("keys", flat @ direction)
        self.register_buffer("answers", probabilities.clamp(min=1e-6).log())

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (n, classes)."""
        asked = inputs.flatten(1).double() @ self.direction
        return self.answers[(asked[:, None] - self.keys).abs().argmin(1)].to(inputs)
