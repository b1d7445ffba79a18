"""Minibatch CKA as sums that can be added up: batches stream through, shards merge, no feature is kept.

Nguyen, Raghu & Kornblith 2021, Eq. 2: average HSIC over minibatches first, divide afterwards,

    CKA = mean_b HSIC(K_b, L_b) / √(mean_b HSIC(K_b, K_b) · mean_b HSIC(L_b, L_b))

With the unbiased HSIC₁ the expectations of numerator and denominators do not depend on the batch size.
"""

from dataclasses import dataclass, field
from typing import Self

import torch
from scipy.special import stdtrit
from torch import Tensor

from workbench.kernels import hsic as kernel

__all__ = ["Centered", "HSICSums", "centered"]


@dataclass
class HSICSums:
    """Sufficient statistics of minibatch CKA between La layers of one network and Lb of another.

    `merge` is associative and commutative up to rounding, so batches may be spread over workers in any way.

    Attributes
    ----------
    cross, self_a, self_b
        Weighted sums over batches of HSIC(a, b), HSIC(a, a), HSIC(b, b); shapes (La, Lb), (La,), (Lb,), float64.
    debiased
        Which HSIC estimator.
    weight
        Sum of the batches' weights.
    n
        Examples seen.
    moments
        Jackknife second moments of (cross, self_a, self_b), the six distinct entries of a symmetric 3 × 3 matrix
        per pair: shape (6, La, Lb); None when no interval is wanted. See `interval`.
    broken_a, broken_b
        Index of each layer that held NaN or infinity in some batch → which.

    Examples
    --------
    >>> make = torch.Generator().manual_seed(0)
    >>> features = torch.randn(3, 40, 6, generator=make)          # three layers, 40 examples, 6 units each
    >>> whole, left, right = HSICSums.empty(3, 3), HSICSums.empty(3, 3), HSICSums.empty(3, 3)
    >>> for sums, rows in ((left, slice(0, 20)), (right, slice(20, 40))):
    ...     grams = torch.stack([layer @ layer.T for layer in features[:, rows]])
    ...     sums.update(grams, grams)
    ...     whole.update(grams, grams)
    >>> torch.allclose(left.merge(right).result(), whole.result())
    True
    >>> whole.result().diagonal().round(decimals=9)
    tensor([1., 1., 1.], dtype=torch.float64)
    """

    cross: Tensor
    self_a: Tensor
    self_b: Tensor
    debiased: bool = True
    weight: float = 0.0
    n: int = 0
    moments: Tensor | None = None
    broken_a: dict[int, str] = field(default_factory=dict)
    broken_b: dict[int, str] = field(default_factory=dict)

    @classmethod
    def empty(cls, layers_a: int, layers_b: int, *, debiased: bool = True, interval: bool = False) -> Self:
        """Statistics of no batch at all: the neutral element of `merge`."""

        def zeros(*shape: int) -> Tensor:
            return torch.zeros(*shape, dtype=torch.float64)

        return cls(
            zeros(layers_a, layers_b),
            zeros(layers_a),
            zeros(layers_b),
            debiased=debiased,
            moments=zeros(6, layers_a, layers_b) if interval else None,
        )

    def update(self, grams_a: Tensor, grams_b: Tensor, *, weight: float = 1.0) -> None:
        """Add one batch.

        Parameters
        ----------
        grams_a, grams_b
            Gram matrices of the batch's n examples, shapes (La, n, n) and (Lb, n, n), on any device. A layer whose
            matrix holds NaN or infinity is left out and remembered in `broken_a` or `broken_b`.
        weight
            How much the batch counts; 1 for each batch is the papers' plain average.
        """
        self.update_centered(
            centered(grams_a, debiased=self.debiased), centered(grams_b, debiased=self.debiased), weight=weight
        )

    def update_centered(self, a: "Centered", b: "Centered", *, weight: float = 1.0) -> None:
        """`update` with matrices that were centred before, for a network that is compared with several others."""
        self.broken_a |= a.broken
        self.broken_b |= b.broken
        self.cross += weight * kernel.hsic(a.grams, b.grams, debiased=self.debiased).cpu()
        self.self_a += weight * kernel.self_hsic(a.grams, debiased=self.debiased).cpu()
        self.self_b += weight * kernel.self_hsic(b.grams, debiased=self.debiased).cpu()
        self.weight += weight
        self.n += a.grams.shape[-1]
        if self.moments is not None:
            self.moments += weight**2 * _jackknife_moments(a.grams, b.grams, self.debiased).cpu()

    def merge(self, other: "HSICSums") -> "HSICSums":
        """The statistics of both sets of batches together."""
        if self.debiased != other.debiased or self.cross.shape != other.cross.shape:
            raise ValueError(
                f"cannot merge sums of {tuple(self.cross.shape)} layers, debiased={self.debiased}, "
                f"with {tuple(other.cross.shape)}, debiased={other.debiased}"
            )
        return HSICSums(
            self.cross + other.cross,
            self.self_a + other.self_a,
            self.self_b + other.self_b,
            debiased=self.debiased,
            weight=self.weight + other.weight,
            n=self.n + other.n,
            moments=None if self.moments is None or other.moments is None else self.moments + other.moments,
            broken_a=self.broken_a | other.broken_a,
            broken_b=self.broken_b | other.broken_b,
        )

    def result(self) -> Tensor:
        """CKA of every pair, shape (La, Lb), float64; NaN where a layer is constant or broken."""
        # The roots first: of features of 1e30 the product of both sums would be infinite.
        value = self.cross / (self.self_a.sqrt()[:, None] * self.self_b.sqrt()[None])
        value[list(self.reasons_a)] = torch.nan
        value[:, list(self.reasons_b)] = torch.nan
        return value

    @property
    def reasons_a(self) -> dict[int, str]:
        """Index of each layer of a that has no CKA → why."""
        return _reasons(self.self_a, self.broken_a)

    @property
    def reasons_b(self) -> dict[int, str]:
        """Index of each layer of b that has no CKA → why."""
        return _reasons(self.self_b, self.broken_b)

    def interval(self, level: float = 0.95) -> Tensor:
        """Interval of every CKA for other examples of the same kind: shape (La, Lb, 2).

        The jackknife over examples. Each batch's HSIC is recomputed without each of its examples (closed form,
        `workbench.kernels.hsic.leave_one_out`), which gives the 3 × 3 covariance of (HSIC_ab, HSIC_aa, HSIC_bb);
        batches hold different examples, so their covariances add. The delta method carries it to CKA; the interval
        is the value ± t · standard error, cut at ±1. A layer against itself has error 0.

        Why no ordinary bootstrap: a resample with repeated examples has pairs (i, j) that are one example twice, whose
        K_ij is a diagonal entry; HSIC₁ drops the diagonal because it carries the bias, and a bootstrap brings it back
        (CKA of unrelated features of width d > n then looks large in every resample).
        Where the true CKA is 0 HSIC₁ is a degenerate U-statistic and the interval is wider than it need be.
        """
        if self.moments is None:
            raise ValueError("these sums were collected without interval=True")
        covariance = self.moments / self.weight**2
        own_a, own_b = self.self_a[:, None] / self.weight, self.self_b[None] / self.weight
        value = self.result()
        slope = (1 / (own_a.sqrt() * own_b.sqrt()), -value / (2 * own_a), -value / (2 * own_b))
        variance = torch.zeros_like(value)
        for entry, (i, j) in zip(covariance, _ENTRIES, strict=True):
            variance += (1 if i == j else 2) * slope[i] * slope[j] * entry
        reach = float(stdtrit(max(self.n - 1, 1), (1 + level) / 2)) * variance.clamp_min(0).sqrt()
        return torch.stack([value - reach, value + reach], -1).clamp(-1, 1)


