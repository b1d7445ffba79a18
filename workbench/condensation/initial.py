"""What the synthetic images start from: noise, real images, class means, or the images nearest to cluster centres."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from workbench.condensation.run import Run
from workbench.condensation.synthetic import Synthetic

STARTS = ("real", "noise", "mean", "kmeans")


def start(run: Run, ipc: int, kind: str = "real", **options: Any) -> Synthetic:
    """A synthetic set of `ipc` images per class.

    Parameters
    ----------
    run
        The run.
    ipc
        Images per class.
    kind
        ``"real"``: random images of the class; ``"noise"``: standard normal pixels; ``"mean"``: the class mean (with a
        little noise where there are several, or they would stay alike); ``"kmeans"``: the real image nearest to each of
        `ipc` cluster centres of the class's pixels.
    options
        For `Synthetic`.
    """
    if kind not in STARTS:
        raise ValueError(f"initial is {kind!r}; it can be {', '.join(STARTS)}")
    generator = run.generator("initial", 0)
    labels = torch.arange(run.classes, device=run.device).repeat_interleave(ipc)
    if kind in ("real", "kmeans"):
        rows = run.draw(ipc, generator) if kind == "real" else representatives(run, ipc)
        pixels, source = run.split.inputs[rows.flatten()], run.split.index[rows.flatten().cpu()]
    else:
        noise = torch.randn((len(labels), *run.shape), generator=generator).to(run.split.inputs)
        means = torch.stack([run.split.inputs[rows].mean(0) for rows in run.rows])
        pixels = noise if kind == "noise" else means[labels] + (0.05 * noise if ipc > 1 else 0.0)
        source = torch.full((len(labels),), -1)
    return Synthetic(pixels, labels, run.classes, source=source, **options)


def representatives(run: Run, per_class: int, features: Sequence[Tensor] | None = None) -> Tensor:
    """Rows of the real example nearest to each of `per_class` k-means centres of its class: (classes, per_class).

    Parameters
    ----------
    features
        For each class, features of its examples, (examples, d), to cluster instead of pixels.
    """
    from sklearn.cluster import KMeans  # noqa: PLC0415 - scikit-learn takes a moment to load

    chosen = []
    for c, rows in enumerate(run.rows):
        x = (run.split.inputs[rows] if features is None else features[c]).flatten(1).double().cpu()
        clusters = min(per_class, len(rows))
        seed = int(torch.randint(2**31, (), generator=run.generator("kmeans")))
        centres = KMeans(clusters, n_init=1, random_state=seed).fit(x.numpy()).cluster_centers_
        nearest = torch.cdist(torch.from_numpy(centres), x).argmin(1).to(rows.device)
        chosen.append(rows[nearest.repeat(-(-per_class // clusters))[:per_class]])
    return torch.stack(chosen)
