"""Does a similarity hang on one example? CKA without each example in turn, in closed form."""

import time
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from workbench.analysis.batches import as_split, equal_batches
from workbench.analysis.hsic_sums import HSICSums, centered
from workbench.analysis.networks import sides
from workbench.data import Dataset, Split
from workbench.kernels import hsic as kernels
from workbench.records import DominantExamples, Provenance, TrainingRecord

__all__ = ["dominant_examples"]


def dominant_examples(
    a: nn.Module | TrainingRecord,
    b: nn.Module | TrainingRecord,
    data: Split | Dataset | Tensor,
    *,
    layers_a: str | Sequence[str] | None = None,
    layers_b: str | Sequence[str] | None = None,
    kernel: Literal["linear", "rbf"] = "linear",
    bandwidth: float = 1.0,
    debiased: bool = True,
    batch_size: int = 256,
    remove: int = 10,
    seed: int | None = 0,
    progress: bool = True,
) -> DominantExamples:
    """How much each example moves the CKA of each pair of layers.

    Examples with very large activations can carry most of a layer's Gram matrix, and with it the block structure of a
    CKA map (Nguyen, Raghu & Kornblith 2022, "dominant datapoints"); moving a single one can move CKA at will (Davari
    et al. 2022). The influence of an example is exact: CKA with it minus CKA without it, its batch one shorter, from
    `workbench.kernels.hsic.leave_one_out` (for ``"rbf"`` at the bandwidth of the whole batch).

    Parameters
    ----------
    a, b, data, layers_a, layers_b, kernel, bandwidth, debiased, batch_size, seed, progress
        As for `workbench.analysis.cka`; records are taken at their final weights.
    remove
        K: CKA is also given without the 1, …, K examples of largest influence on the cell, removed together. Batches
        keep at least the examples that the estimator needs.

    Returns
    -------
    DominantExamples
        With n · La · Lb influences.

    Examples
    --------
    >>> import workbench as wb
    >>> data = wb.data.load("digits")
    >>> one, other = (wb.models.build("mlp", data, seed=seed) for seed in (0, 1))
    >>> found = wb.analysis.dominant_examples(one, other, data.test.subset(60))
    >>> bool(found.largest.max() < 0.2)
    True
    """
    started = time.perf_counter()
    if remove < 0:
        raise ValueError(f"remove={remove} must be 0 or more")
    split = as_split(data)
    first, second = sides(a, b, layers_a, layers_b, epochs=())
    least = kernels.minimum(debiased) + 1
    batches = equal_batches(len(split), batch_size, seed=seed, least=least, needs="leaving one example out of CKA")
    shape = (len(first.layers), len(second.layers))
    sums = HSICSums.empty(*shape, debiased=debiased)
    # HSIC of an example's batch without it, minus with it
    cross = torch.zeros(*shape, len(split), dtype=torch.float64)
    own_a, own_b = (torch.zeros(layers, len(split), dtype=torch.float64) for layers in shape)
    kept: list[tuple[Tensor, Tensor]] = []
    for rows in tqdm(batches, desc="influence", unit="batch", delay=1, disable=not progress):
        inputs = split.inputs[rows.to(split.device)]
        pair = []
        for side in (first, second):
            linear = torch.stack(side.run(inputs, kernels.gram)[0])
            grams = kernels.rbf(linear, bandwidth) if kernel == "rbf" else linear
            pair.append(centered(grams, debiased=debiased))
        sums.update_centered(*pair)
        x, y = (each.grams for each in pair)
        settings = {"debiased": debiased}
        cross[..., rows] = (kernels.leave_one_out(x, y, **settings) - kernels.hsic(x, y, **settings)[..., None]).cpu()
        for own, z in ((own_a, x), (own_b, y)):
            own[:, rows] = (
                kernels.leave_one_out(z, z, paired=True, **settings) - kernels.self_hsic(z, **settings)[:, None]
            ).cpu()
        kept.append((x.cpu(), y.cpu()) if remove else (x[:0], y[:0]))
    values = sums.result()
    without = (sums.cross[..., None] + cross) / (
        (sums.self_a[:, None] + own_a)[:, None] * (sums.self_b[:, None] + own_b)[None]
    ).sqrt()
    influence = values[..., None] - without
    return DominantExamples(
        layers_a=first.layers,
        layers_b=second.layers,
        values=values.float(),
        influence=influence.float(),
        removed=_removed(values, influence, batches, kept, remove, debiased).float(),
        n=len(split),
        provenance=Provenance.capture(seed=seed or 0, device=first.device, started=started),
    )


def _removed(
    values: Tensor,
    influence: Tensor,
    batches: Sequence[Tensor],
    kept: Sequence[tuple[Tensor, Tensor]],
    remove: int,
    debiased: bool,
) -> Tensor:
    """CKA of each cell without its k = 0 … `remove` most influential examples, shape (La, Lb, remove + 1)."""
    out = values[..., None].repeat(1, 1, remove + 1)
    for i, j in (~values.isnan()).nonzero().tolist():
        order = influence[i, j].abs().argsort(descending=True)
        for k in range(1, remove + 1):
            sums = HSICSums.empty(1, 1, debiased=debiased)
            for rows, (x, y) in zip(batches, kept, strict=True):
                stay = ~torch.isin(rows, order[:k])
                if int(stay.sum()) >= kernels.minimum(debiased):
                    # Centring what was centred before gives the same: it removes the same sums.
                    sums.update(x[i : i + 1, stay][:, :, stay], y[j : j + 1, stay][:, :, stay])
            out[i, j, k] = sums.result()[0, 0]
    return out
