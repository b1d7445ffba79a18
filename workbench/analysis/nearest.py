"""The nearest of many examples to each of some, exact, in little memory."""

import torch
from torch import Tensor

__all__ = ["nearest"]

SPARE = 8  # further candidates whose distances are computed again: a matrix product rounds


def nearest(queries: Tensor, among: Tensor, k: int = 1, *, batch_size: int = 4096) -> tuple[Tensor, Tensor]:
    """The `k` nearest of `among` to each query by Euclidean distance, nearest first.

    Candidates come from a matrix product per batch; the distances of the best are then computed anew in double
    precision, so that an example that is the query itself is at distance 0.

    Parameters
    ----------
    queries
        Shape (n, ...).
    among
        Shape (m, ...).
    k
        How many; at most m are returned.
    batch_size
        Rows of `among` compared at once.

    Returns
    -------
    tuple of Tensor
        Distances, float32, and rows of `among`, int64, each (n, min(k, m)).

    Raises
    ------
    ValueError
        Shapes differ, or `k` is below 1.

    Examples
    --------
    >>> distance, row = nearest(torch.tensor([[0.0], [5.0]]), torch.tensor([[4.0], [1.0], [0.0]]), k=2)
    >>> row.tolist(), distance.tolist()
    ([[2, 1], [0, 1]], [[0.0, 1.0], [1.0, 4.0]])
    """
    if queries.shape[1:] != among.shape[1:]:
        raise ValueError(f"queries have shape {tuple(queries.shape)} and among {tuple(among.shape)}: rows must agree")
    if k < 1:
        raise ValueError(f"k is {k}; it must be at least 1")
    q, a = queries.detach().flatten(1), among.detach().flatten(1)
    wanted = min(k + SPARE, len(a))
    best = torch.full((len(q), 0), torch.inf, dtype=q.dtype, device=q.device)
    rows = torch.zeros((len(q), 0), dtype=torch.int64, device=q.device)
    for first in range(0, len(a), batch_size):
        some = a[first : first + batch_size]
        numbers = torch.arange(first, first + len(some), device=q.device).expand(len(q), -1)
        found = torch.cat([best, torch.cdist(q, some)], 1)
        best, chosen = found.topk(min(wanted, found.shape[1]), largest=False)
        rows = torch.cat([rows, numbers], 1).gather(1, chosen)
    each = [(a[r].double() - x.double()).square().sum(1) for x, r in zip(q, rows, strict=True)]
    exact = torch.stack(each).sqrt() if each else best.double()
    distance, order = exact.sort(dim=1, stable=True)
    kept = min(k, len(a))
    return distance[:, :kept].float(), rows.gather(1, order)[:, :kept].contiguous()
