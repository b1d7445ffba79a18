"""Centred kernel alignment between all layers of two networks, streamed over minibatches."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from workbench.analysis.batches import as_split, equal_batches
from workbench.analysis.hsic_sums import Centered, HSICSums, centered
from workbench.analysis.maps import Gallery, similarity_map
from workbench.analysis.networks import Side, moments, sides
from workbench.data import Dataset, Split
from workbench.kernels import hsic as kernels
from workbench.records import Provenance, SimilarityMap, TrainingRecord

__all__ = ["cka"]


def cka(
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
    epochs: Sequence[int] | None = None,
    per_class: bool = False,
    interval: bool | int = False,
    examples: int = 200,
    seed: int | None = 0,
    progress: bool = True,
) -> SimilarityMap:
    """How alike the layers of two networks are: 1 for the same geometry of examples, 0 for unrelated ones.

    Minibatch CKA (Nguyen, Raghu & Kornblith 2021, Eq. 2–3) from running sums (`HSICSums`): each layer's output becomes
    its Gram matrix inside the forward pass, so memory does not grow with the number of examples. ``batch_size`` ≥ n is
    the exact CKA of all examples at once; ``debiased=False`` with it is the CKA of Kornblith et al. 2019.

    Unchanged by translation, rotation and isotropic scaling of the features; not by general linear maps.

    Parameters
    ----------
    a, b
        Networks, or training records. A record with snapshots is compared at each of their epochs; of two such records
        the same epochs are paired.
    data
        The examples: a split, the test split of a dataset, or inputs of shape (n, ...).
    layers_a, layers_b
        Layer names or globs (`workbench.models.layer_names`); None: `default_layers`. Outputs are flattened.
    kernel, bandwidth
        ``"linear"``, or ``"rbf"`` with σ = `bandwidth` × the layer's median distance within the batch.
    debiased
        Unbiased HSIC (≥ 4 examples per batch) instead of the biased one (≥ 2), which is too high where features are
        wider than the batch is long.
    batch_size
        Most examples per batch; batches are cut to equal sizes.
    epochs
        Which snapshots; None: all, ``()``: the final weights only.
    per_class
        Also within each class, from the class's members in every batch, batches weighted by their number of pairs.
    interval
        95 % jackknife interval over examples (`HSICSums.interval`), in closed form: a number is taken as True.
    examples
        How many examples, spread over the classes, the record keeps pictures and layer views of: at most one
        batch, the first, so that they cost no further pass. 0 keeps none.
    seed
        Of the shuffling into batches; None keeps the order of `data` (sorted data would give single-class batches).
    progress
        Show a bar when it takes longer than a second.

    Returns
    -------
    SimilarityMap
        A layer with constant, NaN or infinite features has NaN cells, and `masked` says why.

    Raises
    ------
    ValueError
        Fewer examples than the estimator needs; a setting out of range; no snapshot at an epoch.
    LayerNameError
        A layer pattern matches nothing; the message lists the nearest names.
    LayerOutputError
        A layer returns no tensor, or one whose first axis is not the examples.

    Examples
    --------
    >>> import workbench as wb
    >>> data = wb.data.load("digits")
    >>> wide, slim = (wb.models.build("mlp", data, width=width) for width in (64, 16))
    >>> similar = wb.analysis.cka(wide, slim, data.test)
    >>> similar.values.shape == (len(similar.layers_a), len(similar.layers_b))
    True
    >>> float(wb.analysis.cka(wide, wide, data.test).values.diagonal().min().round(decimals=6))
    1.0
    """
    started = time.perf_counter()
    if kernel not in ("linear", "rbf"):
        raise ValueError(f"kernel={kernel!r}; it can be 'linear' or 'rbf'")
    if bandwidth <= 0:
        raise ValueError(f"bandwidth={bandwidth} is a share of the median distance and must be positive")
    split = as_split(data)
    first, second = sides(a, b, layers_a, layers_b, epochs, inputs=split.inputs[:2])
    what = f"{'debiased' if debiased else 'biased'} CKA{' with an interval' if interval else ''}"
    least = kernels.minimum(debiased) + bool(interval)
    batches = equal_batches(len(split), batch_size, seed=seed, least=least, needs=what)
    _, pairs = moments(first, second)

    def empty() -> HSICSums:
        return HSICSums.empty(len(first.layers), len(second.layers), debiased=debiased, interval=bool(interval))

    sums = [empty() for _ in pairs]
    within = [[empty() for _ in split.classes] for _ in pairs] if per_class else []
    labels = split.labels.cpu()
    gallery = Gallery.of(first, second, split, batches[0], examples) if examples else None
    with tqdm(total=len(batches) * len(pairs), desc="cka", unit="batch", delay=1, disable=not progress) as bar:
        for number, rows in enumerate(batches):
            look = _Look(split.inputs[rows.to(split.device)], kernel, bandwidth, debiased)
            for e, (moment_a, moment_b) in enumerate(pairs):
                one, other = look(first, moment_a), look(second, moment_b)
                sums[e].update_centered(one.centered, other.centered)
                if gallery is not None and number == 0:
                    gallery.add(
                        e,
                        (gallery.cut(one.linear), gallery.cut(other.linear)),
                        (gallery.cut(one.grams), gallery.cut(other.grams)),
                    )
                if per_class:
                    _add_classes(within[e], one.grams, other.grams, labels[rows], least)
                bar.update()
    return similarity_map(
        first,
        second,
        split,
        values=[each.result() for each in sums],
        reasons=[(each.reasons_a, each.reasons_b) for each in sums],
        intervals=[each.interval() for each in sums] if interval else None,
        per_class=[[each.result() for each in classes] for classes in within] if per_class else None,
        gallery=gallery,
        measure="cka",
        options={
            "kernel": kernel,
            "debiased": debiased,
            "batch_size": batch_size,
            "batches": len(batches),
            "seed": seed,
        }
        | ({"bandwidth": bandwidth} if kernel == "rbf" else {}),
        provenance=Provenance.capture(seed=seed or 0, device=first.device, started=started),
    )


@dataclass(frozen=True)
class _Seen:
    """What one side makes of one batch: (L, n, n) Gram matrices, linear, of the kernel, and those centred."""

    linear: Tensor
    grams: Tensor
    centered: Centered


class _Look:
    """One batch seen by either side; whoever shows the same layers with the same weights again is not run again."""

    def __init__(self, inputs: Tensor, kernel: str, bandwidth: float, debiased: bool) -> None:
        self.inputs, self.kernel, self.bandwidth, self.debiased = inputs, kernel, bandwidth, debiased
        self._known: dict[tuple[int, tuple[str, ...], int], _Seen] = {}

    def __call__(self, side: Side, moment: int) -> _Seen:
        key = (side.source, side.layers, moment if side.states else -1)
        if key not in self._known:
            if side.states:  # a moment does not come back, except as the other side of the same pair
                self._known = {known: seen for known, seen in self._known.items() if known[2] in (-1, moment)}
            linear = torch.stack(side.run(self.inputs, kernels.gram, moment)[0])
            grams = kernels.rbf(linear, self.bandwidth) if self.kernel == "rbf" else linear
            self._known[key] = _Seen(linear, grams, centered(grams, debiased=self.debiased, linear=linear))
        return self._known[key]


def _add_classes(sums: list[HSICSums], grams_a: Tensor, grams_b: Tensor, labels: Tensor, least: int) -> None:
    for c, each in enumerate(sums):
        members = (labels == c).nonzero().flatten().to(grams_a.device)
        if len(members) >= least:
            few_a, few_b = (grams[:, members][:, :, members] for grams in (grams_a, grams_b.to(grams_a.device)))
            each.update(few_a, few_b, weight=len(members) * (len(members) - 1))