_ENTRIES = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))


@dataclass(frozen=True)
class Centered:
    """Centred Gram matrices of one batch, (L, n, n) float64, and the layers that had NaN or infinity (zeroed)."""

    grams: Tensor
    broken: dict[int, str]


def centered(grams: Tensor, *, debiased: bool = True, linear: Tensor | None = None) -> Centered:
    """Centre the Gram matrices (L, n, n) of one batch in float64, setting broken layers aside.

    `linear`: the inner products that the matrices were made of, whose diagonals tell infinite features from NaN.
    """
    told = grams if linear is None else linear.diagonal(dim1=1, dim2=2)
    finite = grams.isfinite().flatten(1).all(1)
    broken = {
        index: "NaN activations" if bool(told[index].isnan().any()) else "infinite activations"
        for index in (~finite).nonzero().flatten().tolist()
    }
    wide = grams.to(torch.float32 if grams.device.type == "mps" else torch.float64)  # mps has no float64
    if broken:
        wide = wide.masked_fill(~finite[:, None, None], 0)
    scale = wide.diagonal(dim1=1, dim2=2).abs().amax(1)
    out = kernel.center(wide, debiased=debiased)
    # What centring leaves of equal inner products is their rounding, not structure.
    rounding = 4 * torch.finfo(grams.dtype).eps * scale
    flat = out.abs().amax((1, 2)) <= rounding
    return Centered(out.masked_fill_(flat[:, None, None], 0), broken)


def _reasons(own: Tensor, broken: dict[int, str]) -> dict[int, str]:
    return dict.fromkeys((own <= 0).nonzero().flatten().tolist(), "constant features") | broken


def _jackknife_moments(a: Tensor, b: Tensor, debiased: bool) -> Tensor:
    """(n−1)/n Σ_i δ_i δ_iᵀ of δ = leave-one-out HSIC (ab, aa, bb) minus its mean: shape (6, La, Lb)."""
    n = a.shape[-1]
    ab = kernel.leave_one_out(a, b, debiased=debiased)
    aa = kernel.leave_one_out(a, a, debiased=debiased, paired=True)
    bb = kernel.leave_one_out(b, b, debiased=debiased, paired=True)
    ab, aa, bb = (each - each.mean(-1, keepdim=True) for each in (ab, aa, bb))
    products = (
        ab.square().sum(-1),
        aa.square().sum(-1)[:, None].expand(ab.shape[:2]),
        bb.square().sum(-1)[None].expand(ab.shape[:2]),
        torch.einsum("abn,an->ab", ab, aa),
        torch.einsum("abn,bn->ab", ab, bb),
        aa @ bb.mT,
    )
    return torch.stack(products) * ((n - 1) / n)
