"""Every step's regression posterior from one eigensystem: made once by an estimator, moved by sliders ever after."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from torch import Tensor

from workbench.gp.making.chain import Engine, Step
from workbench.gp.making.checks import choice, mixing_schedule, noise_schedule, step_count
from workbench.gp.making.filters import Filters, filters, harmonic_noise, limit_filters
from workbench.records import PosteriorPath

KEPT_DIRECTIONS = 1_000


def redistill(
    path: PosteriorPath,
    *,
    steps: int | None = None,
    noise: float | Sequence[float] | None = None,
    mixing: float | Sequence[float] | None = None,
    approach: str | None = None,
) -> PosteriorPath:
    """The same data and kernel distilled otherwise: no Gram matrix, O(m·n) per step.

    Parameters
    ----------
    path
        A regression path with its eigensystem (``path.interactive``).
    steps, noise, mixing, approach
        As in `SelfDistilledGPR`; None keeps what the path has (the last noise and mixing, where there are more steps).

    Raises
    ------
    ValueError
        The path has no eigensystem, or an argument is out of range.

    Examples
    --------
    >>> import numpy as np, workbench as wb
    >>> X = np.linspace(0, 1, 20)[:, None]
    >>> model = wb.gp.SelfDistilledGPR("rbf", hyperparameters="fixed", steps=3).fit(X, np.sin(6 * X[:, 0]))
    >>> path = model.path(X)
    >>> wb.gp.redistill(path, steps=8, noise=0.5).mean.shape
    torch.Size([8, 20, 1])
    """
    if not path.interactive:
        raise ValueError(
            "path has no eigensystem to filter (classification, method='cg' and hyperparameters='all' have none): "
            "fit the estimator with the new settings instead"
        )
    approach = choice("approach", approach or path.approach, ("data", "distribution"))
    steps = path.steps if steps is None else step_count(steps)
    old_noise, old_mixing = path.noise, path.mixing
    assert old_noise is not None
    gamma = _extend(old_noise, steps) if noise is None else torch.from_numpy(noise_schedule(noise, steps))
    if mixing is None:
        alpha = _extend(old_mixing, steps) if approach == "data" else torch.zeros(steps, dtype=torch.float64)
    else:
        alpha = torch.from_numpy(mixing_schedule(mixing, steps, approach))
    changes = evaluate(path, approach, gamma, alpha)
    return path.replace(approach=approach, noise=gamma, mixing=alpha, **changes)


def evaluate(path: PosteriorPath, approach: str, noise: Tensor, mixing: Tensor) -> dict[str, Any]:
    """The fields of `path` that follow from its eigensystem, for γ and α of shape (T,)."""
    d, c, projections = path.eigenvalues, path.coefficients, path.projections
    prior, offset, scale = path.prior_variance, path.offset, path.scale
    assert d is not None
    assert c is not None
    assert projections is not None
    assert prior is not None
    assert offset is not None
    assert scale is not None
    noise, mixing = noise.to(d), mixing.to(d)
    step, limit = filters(approach, d, noise, mixing), limit_filters(approach, d, noise, mixing)
    weights = torch.cat([step.weights, limit.weights[None]])
    reduction = torch.cat([step.reduction, limit.reduction[None]])
    mean = _apply(projections, weights, c) * scale + offset
    taken = _distinct_products(projections.square(), reduction)
    variance = (prior - taken).clamp_min(0)[..., None] * scale.square()
    changes: dict[str, Any] = {
        "mean": mean[:-1],
        "variance": variance[:-1],
        "limit_mean": mean[-1],
        "limit_variance": variance[-1],
        "filters": step.kept,
        "effective_noise": step.effective_noise,
        "limit_filter": limit.kept,
        "log_marginal_likelihood": evidence(
            approach, d, c, noise=noise, mixing=mixing, terms=path.evidence_terms, step=step
        ),
        "targets": None,
        "fitted": None,
    }
    if path.directions is not None:
        kept = _apply(path.directions, step.kept, c)
        changes["fitted"] = kept * scale + offset
        if path.targets is not None:
            true = path.targets[:1]  # step 1 is always fitted to the true targets
            changes["targets"] = true.expand(len(noise), -1, -1)
            if approach == "data":
                share = mixing[1:, None, None]
                taught = share * true + (1 - share) * changes["fitted"][:-1]
                changes["targets"] = torch.cat([true, taught])
    return changes


def regression_path(
    engines: Sequence[Engine],
    chain: Sequence[Step],
    x: Tensor,
    *,
    noise: Tensor,
    mixing: Tensor,
    offset: Tensor,
    scale: Tensor,
    **fields: Any,
) -> PosteriorPath:
    """The record of a fitted chain at x (m, features), with its eigensystem where all steps share one.

    `engines` has one entry, or one per step; `chain` has one `Step` per step; `fields` go into the record as they are.
    """
    rows, first = engines[0].rows, engines[0]
    own = [engines[min(t, len(engines) - 1)] for t in range(len(chain))]

    def units(values: Tensor) -> Tensor:
        return values.cpu().double() * scale + offset

    path = PosteriorPath(
        task="regression",
        inputs=x.cpu().double(),
        mean=torch.stack([units(engine.mean(x, step.weights)) for engine, step in zip(own, chain, strict=True)]),
        variance=torch.stack(_variances(own, chain, x))[..., None] * scale.square(),
        targets=torch.stack([units(step.targets / rows.root) for step in chain]),
        fitted=torch.stack([units(step.fitted / rows.root) for step in chain]),
        noise=noise,
        mixing=mixing,
        offset=offset,
        scale=scale,
        log_marginal_likelihood=torch.tensor([step.evidence for step in chain], dtype=torch.float64),
        groups=torch.from_numpy(rows.groups),
        kernel=own[-1].kernel.describe(),
        **fields,
    )
    if fields["method"] == "cg" or len(engines) > 1:
        return path
    values, vectors = first.spectrum()
    coefficients = vectors.T @ rows.scaled
    outside = float(rows.scaled.square().sum() - coefficients.square().sum())
    interactive = path.replace(
        eigenvalues=values.cpu().double(),
        coefficients=coefficients.cpu().double(),
        projections=first.projections(x).cpu().double(),
        directions=first.directions().cpu().double() if len(rows.X) <= KEPT_DIRECTIONS else None,
        prior_variance=first.kernel.diagonal(x).cpu().double(),
        evidence_terms={
            "rows": len(rows.X),
            "weight": float(rows.weight.sum()),
            "spread": rows.spread,
            "outside": max(0.0, outside) if len(values) < len(rows.X) else 0.0,
            "missing": float(getattr(first, "missing", 0.0)),
        },
    )
    shown = evaluate(interactive, path.approach, noise, mixing)
    kept = ("filters", "effective_noise", "limit_mean", "limit_variance", "limit_filter")
    return interactive.replace(**{name: shown[name] for name in kept})


def plain_settings(estimator: BaseEstimator) -> dict[str, Any]:
    """The estimator's parameters as plain values; what is none (a kernel) as text."""
    plain = (bool, int, float, str, type(None))
    settings = estimator.get_params(deep=False)
    return {
        name: value
        if isinstance(value, plain)
        else [float(v) for v in value]
        if isinstance(value, list | tuple | np.ndarray)
        else str(value)
        for name, value in settings.items()
    }


