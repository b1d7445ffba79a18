"""Gradient descent on synthetic images that can itself be differentiated, in the memory of a single step.

A student takes N plain steps on losses that depend on tensors being learned (images, labels, step sizes):

    θ_{n+1} = θ_n − α_n m_n,    m_n = μ m_{n−1} + ∇_θ ℓ_n(θ_n)    (μ = 0: plain descent),

and is judged by a terminal loss L(θ_N). `unroll` gives L with its gradient for those tensors. Autograd through the
whole path would keep N graphs; the reverse recursion of dataset distillation (paper 021) keeps the weights θ_0 … θ_N
only and, with d = ∂L/∂θ_N, goes back one step at a time: step n is made again with its graph, d is pulled back through
it, which gives the share of that step in the gradient and the next d. The numbers are the same up to rounding.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from workbench.condensation.trajectories.flat import FlatNetwork

Terminal = Callable[[Tensor], Tensor]
"""Loss, shape (), of the weights that were reached."""


@dataclass(frozen=True)
class Descent:
    """The student's steps. Weights are a vector (P,), or (K, P) for K students at once.

    Attributes
    ----------
    loss
        ℓ_n(θ) as a function of (θ, n), shape (); of K students the sum, so that none sees another's gradient. Called
        twice for each step, it must give the same both times: random numbers come from a generator made from n.
    rate
        α_n as a function of n, a tensor that broadcasts against θ.
    steps
        N.
    momentum
        μ in 0..1.
    """

    loss: Callable[[Tensor, int], Tensor]
    rate: Callable[[int], Tensor]
    steps: int
    momentum: float = 0.0

    def step(self, state: Sequence[Tensor], n: int, *, graph: bool) -> list[Tensor]:
        """The state (θ, and m where there is momentum) after step n; with `graph` it can be differentiated."""
        with torch.enable_grad():
            weights = state[0] if state[0].requires_grad else state[0].detach().requires_grad_()
            (m,) = torch.autograd.grad(self.loss(weights, n), weights, create_graph=graph)
        if self.momentum:
            m = self.momentum * state[1] + m
        after = state[0] - self.rate(n) * m
        return [after, m] if self.momentum else [after]

    def begin(self, start: Tensor) -> list[Tensor]:
        """The state before the first step."""
        return [start, torch.zeros_like(start)] if self.momentum else [start]

    @torch.no_grad()
    def path(self, start: Tensor) -> Tensor:
        """The weights on the way, θ_0 to θ_N, shape (N + 1, …); no gradients are kept."""
        state = self.begin(start.detach())
        found = [state[0]]
        for n in range(self.steps):
            state = self.step(state, n, graph=False)
            found.append(state[0])
        return torch.stack(found)


def unroll(
    descent: Descent,
    start: Tensor,
    terminal: Terminal | Mapping[int, Terminal],
    leaves: Sequence[Tensor],
    *,
    recompute: bool = True,
) -> Tensor:
    """The terminal loss after the student's steps, differentiable with respect to `leaves`.

    Parameters
    ----------
    descent
        The steps.
    start
        θ_0, shape (P,) or (K, P); a constant.
    terminal
        Loss of θ_N; or losses by the number of the step after which they look (0..N), which are added up.
    leaves
        What the losses, rates and terminal depend on and gradients are wanted for.
    recompute
        False: keep the graphs of all steps, as plain autograd does: one forward pass less, N times the memory.

    Returns
    -------
    Tensor
        Shape (). Its backward pass costs nothing more: the gradients are already known (with `recompute`), once.

    Raises
    ------
    ValueError
        `terminal` names a step that is not made.

    Examples
    --------
    One step down ℓ(θ) = (θ − x)² / 2 with step size ½ from θ = 0 ends at x / 2, so that L = θ² has the gradient x / 2:

    >>> x = torch.tensor([3.0], requires_grad=True)
    >>> descent = Descent(lambda w, n: (w - x).square().sum() / 2, lambda n: torch.tensor(0.5), steps=1)
    >>> loss = unroll(descent, torch.zeros(1), lambda w: w.square().sum(), [x])
    >>> loss.item(), torch.autograd.grad(loss, x)[0].item()
    (2.25, 1.5)
    """
    ends = dict(terminal) if isinstance(terminal, Mapping) else {descent.steps: terminal}
    outside = [n for n in ends if not 0 <= n <= descent.steps]
    if outside:
        raise ValueError(f"terminal looks after step {outside[0]}, but the student makes {descent.steps} steps")
    if not torch.is_grad_enabled() or not any(leaf.requires_grad for leaf in leaves):
        path = descent.path(start)
        return torch.stack([end(path[n]) for n, end in ends.items()]).sum()
    if not recompute:
        return _whole(descent, start, ends)
    states = [descent.begin(start.detach())]
    with torch.no_grad():
        for n in range(descent.steps):
            states.append(descent.step(states[-1], n, graph=False))
    total = Sum(leaves)
    values = []
    d: list[Tensor] = [torch.zeros_like(part) for part in states[-1]]
    for n in range(descent.steps, -1, -1):
        state = [part.detach().requires_grad_() for part in states.pop()]
        if n in ends:
            with torch.enable_grad():
                value = ends[n](state[0])
            values.append(value.detach())
            reached = total.add(value, state[:1] if n else [])
            d = [d[0] + reached[0], *d[1:]] if n else d
        if n == 0:
            break
        before = [part.detach().requires_grad_() for part in states[-1]]
        with torch.enable_grad():
            after = descent.step(before, n - 1, graph=True)
        d = total.add(after, before if n > 1 else [], d)
    return _Known.apply(torch.stack(values).sum(), total.gradients, *leaves)


def trajectory_match(start: Tensor, target: Tensor) -> Terminal:
    """‖θ − target‖² / ‖start − target‖² over all weights (paper 019, Eq. 2); summed over students.

    Raises
    ------
    ValueError
        Start and target are the same: the expert did not move.
    """
    moved = (start - target).square().sum(-1)
    if bool((moved == 0).any()):
        raise ValueError(
            "start and target of the trajectory are the same weights: the expert did not move between them"
        )
    return lambda weights: ((weights - target).square().sum(-1) / moved).sum()


def bptt(network: FlatNetwork, inputs: Tensor, labels: Tensor) -> Terminal:
    """Mean cross-entropy of the trained student on real examples (paper 021); of K students their mean."""
    return lambda weights: cross_entropy(network(weights, inputs), labels) / (len(weights) if weights.ndim > 1 else 1)


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over examples, summed over students: logits (n, C) or (K, n, C), labels (n,) or (n, C), the same for all."""
    if logits.ndim == 2:
        return F.cross_entropy(logits, labels)
    repeated = labels.expand(len(logits), *labels.shape).flatten(0, 1)
    return F.cross_entropy(logits.flatten(0, 1), repeated) * len(logits)


