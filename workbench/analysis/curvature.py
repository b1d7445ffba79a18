"""Curvature of a loss where a network stands: the trace of its Hessian, estimated or exact."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workbench.data import Split
from workbench.models import observe

__all__ = ["hessian_trace", "trace_of"]

MANY = 64  # Hessian-vector products at once


def hessian_trace(
    network: nn.Module,
    split: Split,
    *,
    soft: Tensor | None = None,
    probes: int | None = 10,
    seed: int = 0,
    state: Mapping[str, Tensor] | None = None,
) -> tuple[float, float]:
    """Trace of the Hessian of the mean cross-entropy by all parameters.

    Hutchinson's estimator (1990): E vᵀHv = tr H for v of independent ±1. With ``probes=None`` the trace itself, from
    one product per parameter: for small networks.

    Parameters
    ----------
    network
        A classifier; run in eval mode (batch statistics have no Hessian of their own), left as it was.
    split
        The examples.
    soft
        Their label distributions, shape (n, classes), instead of the split's classes.
    probes
        Random vectors; None: exact.
    seed
        Of the vectors.
    state
        Parameters and buffers to use instead of the network's own.

    Returns
    -------
    tuple of float
        The trace, and the standard error of its estimate over the probes (0 where exact, NaN for one probe).

    Examples
    --------
    >>> import workbench as wb
    >>> data = wb.data.load("digits")
    >>> network = wb.models.build("mlp", data, width=4, depth=1)
    >>> estimate, error = hessian_trace(network, data.test, probes=200)
    >>> exact, _ = hessian_trace(network, data.test, probes=None)
    >>> abs(estimate - exact) < 5 * error
    True
    """
    observer = observe(network)
    held = dict(network.named_parameters()) if state is None else state
    names = [name for name, _ in network.named_parameters()]
    shapes = [held[name].shape for name in names]
    sizes = [shape.numel() for shape in shapes]
    fixed = {name: buffer for name, buffer in network.named_buffers() if state is None or name not in state}
    fixed |= {} if state is None else {name: value for name, value in state.items() if name not in names}
    labels = split.labels if soft is None else soft

    def loss(vector: Tensor) -> Tensor:
        parameters = {n: v.view(s) for n, v, s in zip(names, vector.split(sizes), shapes, strict=True)}
        return F.cross_entropy(observer(split.inputs, {**parameters, **fixed}).logits, labels)

    at = torch.cat([held[name].detach().flatten() for name in names])
    training = network.training
    network.eval()
    try:
        return trace_of(loss, at, probes=probes, seed=seed)
    finally:
        network.train(training)


def trace_of(
    function: Callable[[Tensor], Tensor], at: Tensor, *, probes: int | None = 10, seed: int = 0
) -> tuple[float, float]:
    """Trace of the Hessian of a scalar function of one vector (P,) at `at`; see `hessian_trace`.

    Examples
    --------
    >>> trace_of(lambda x: (x**2).sum() + x[0] * x[1], torch.ones(3), probes=None)
    (6.0, 0.0)
    """
    P = len(at)
    if probes is not None and probes < 1:
        raise ValueError(f"probes is {probes}; it must be at least 1, or None for the exact trace")

    # Reverse over reverse: the pull-back of the gradient is vᵀH, which for a Hessian is Hv.
    pull_back: Any = torch.func.vjp(torch.func.grad(function), at)[1]
    run = torch.vmap(lambda v: v @ pull_back(v)[0])
    if probes is None:
        parts = torch.arange(P).split(MANY)
        total = sum(run(F.one_hot(rows, P).to(at)).double().sum() for rows in parts)
        return float(total), 0.0
    generator = torch.Generator().manual_seed(seed)
    signs = (2 * torch.randint(2, (probes, P), generator=generator) - 1).to(at)
    values = torch.cat([run(some) for some in signs.split(MANY)]).double()
    error = float(values.std() / probes**0.5) if probes > 1 else float("nan")
    return float(values.mean()), error
