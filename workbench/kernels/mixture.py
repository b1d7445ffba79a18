"""Teachers in closed form: score and posterior mean of a diffused mixture of Gaussians, or of the data themselves.

The clean points are Σ_j w_j N(μ_j, s_j² I); diffused, x = α x₀ + σ ε. With v_j = α² s_j² + σ² and r_j the probability
that x came from component j,

    log p(x) = log Σ_j w_j N(x; α μ_j, v_j I)
    E[x₀ | x] = Σ_j r_j m_j,        m_j = μ_j + (α s_j² / v_j)(x − α μ_j)
    ∇ log p(x) = (α E[x₀ | x] − x) / σ²                                        (Tweedie)

s = 0 and equal weights make the teacher of the empirical data, whose diffused density is a kernel density estimate.
α and σ may differ from point to point, as they do when noise levels are drawn per example. Papers 031 and 114. The
score is computed as Σ_j r_j (α μ_j − x) / v_j, without a division by σ: where s > 0 it holds at the clean end too.

The gradient towards x is in closed form too (the Jacobian of the denoiser times a vector), from like sums; a teacher
that is itself learned (gradients towards μ, s, w), second derivatives and the transforms of `torch.func` go through the
definition, which keeps the whole n × m matrix.

Cost, for n points, m components and d features: 2 n m d multiply-adds and n m exponentials for the values, 3 n m d for
the gradient. The plain version holds `BLOCK` elements of the matrix of responsibilities, the fused one tiles of it in
registers: a running softmax over the components, which are split between programs where points are few; up to
`FEATURES` features. On an H100 (4,096 points, 50,000 data, with gradient) 4.1 times as fast as the expression and 1.2
times as fast compiled at 2 features, 1.8 and 0.65 times at 64 (``BENCHMARKS-GPU.md``), where the expression takes its
distances from a product in single precision, which loses digits. Of a CPU: ``BENCHMARKS.md``.
"""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad as fwAD

from workbench.kernels.dispatch import INTERPRETED, runs_fused

__all__ = ["MixtureScore", "log_joint", "mixture_score"]

BLOCK = {"cpu": 1 << 20, "cuda": 1 << 23}
"""Responsibilities that exist at a time."""

FEATURES = 128


class MixtureScore(NamedTuple):
    """What the teacher says at n points: log-density (n,) in nats, posterior mean of x₀ (n, d), score (n, d)."""

    log_density: Tensor
    x0: Tensor
    score: Tensor


def mixture_score(
    x: Tensor,
    means: Tensor,
    *,
    alpha: float | Tensor = 1.0,
    sigma: float | Tensor,
    spread: float | Tensor = 0.0,
    weights: Tensor | None = None,
) -> MixtureScore:
    """Log-density, posterior mean and score of the diffused mixture at every point.

    Parameters
    ----------
    x
        Points, shape (n, d).
    means
        μ, or the data themselves, shape (m, d), m ≥ 1.
    alpha, sigma
        Signal and noise level, numbers or shape (n,); α ≥ 0, σ ≥ 0, and σ > 0 where a spread is zero.
    spread
        Standard deviation s of the components, a number or shape (m,), ≥ 0.
    weights
        Shape (m,), positive, need not sum to 1; None: all alike.

    Raises
    ------
    ValueError
        Shapes that do not fit; points without noise nor spread.

    Examples
    --------
    >>> told = mixture_score(torch.tensor([[0.5]]), torch.tensor([[-1.0], [1.0]]), sigma=1.0)
    >>> told.x0, told.score
    (tensor([[0.4621]]), tensor([[-0.0379]]))
    """
    tensors = _checked(x, means, alpha, sigma, spread, weights)
    if _transformed(tensors):
        return MixtureScore(*by_definition(*tensors))
    numbers = not any(isinstance(each, Tensor) for each in (sigma, spread))
    clean = _refused(sigma < 0, sigma == 0, spread == 0) if numbers else _clean(*tensors[3:5])  # type: ignore[arg-type]
    learned = torch.is_grad_enabled() and any(each.requires_grad for each in tensors[1:])
    return MixtureScore(*(by_definition(*tensors) if learned else _Mixture.apply(*tensors, clean)))


def log_joint(
    x: Tensor,
    means: Tensor,
    *,
    alpha: float | Tensor = 1.0,
    sigma: float | Tensor,
    spread: float | Tensor = 0.0,
    weights: Tensor | None = None,
) -> Tensor:
    """Log-density of each point together with each component, log w_j N(x_i; α_i μ_j, v_ij I), shape (n, m).

    Arguments as for `mixture_score`. Its softmax over the components is r; nothing larger than n × m exists.

    Examples
    --------
    >>> log_joint(torch.tensor([[0.0]]), torch.tensor([[-1.0], [1.0]]), sigma=1.0).softmax(1)
    tensor([[0.5000, 0.5000]])
    """
    x, means, *levels = _checked(x, means, alpha, sigma, spread, weights)
    return _block(x, _widened(means), *levels).joint


