"""What the synthetic images start from: noise, real images, class means, or the images nearest to cluster centres."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from workbench.condensation.making.batches import Features, representative
from workbench.condensation.making.run import CondensationRun
from workbench.condensation.making.synthetic import Synthetic, Tiles

STARTS = ("real", "noise", "mean", "kmeans")


def start(
    run: CondensationRun,
    ipc: int,
    kind: str = "real",
    *,
    tiles: int = 1,
    features: Features | None = None,
    **options: Any,
) -> Synthetic:
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
        `ipc` cluster centres of the class's pixels, or of its `features`.
    tiles
        q: each image holds q × q small ones, seen through `Tiles`; each starts from a real image, shrunk (“mix” in the
        code of IDC, DREAM and NCFM).
    features
        What k-means clusters instead of pixels.
    options
        For `Synthetic`.
    """
    if kind not in STARTS:
        raise ValueError(f"initial is {kind!r}; it can be {', '.join(STARTS)}")
    generator = run.generator("initial", 0)
    labels = torch.arange(run.classes, device=run.device).repeat_interleave(ipc)
    source = torch.full((len(labels),), -1)
    if kind in ("real", "kmeans"):
        count = ipc * tiles**2
        rows = run.draw(count, generator) if kind == "real" else _representatives(run, count, features)
        pixels = run.split.inputs[rows.flatten()]
        if tiles > 1:
            pixels = tiled(pixels, tiles)
        else:
            source = run.split.index[rows.flatten().cpu()]
    else:
        noise = torch.randn((len(labels), *run.shape), generator=generator).to(run.split.inputs)
        means = torch.stack([run.split.inputs[rows].mean(0) for rows in run.rows])
        pixels = noise if kind == "noise" else means[labels] + (0.05 * noise if ipc > 1 else 0.0)
    if tiles > 1:
        options = {**options, "views": (Tiles(tiles), *options.get("views", ()))}
    return Synthetic(pixels, labels, run.classes, source=source, **options)


def tiled(images: Tensor, q: int) -> Tensor:
    """Each q² images in turn, shrunk, as one q × q grid, the way `Tiles` reads it: (n·q², c, h, w) → (n, c, h, w)."""
    height, width = images.shape[-2:]
    small = F.adaptive_avg_pool2d(images, (-(-height // q), -(-width // q)))
    grid = small.unflatten(0, (-1, q, q)).permute(0, 3, 1, 4, 2, 5)  # (n, c, q, h, q, w)
    return grid.flatten(2, 3).flatten(3, 4)[..., :height, :width]


def _representatives(run: CondensationRun, count: int, features: Features | None) -> Tensor:
    return representative(run, count, features or (lambda images: images.flatten(1)), purpose="initial kmeans").rows
