r"""HSIC from Gram matrices: every pair of layers of two networks in one matrix product, plain PyTorch.

The Hilbert–Schmidt independence criterion of two Gram matrices K, L of the same n examples is the inner product of
their centred versions,

    HSIC₀ = ⟨HKH, HLH⟩ / (n − 1)²                 biased (Gretton et al. 2005); H = I − 11ᵀ/n
    HSIC₁ = ⟨K̃, L̃⟩ / (n (n − 3))                  unbiased (Song et al. 2012; Nguyen, Raghu & Kornblith 2021, Eq. 3)

    K̃_ij = K_ij − Σ_l K_il/(n−2) − Σ_l K_lj/(n−2) + Σ_kl K_kl/((n−1)(n−2))  for i ≠ j, after K_ii := 0;  K̃_ii = 0

(K̃ is the "U-centred" matrix of Székely & Rizzo 2014; that ⟨K̃, L̃⟩ equals the three-term form of the papers is an
identity, tested). So the centring is done once per layer, and all La × Lb pairs are one product of the flattened
matrices, (La, n²) @ (n², Lb), without a copy per pair.

Cost, for La and Lb layers of n examples: (La + Lb) n² d multiply-adds for the Gram matrices, La Lb n² for the pairs,
the BLAS's; centring reads and writes each matrix twice. There is no fused version: what one could save is one of those
passes over (La + Lb) n² numbers, beside products that take longer, and the BLAS runs those at its full rate. On two
cores 50 times as fast as centring and multiplying pair by pair (50 × 50 layers, 256 examples; ``BENCHMARKS.md``), on
an H100 2,500 times (512 examples; ``BENCHMARKS-GPU.md``).

Because the rows of a centred matrix sum to zero, leaving one example out has a closed form in the row products
t_i = Σ_j K̃_ij L̃_ij alone (`leave_one_out`).
"""

import torch
from torch import Tensor

__all__ = ["center", "distances", "gram", "hsic", "leave_one_out", "minimum", "rbf", "self_hsic"]

CANCELLATION = 1e-2
"""Below this share of spread in the squared norms, `gram` subtracts the mean first to keep the digits that matter."""


def minimum(debiased: bool) -> int:
    """Fewest examples for which the estimator is defined: 4 unbiased, 2 biased."""
    return 4 if debiased else 2


def gram(features: Tensor) -> Tensor:
    """Gram matrix of linear features, up to terms that every centring removes.

    Parameters
    ----------
    features
        Shape (n, ...); everything after the first axis is flattened. Half precision is raised to float32, and float32
        to float64 where its squares would leave the range.

    Returns
    -------
    Tensor
        Shape (n, n). Inner products of the features or, when the mean is so large that rounding would eat the
        differences (spread below 1 % of the squared norm), of the features minus their mean: both have the same
        centred Gram matrix and the same distances. Features that differ by no more than rounding give exact zeros.

    Examples
    --------
    >>> gram(torch.tensor([[1.0, 0.0], [0.0, 2.0]]))
    tensor([[1., 0.],
            [0., 4.]])
    """
    flat = features.flatten(1)
    if flat.dtype in (torch.float16, torch.bfloat16) or not flat.is_floating_point():
        flat = flat.float()
    products = flat @ flat.mT
    total = products.diagonal().sum()
    if flat.dtype == torch.float32 and flat.device.type != "mps" and not bool((total > 1e-28) & (total < 1e37)):
        flat = flat.double()  # squares have left the range of float32, or come near its ends
        products = flat @ flat.mT
        total = products.diagonal().sum()
    spread = total - products.sum() / len(products)
    if bool(spread < CANCELLATION * total):
        flat = flat - flat.mean(0)
        products = flat @ flat.mT
        rounding = (8 * torch.finfo(flat.dtype).eps) ** 2 * total
        products = torch.where(products.diagonal().sum() > rounding, products, 0.0)
    return products


def distances(grams: Tensor) -> Tensor:
    """Squared Euclidean distances from linear Gram matrices: shape (..., n, n) → (..., n, n), never negative."""
    squares = grams.diagonal(dim1=-2, dim2=-1)
    return (squares.unsqueeze(-1) + squares.unsqueeze(-2) - 2 * grams).clamp_min(0)


def rbf(grams: Tensor, bandwidth: float = 1.0) -> Tensor:
    """Gaussian kernel exp(−d² / 2σ²) from linear Gram matrices, σ = `bandwidth` × the median distance.

    Parameters
    ----------
    grams
        Linear Gram matrices, shape (L, n, n).
    bandwidth
        Fraction of the median distance between two different examples (Kornblith et al. 2019, section 4); each
        of the L matrices has its own median.

    Raises
    ------
    ValueError
        Fewer than two examples.

    Examples
    --------
    >>> points = torch.tensor([[0.0], [1.0], [2.0]])
    >>> rbf(gram(points)[None], bandwidth=1.0)[0, 0]
    tensor([1.0000, 0.6065, 0.1353])
    """
    squared = distances(grams)
    n = squared.shape[-1]
    if n < 2:
        raise ValueError(f"grams are of {n} examples: the median distance needs two different ones at least")
    rows, columns = torch.triu_indices(n, n, 1, device=grams.device)
    median = squared[..., rows, columns].median(-1).values[..., None, None]
    # With a median of zero most examples coincide: the kernel's limit is 1 where they do and 0 elsewhere.
    none = median == 0
    kernel = (-squared / (2 * bandwidth**2 * median.masked_fill(none, 1))).exp()
    return torch.where(none, (squared == 0).to(squared.dtype), kernel)