def evidence(
    approach: str,
    d: Tensor,
    c: Tensor,
    *,
    noise: Tensor,
    mixing: Tensor,
    terms: dict[str, float],
    step: Filters | None = None,
) -> Tensor:
    """Log density of each step's targets under its own prior, in nats, shape (T,).

    `terms` as in `PosteriorPath`; `step` are the filters, where they are known already.
    """
    step = filters(approach, d, noise, mixing) if step is None else step
    power = c.square().sum(1)
    outputs, rows, weight = c.shape[1], terms["rows"], terms["weight"]
    total = noise if approach == "data" else harmonic_noise(noise)
    determinant = (d + total[:, None]).log().sum(1)
    if rows > len(d):
        determinant = determinant + (rows - len(d)) * total.log()
    share = step.weights * (d + total[:, None])
    true = torch.cat([torch.ones_like(mixing[:1]), mixing[1:]]).square() if approach == "data" else 1.0
    loss = (share.square() * power / (d + total[:, None])).sum(1) + outputs * determinant
    # terms that no direction carries: none of them may turn 0/0 into NaN when there is no noise
    for name, factor in (("outside", true), ("spread", true), ("missing", outputs)):
        if terms[name] > 0:
            loss = loss + factor * terms[name] / total
    loss = loss + rows * outputs * math.log(2 * math.pi)
    if approach == "data":
        if weight != rows:
            loss = loss + (weight - rows) * outputs * (2 * math.pi * noise).log()
        return -0.5 * loss
    stacked = rows * outputs * (2 * math.pi * total).log() - weight * outputs * (2 * math.pi * noise).log().cumsum(0)
    value = 0.5 * (stacked - loss)
    return torch.cat([value[:1], value.diff()])


def _variances(engines: Sequence[Engine], chain: Sequence[Step], x: Tensor) -> list[Tensor]:
    """Each step's latent variance at x, (m,); computed once where kernel and noise are those of the step before."""
    found: list[Tensor] = []
    for t, (engine, step) in enumerate(zip(engines, chain, strict=True)):
        same = t and engine is engines[t - 1] and step.noise == chain[t - 1].noise
        found.append(found[-1] if same else engine.variance(x, step.noise).cpu().double())
    return found


def _apply(basis: Tensor, weights: Tensor, coefficients: Tensor) -> Tensor:
    """The products basis · diag(w_t) · coefficients: (m, r), (T, r), (r, p) to (T, m, p), in one matrix product."""
    steps, outputs = len(weights), coefficients.shape[1]
    wide = (weights[:, :, None] * coefficients).permute(1, 0, 2).reshape(len(coefficients), steps * outputs)
    return (basis @ wide).reshape(len(basis), steps, outputs).transpose(0, 1)


def _distinct_products(basis: Tensor, rows: Tensor) -> Tensor:
    """The product rows · basisᵀ, (T, m), once per run of equal rows: constant noise has one variance for all steps."""
    fresh = torch.ones(len(rows), dtype=torch.bool, device=rows.device)
    fresh[1:] = (rows[1:] != rows[:-1]).any(1)
    return (rows[fresh] @ basis.T)[fresh.cumsum(0) - 1]


def _extend(values: Tensor, steps: int) -> Tensor:
    """The first `steps` values, the last one repeated where there are fewer."""
    return torch.cat([values[:steps], values[-1:].expand(max(0, steps - len(values)))])