class Sum:
    """The gradients of the leaves while their shares come in."""

    def __init__(self, leaves: Sequence[Tensor]) -> None:
        self.leaves = list(leaves)
        self.gradients: list[Tensor | None] = [None] * len(self.leaves)

    def add(self, outputs: Any, inputs: Sequence[Tensor], slopes: Sequence[Tensor] | None = None) -> list[Tensor]:
        """Pull `slopes` (default 1) back from `outputs`: keeps what reaches leaves, returns what reaches `inputs`."""
        found = torch.autograd.grad(outputs, [*inputs, *self.leaves], slopes, allow_unused=True)
        for k, share in enumerate(found[len(inputs) :]):
            if share is not None:
                before = self.gradients[k]
                self.gradients[k] = share if before is None else before + share
        return [
            torch.zeros_like(leaf) if share is None else share
            for leaf, share in zip(inputs, found[: len(inputs)], strict=True)
        ]


class _Known(torch.autograd.Function):
    """A number whose gradients are known already."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, gradients: list[Tensor | None], *leaves: Tensor) -> Tensor:  # noqa: ARG004
        ctx.gradients = gradients
        return value.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        return (None, None, *(None if share is None else slope * share for share in ctx.gradients))


def _whole(descent: Descent, start: Tensor, ends: Mapping[int, Terminal]) -> Tensor:
    """The same by plain autograd through all steps."""
    state = descent.begin(start.detach())
    values = [ends[0](state[0])] if 0 in ends else []
    for n in range(descent.steps):
        state = descent.step(state, n, graph=True)
        if n + 1 in ends:
            values.append(ends[n + 1](state[0]))
    return torch.stack(values).sum()