def center(grams: Tensor, *, debiased: bool = True) -> Tensor:
    """Centred Gram matrices, K̃ (`debiased`) or HKH, whose rows sum to zero.

    Parameters
    ----------
    grams
        Shape (..., n, n), symmetric; n ≥ 4 when `debiased`, else n ≥ 2.
    debiased
        Which of the two centrings.

    Returns
    -------
    Tensor
        Shape (..., n, n), same dtype; the input is left alone.

    Examples
    --------
    >>> centred = center(gram(torch.randn(6, 3, generator=torch.Generator().manual_seed(0))), debiased=True)
    >>> bool((centred.sum(0).abs() < 1e-5).all() and (centred.diagonal() == 0).all())
    True
    """
    n = grams.shape[-1]
    if n < minimum(debiased):
        raise ValueError(
            f"HSIC from {n} examples is undefined: the {'unbiased' if debiased else 'biased'} estimator needs at least "
            f"{minimum(debiased)} in every batch"
        )
    if not debiased:
        rows = grams.mean(-1, keepdim=True)
        return grams - rows - rows.mT + rows.mean(-2, keepdim=True)
    centred = grams.clone()
    diagonal = centred.diagonal(dim1=-2, dim2=-1)
    diagonal.zero_()
    rows = centred.sum(-1, keepdim=True) / (n - 2)
    rows -= rows.sum(-2, keepdim=True) / (2 * (n - 1))
    centred -= rows
    centred -= rows.mT
    diagonal.zero_()
    return centred


def _pairs(n: int, debiased: bool) -> int:
    return n * (n - 3) if debiased else (n - 1) ** 2


def hsic(centred_a: Tensor, centred_b: Tensor, *, debiased: bool = True) -> Tensor:
    """HSIC of every pair of layers.

    Parameters
    ----------
    centred_a, centred_b
        What `center` returned for the layers of either network, shapes (La, n, n) and (Lb, n, n).
    debiased
        As given to `center`.

    Returns
    -------
    Tensor
        Shape (La, Lb).

    Examples
    --------
    >>> make = torch.Generator().manual_seed(0)
    >>> layer = center(gram(torch.randn(8, 3, generator=make))[None])
    >>> torch.allclose(hsic(layer, layer)[0, 0], self_hsic(layer)[0])
    True
    """
    return centred_a.flatten(1) @ centred_b.flatten(1).mT / _pairs(centred_a.shape[-1], debiased)


def self_hsic(centred: Tensor, *, debiased: bool = True) -> Tensor:
    """HSIC of each layer with itself, shape (L, n, n) → (L,)."""
    return centred.square().sum((-2, -1)) / _pairs(centred.shape[-1], debiased)


def leave_one_out(centred_a: Tensor, centred_b: Tensor, *, debiased: bool = True, paired: bool = False) -> Tensor:
    """HSIC of every pair of layers with each example left out in turn, in closed form.

    With T = Σ_i t_i, n' = n − 1 and d_i = (HKH)_ii (HLH)_ii,

        HSIC₁ without i = (T − 2 t_i (n−2)/(n−3)) / ((n−1)(n−4))
        HSIC₀ without i = (T − 2 t_i n/n' + d_i (n/n')²) / (n−2)²

    For an RBF kernel the bandwidth stays the one of all n examples.

    Parameters
    ----------
    centred_a, centred_b
        Shapes (La, n, n) and (Lb, n, n); n ≥ 5 when `debiased`, else n ≥ 3.
    debiased
        As given to `center`.
    paired
        Compare layer l of a with layer l of b only.

    Returns
    -------
    Tensor
        Shape (La, Lb, n), or (L, n) when `paired`.
    """
    n = centred_a.shape[-1]
    if n <= minimum(debiased):
        raise ValueError(f"leaving one of {n} examples out leaves fewer than the {minimum(debiased)} that HSIC needs")
    if paired:
        rows = (centred_a * centred_b).sum(-1)
    else:  # one small product per example: (n, La, n) @ (n, n, Lb)
        rows = (centred_a.transpose(0, 1) @ centred_b.permute(1, 2, 0)).permute(1, 2, 0)
    total = rows.sum(-1, keepdim=True)
    if debiased:
        return (total - 2 * (n - 2) / (n - 3) * rows) / ((n - 1) * (n - 4))
    diagonal_a, diagonal_b = (each.diagonal(dim1=-2, dim2=-1) for each in (centred_a, centred_b))
    diagonal = diagonal_a * diagonal_b if paired else diagonal_a[:, None] * diagonal_b[None]
    grown = n / (n - 1)
    return (total - 2 * grown * rows + grown**2 * diagonal) / (n - 2) ** 2
