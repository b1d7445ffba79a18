"""A pool as a search of the web would bring it: shifted pictures of what was asked for, among pictures of other things.

Rendered from any images at hand, so that a study knows which are which: the style shifts (contrast, an additive
background, blur, inversion, gains of the colours), and the junk is patches of photographs, noise, and halves that do
not belong together.
"""

import dataclasses
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from workbench.data.dataset import Dataset, Split
from workbench.data.sampling import DataError
from workbench.data.unlabelled import unlabelled


@dataclass(frozen=True, eq=False)
class WebPool:
    """A pool without labels, and what only a study may know of it.

    Attributes
    ----------
    split
        All labels are `UNLABELLED`.
    real
        Which examples show one of the classes, bool (n,).
    """

    split: Split
    real: Tensor


def web_pool(data: Dataset | Split, n: int, *, junk: float = 0.4, shift: float = 1.0, seed: int = 0) -> WebPool:
    """`n` examples rendered from those of `data`, a share `junk` of them junk, in random order.

    Parameters
    ----------
    data
        Images, or rows of a table (whose style is scale and offset of each feature, and whose junk is features of
        different rows put together).
    n
        How many; examples are drawn with replacement.
    junk
        Share in 0..1.
    shift
        Strength of the style shift in 0..1; 0 leaves the real ones as they are.
    seed
        Of the draws.

    Examples
    --------
    >>> import workbench as wb
    >>> pool = web_pool(wb.data.load("digits"), 50, junk=0.4)
    >>> len(pool.split), int(pool.real.sum()), bool(pool.split.labelled.any())
    (50, 30, False)
    """
    split = data.train if isinstance(data, Dataset) else data
    for name, value in (("junk", junk), ("shift", shift)):
        if not 0 <= value <= 1:
            raise DataError(f"{name}={value} must lie in 0..1")
    if n < 1 or split.whitening is not None:
        raise DataError(f"n={n} must be at least 1, and the examples must not be whitened")
    draws = torch.Generator().manual_seed(seed)
    others = round(junk * n)
    rows = torch.randint(len(split), (n - others,), generator=draws)
    raw = (split.inputs * split.std + split.mean).cpu()
    images = raw.ndim == 4
    shown = styled(raw[rows], shift, draws) if images else _rescaled(raw[rows], shift, draws)
    filled = _junk(raw, others, draws) if images else _mixed_rows(raw, others, draws)
    order = torch.randperm(n, generator=draws)
    inputs = ((torch.cat([shown, filled]) - split.mean.cpu()) / split.std.cpu())[order].to(split.device)
    real = (torch.arange(n) < n - others)[order]
    labels = torch.zeros(n, dtype=torch.int64, device=split.device)
    whole = dataclasses.replace(split, inputs=inputs, labels=labels, index=torch.arange(n))
    return WebPool(unlabelled(whole), real)


def styled(raw: Tensor, shift: float, draws: torch.Generator) -> Tensor:
    """Images (n, c, h, w) in 0..1 in another style each; with `shift` 0 as they are."""
    n, c, h, w = raw.shape

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, 1, 1, generator=draws)

    contrast = 1 - 0.6 * shift * uniform(n, 1)
    colour = 1 - 0.5 * shift * uniform(n, c) if c > 1 else 1.0
    coarse = torch.rand(n, c, 3, 3, generator=draws)
    background = F.interpolate(coarse, (h, w), mode="bilinear", align_corners=True)
    blurred = F.avg_pool2d(F.pad(raw, (1, 1, 1, 1), mode="replicate"), 3, 1)
    blur = (uniform(n, 1) < 0.4 * shift) * 0.6
    x = ((1 - blur) * raw + blur * blurred) * contrast * colour + 0.5 * shift * background * uniform(n, 1)
    inverted = uniform(n, 1) < 0.15 * shift
    return torch.where(inverted, 1 - x, x).clamp(0, 1)


def _junk(raw: Tensor, n: int, draws: torch.Generator) -> Tensor:
    """Patches of photographs, noise, and upper halves over upper halves, in turn."""
    _, c, h, w = raw.shape
    noise = torch.rand(n, c, h, w, generator=draws)
    a, b = (torch.randint(len(raw), (n,), generator=draws) for _ in range(2))
    halves = torch.cat([raw[a][:, :, : h - h // 2], raw[b][:, :, : h // 2]], 2)
    kinds = torch.arange(n) % 3
    made = torch.where((kinds == 0)[:, None, None, None], noise, halves)
    patches = (kinds == 2).nonzero()[:, 0]
    made[patches] = _patches(len(patches), c, h, w, draws)
    return made


def _patches(n: int, c: int, h: int, w: int, draws: torch.Generator) -> Tensor:
    from sklearn.datasets import load_sample_images  # noqa: PLC0415 - scikit-learn loads only when its data are asked for

    photographs = [
        torch.from_numpy(image.copy()).permute(2, 0, 1).float() / 255 for image in load_sample_images().images
    ]
    found = []
    for _ in range(n):
        picture = photographs[int(torch.randint(len(photographs), (), generator=draws))]
        zoom = 1 + int(torch.randint(3, (), generator=draws))
        tall, wide = min(zoom * h, picture.shape[1]), min(zoom * w, picture.shape[2])
        top = int(torch.randint(picture.shape[1] - tall + 1, (), generator=draws))
        left = int(torch.randint(picture.shape[2] - wide + 1, (), generator=draws))
        patch = F.adaptive_avg_pool2d(picture[:, top : top + tall, left : left + wide], (h, w))
        found.append(patch if c == 3 else patch.mean(0, keepdim=True).expand(c, h, w))
    return torch.stack(found) if found else torch.zeros(0, c, h, w)


def _rescaled(raw: Tensor, shift: float, draws: torch.Generator) -> Tensor:
    spread = raw.std(0, keepdim=True)
    scale = 1 + 0.3 * shift * torch.randn(1, raw.shape[1], generator=draws)
    return scale * raw + 0.3 * shift * spread * torch.randn(1, raw.shape[1], generator=draws)


def _mixed_rows(raw: Tensor, n: int, draws: torch.Generator) -> Tensor:
    rows = torch.randint(len(raw), (n, raw.shape[1]), generator=draws)
    return raw.gather(0, rows)