def _checked(
    x: Tensor,
    means: Tensor,
    alpha: float | Tensor,
    sigma: float | Tensor,
    spread: float | Tensor,
    weights: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Points, means, α and σ (n,), s² (m,) or (1,), log w (m,): of one type and on one device."""
    if x.ndim != 2 or means.ndim != 2 or x.shape[1] != means.shape[1] or not len(means):
        raise ValueError(
            f"x has shape {tuple(x.shape)}, means {tuple(means.shape)}; they must be (n, d) and (m, d) with m ≥ 1"
        )
    wide = torch.promote_types(torch.promote_types(x.dtype, means.dtype), torch.float32)
    told: dict[str, Tensor] = {}
    for name, value, rows in (("alpha", alpha, len(x)), ("sigma", sigma, len(x)), ("spread", spread, len(means))):
        if isinstance(value, Tensor):
            each = value.to(x.device, wide)
        else:  # filled in there: a number that is copied to a GPU waits for all that it has to do
            each = torch.full((), value, dtype=wide, device=x.device)
        if each.ndim and each.shape != (rows,):
            raise ValueError(f"{name} has shape {tuple(each.shape)}; it must be a number or of shape ({rows},)")
        told[name] = each.view(1) if name == "spread" and not each.ndim else each.expand(rows)
    if weights is None:
        logs = torch.full((len(means),), -math.log(len(means)), dtype=wide, device=x.device)
    elif weights.shape != (len(means),):
        raise ValueError(f"weights have shape {tuple(weights.shape)}; there is one per component, ({len(means)},)")
    else:
        logs = (weights / weights.sum()).to(wide).log()
    return x.to(wide), means.to(wide), told["alpha"], told["sigma"], told["spread"].square(), logs


def _clean(sigma: Tensor, variance: Tensor) -> bool:
    """Whether some point has no noise; refused where a component has no spread. The device is waited for once."""
    return _refused(*torch.stack([(sigma < 0).any(), (sigma == 0).any(), (variance == 0).any()]).tolist())


def _refused(negative: bool, clean: bool, sharp: bool) -> bool:
    if negative or (clean and sharp):
        raise ValueError("sigma is not positive everywhere: without noise the density of points is infinite")
    return clean


def _transformed(tensors: tuple[Tensor, ...]) -> bool:
    """Whether one is inside `torch.func` (jvp, vmap, …) or carries a forward-mode tangent."""
    return any(
        torch.func.debug_unwrap(each) is not each or fwAD.unpack_dual(each).tangent is not None for each in tensors
    )


def by_definition(
    x: Tensor, means: Tensor, alpha: Tensor, sigma: Tensor, variance: Tensor, logs: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Log p, E[x₀ | x] and score as they are written; differentiable in everything, to any order; holds (n, m, d)."""
    v = alpha.square()[:, None] * variance + sigma.square()[:, None]
    apart = x[:, None] - alpha[:, None, None] * means
    joint = logs - x.shape[1] / 2 * (2 * math.pi * v).log() - apart.square().sum(2) / (2 * v)
    shrink = alpha[:, None] * variance / v
    r = joint.softmax(1).unsqueeze(2)
    x0 = (r * (means + shrink.unsqueeze(2) * apart)).sum(1)
    return joint.logsumexp(1), x0, -(r * apart / v.unsqueeze(2)).sum(1)


class _Block(NamedTuple):
    """Some points' log joint density with each component (k, m); shrinkage α s² / v, and v: (k, m), or (k, 1)."""

    joint: Tensor
    shrink: Tensor
    v: Tensor


def _block(
    x: Tensor, wide: tuple[Tensor, Tensor], alpha: Tensor, sigma: Tensor, variance: Tensor, logs: Tensor
) -> _Block:
    v = alpha.square()[:, None] * variance + sigma.square()[:, None]
    joint = _apart(x, wide, alpha).mul_(-0.5 / v)
    joint += logs
    joint -= x.shape[1] / 2 * (2 * math.pi * v).log()
    return _Block(joint, alpha[:, None] * variance / v, v)


def _widened(means: Tensor) -> tuple[Tensor, Tensor]:
    """The means and their squares as `_apart` takes them: in double precision, except on mps, which has none."""
    wide = means if means.device.type == "mps" else means.double()
    return wide, torch.linalg.vecdot(wide, wide)


def _apart(x: Tensor, widened: tuple[Tensor, Tensor], alpha: Tensor) -> Tensor:
    """‖x_i − α_i μ_j‖², (k, m), from doubles: a small σ magnifies what squares minus products lose."""
    wide, own = widened
    if x.device.type == "mps":
        safe = alpha.clamp_min(torch.finfo(x.dtype).eps)[:, None]
        return torch.cdist(x / safe, wide, compute_mode="donot_use_mm_for_euclid_dist").mul_(safe).square_()
    a, scale = x.double(), alpha.double()[:, None]
    squares = torch.addmm(a.square().sum(1, keepdim=True).expand(-1, len(wide)), scale * a, wide.mT, alpha=-2)
    return squares.addcmul_(scale.square(), own).clamp_(min=0).to(x.dtype)


def _parts(x: Tensor, means: Tensor) -> list[slice]:
    rows = max(1, BLOCK.get(x.device.type, BLOCK["cuda"]) // len(means))
    return [slice(start, start + rows) for start in range(0, len(x), rows)]


class _Mixture(torch.autograd.Function):
    """log p, E[x₀ | x] and score in blocks of points; closed-form gradient towards x."""

    @staticmethod
    def forward(
        x: Tensor, means: Tensor, alpha: Tensor, sigma: Tensor, variance: Tensor, logs: Tensor, clean: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        if _fuses(x, means, clean):
            from workbench.kernels.fused import mixture as fused  # noqa: PLC0415 - only where Triton is

            log_density, x0 = fused.forward(x, means, alpha, sigma, variance, logs)
            return log_density, x0, (alpha.unsqueeze(1) * x0 - x) / sigma.square().unsqueeze(1)
        log_density, x0, score = x.new_empty(len(x)), torch.empty_like(x), torch.empty_like(x)
        wide = _widened(means)
        for rows in _parts(x, means):
            a, at = alpha[rows, None], x[rows]
            joint, b, v = _block(at, wide, alpha[rows], sigma[rows], variance, logs)
            r = joint.softmax(1)
            log_density[rows] = joint.amax(1) - r.amax(1).log()
            # What lies along the means is σ² Σ r μ / v of x̂₀ (as 1 − α b = σ² / v) and α Σ r μ / v of the score.
            if b.shape[1] == 1:
                kept, total, along = b, 1 / v, (r @ means) / v
            else:
                kept, scaled = (r * b).sum(1, keepdim=True), r / v
                total, along = scaled.sum(1, keepdim=True), scaled @ means
            x0[rows] = sigma[rows, None].square() * along + kept * at
            score[rows] = a * along - total * at
        return log_density, x0, score

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[object, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
        *tensors, ctx.clean = inputs
        ctx.save_for_backward(*tensors, *output)

    @staticmethod
    def backward(ctx: Any, g: Tensor, g0: Tensor, gs: Tensor) -> Any:
        *inputs, log_density, x0, score = ctx.saved_tensors
        x, means, alpha, sigma, variance, logs = inputs
        if torch.is_grad_enabled():  # a second derivative is wanted
            pull: Any = torch.func.vjp(lambda x: by_definition(x, *inputs[1:]), x)[1]
            return pull((g, g0, gs))[0], None, None, None, None, None, None
        if _fuses(x, means, ctx.clean):
            from workbench.kernels.fused import mixture as fused  # noqa: PLC0415 - only where Triton is

            noisy = sigma.square().unsqueeze(1)
            whole = g0 + alpha.unsqueeze(1) * gs / noisy
            level, along = g - (whole * x0).sum(1), (whole * x).sum(1)
            out = fused.backward(x, means, alpha, sigma, variance, logs, log_density, whole, level, along)
            return out - gs / noisy, None, None, None, None, None, None
        # Σ_j r_j (α s_j² g₀ − g_s) / v_j + Σ_j h_j (α μ_j − x), where, with m_j as above and s_j = (α μ_j − x) / v_j,
        # h_j = (r_j / v_j) (⟨g₀, m_j⟩ − ⟨g₀, x₀⟩ + ⟨g_s, s_j⟩ − ⟨g_s, S⟩ + g). What lies along μ_j in m_j and s_j is
        # together ⟨σ² g₀ + α g_s, μ_j⟩ / v_j: one product.
        level = g - (g0 * x0).sum(1) - (gs * score).sum(1)
        both = sigma.square().unsqueeze(1) * g0 + alpha.unsqueeze(1) * gs
        along0, along_s = (g0 * x).sum(1), (gs * x).sum(1)
        out, wide = torch.empty_like(x), _widened(means)
        for rows in _parts(x, means):
            a = alpha[rows, None]
            joint, b, v = _block(x[rows], wide, alpha[rows], sigma[rows], variance, logs)
            r = joint.softmax(1)  # exp of the difference is many times slower where it underflows
            h = (both[rows] @ means.mT).sub_(along_s[rows, None]).div_(v)
            h.add_(b * along0[rows, None] + level[rows, None]).mul_(r).div_(v)
            if b.shape[1] == 1:
                direct = b * g0[rows] - gs[rows] / v
            else:
                direct = (r * b).sum(1, keepdim=True) * g0[rows] - (r / v).sum(1, keepdim=True) * gs[rows]
            out[rows] = direct + a * (h @ means) - h.sum(1, keepdim=True) * x[rows]
        return out, None, None, None, None, None, None


def _fuses(x: Tensor, means: Tensor, clean: bool) -> bool:
    if not len(x) or (x.device.type == "cpu" and not INTERPRETED):
        return False
    refused = "" if x.shape[1] <= FEATURES else f"more than {FEATURES} features do not fit into registers"
    return runs_fused("mixture_score", x, means, refused=refused or "points without noise" * clean)
