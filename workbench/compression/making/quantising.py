"""Quantisers of a tensor of weights: values on a few levels, scaled per bucket of k consecutive weights.

    v̂ = (v − β) / α,   β = min, α = max − min of the bucket (α := 1 where it is constant),
    Q(v) = α · round(v̂ (s − 1)) / (s − 1) + β       s levels; s − 1 steps, so that exactly s points exist
    Q(v; p)_i = α_b(i) · p_j(i) + β_b(i),           j(i) = argmin_j |v̂_i − p_j|

The stochastic variant rounds up with a probability equal to the fractional part. Paper 046. Everything is plain tensor
operations without data-dependent branches, so that it also runs under ``vmap`` (`workbench.training.Ensemble`).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from workbench.training import doors


@dataclass(frozen=True)
class Scaled:
    """A tensor in its buckets.

    Attributes
    ----------
    v_hat
        v̂ in 0..1, shape (buckets, k); the last bucket is filled up with the tensor's last value.
    alpha, beta
        α and β of each bucket, (buckets, 1).
    """

    v_hat: Tensor
    alpha: Tensor
    beta: Tensor

    def back(self, v_hat: Tensor, like: Tensor) -> Tensor:
        """α v̂ + β in the shape of `like`, without what the last bucket was filled up with."""
        return (self.alpha * v_hat + self.beta).flatten()[: like.numel()].view(like.shape)


def scale(v: Tensor, bucket: int | None = 256) -> Scaled:
    """Scale each bucket to 0..1.

    Parameters
    ----------
    v
        Any shape; buckets are of consecutive entries.
    bucket
        k, at least 1; None: the whole tensor is one.

    Raises
    ------
    ValueError
        `bucket` is no whole number of at least 1, or the tensor is empty.

    Examples
    --------
    >>> import torch
    >>> found = scale(torch.tensor([0.0, 1.0, 4.0, 2.0, 2.0]), bucket=3)
    >>> found.v_hat.tolist(), found.alpha.flatten().tolist(), found.beta.flatten().tolist()
    ([[0.0, 0.25, 1.0], [0.0, 0.0, 0.0]], [4.0, 1.0], [0.0, 2.0])
    """
    if v.numel() == 0:
        raise ValueError("v is empty: there is nothing to quantise")
    k = v.numel() if bucket is None else doors.whole("bucket", bucket, 1)
    flat = v.flatten()
    filled = -v.numel() % k
    rows = torch.cat([flat, flat[-1:].expand(filled)]).view(-1, k)
    beta = rows.amin(1, keepdim=True)
    alpha = rows.amax(1, keepdim=True) - beta
    alpha = torch.where(alpha == 0, torch.ones_like(alpha), alpha)
    return Scaled((rows - beta) / alpha, alpha, beta)


def uniform(
    v: Tensor,
    s: int,
    bucket: int | None = 256,
    *,
    stochastic: bool = False,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Q(v): the nearest of s equally spaced levels in each bucket.

    Parameters
    ----------
    v
        Any shape.
    s
        Levels, at least 2 (2^bits).
    bucket
        k; None: the whole tensor.
    stochastic
        Round up with a probability equal to the fractional part: unbiased, of variance α² u (1 − u) / (s − 1)².
    generator
        Draws for it; None: torch's own, which `workbench.training.fit` seeds and puts back.

    Raises
    ------
    ValueError
        s is below 2, or `bucket` as for `scale`.

    Examples
    --------
    >>> import torch
    >>> uniform(torch.tensor([0.0, 0.2, 0.6, 1.0]), s=2).tolist()
    [0.0, 0.0, 1.0, 1.0]
    """
    found = scale(v, bucket)
    return found.back(rounded(found.v_hat, s, stochastic=stochastic, generator=generator), v)


def rounded(v_hat: Tensor, s: int, *, stochastic: bool = False, generator: torch.Generator | None = None) -> Tensor:
    """v̂ on the levels j / (s − 1)."""
    steps = doors.whole("s", s, 2) - 1
    exact = v_hat * steps
    if not stochastic:
        return exact.round() / steps
    draws = torch.rand(exact.shape, dtype=exact.dtype, device=exact.device, generator=generator)
    return (exact.floor() + (draws < exact - exact.floor())) / steps


def assigned(v_hat: Tensor, p: Tensor) -> Tensor:
    """j(i), the position in `p` (s,) of the level nearest to each entry; the first of two that are as near."""
    return (v_hat.unsqueeze(-1) - p).abs().argmin(-1)


def on_levels(v: Tensor, p: Tensor, bucket: int | None = 256) -> Tensor:
    """Q(v; p); ∂L/∂p_j is the sum of α ∂L/∂Q over the weights that are assigned to level j.

    Examples
    --------
    >>> import torch
    >>> on_levels(torch.tensor([0.0, 2.0, 5.0, 8.0]), torch.tensor([0.0, 0.5, 1.0])).tolist()
    [0.0, 0.0, 4.0, 8.0]
    """
    found = scale(v, bucket)
    return found.back(p[assigned(found.v_hat, p)], v)


def quantiles(v: Tensor, s: int, bucket: int | None = 256) -> Tensor:
    """Levels to start from: quantiles of v̂ at s equally spaced probabilities, rising, shape (s,)."""
    v_hat = scale(v, bucket).v_hat.flatten()[: v.numel()].sort().values
    at = torch.linspace(0, len(v_hat) - 1, doors.whole("s", s, 2), dtype=v.dtype, device=v.device)
    low = at.floor().long()
    high = (low + 1).clamp(max=len(v_hat) - 1)
    return torch.lerp(v_hat[low], v_hat[high], at - low)
