"""A teacher for images without training: the kernel density of a data set, whose optimal denoiser is known exactly.

    p₀ = (1/m) Σ_i N(y_i, h² I)   ⇒   x̂₀ = Σ_i r_i [y_i + (α h²/v)(x − α y_i)],   v = α² h² + σ²,
    r_i ∝ exp(−‖x − α y_i‖² / 2v).

It is a `GaussianMixture` with a component per image, class-conditional by the images' labels. Without bandwidth it is
the best denoiser of a finite data set, whose samples are the data; a bandwidth makes it smooth. Only points × images
responsibilities exist, in blocks (`workbench.kernels.mixture`): never points × images × pixels.
"""

import torch
from torch import Tensor

from workbench.data import Dataset, Split
from workbench.diffusion.sampling.schedules import RectifiedFlow, Schedule
from workbench.diffusion.teachers.mixture import GaussianMixture


def signed(split: Split) -> Tensor:
    """Images from −1 (black) to 1 (white), the scale of diffusion models, shape (n, channels, height, width).

    `picture_scale` is the way back.
    """
    if len(split.shape) != 3:
        raise ValueError(f"inputs of shape {split.shape} are no images; (channels, height, width) is needed")
    return (split.inputs * split.std + split.mean) * 2 - 1


def picture_scale(channels: int = 1) -> tuple[Tensor, Tensor]:
    """`mean` and `std` of a record of `signed` images: ``raw = x * std + mean``; each (channels, 1, 1)."""
    half = torch.full((channels, 1, 1), 0.5)
    return half, half.clone()


def kernel_density(
    data: Dataset | Split,
    *,
    bandwidth: float = 0.1,
    conditional: bool = True,
    schedule: Schedule | None = None,
    dtype: torch.dtype = torch.float32,
) -> GaussianMixture:
    """The exact diffusion model of the kernel density of images.

    Parameters
    ----------
    data
        Images; of a data set, those to train on. They are taken as `signed`.
    bandwidth
        h as a share of the range from black to white, ≥ 0.
    conditional
        Whether classes can be asked for.
    schedule
        Whose states it is asked about; default: rectified flow.
    dtype
        Of its numbers.

    Raises
    ------
    ValueError
        The data are no images, there are none, or the bandwidth is negative.

    Examples
    --------
    >>> from workbench.data import load
    >>> from workbench.diffusion import sample
    >>> teacher = kernel_density(load("digits"))
    >>> noise = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> threes = sample(teacher, noise, steps=10, condition=torch.full((4,), 3))
    >>> threes.shape
    torch.Size([4, 1, 8, 8])
    """
    split = data.train if isinstance(data, Dataset) else data
    if not len(split):
        raise ValueError("data is empty: a density needs at least one image")
    if not bandwidth >= 0:
        raise ValueError(f"bandwidth is {bandwidth}; it is a share of the range from black to white, at least 0")
    images = signed(split).to(dtype).flatten(1)
    m = len(images)
    variance = torch.tensor((2 * bandwidth) ** 2, dtype=dtype, device=images.device)
    return GaussianMixture(
        images,
        variance.expand(images.shape),
        torch.full((m,), 1 / m, dtype=dtype, device=images.device),
        labels=split.labels if conditional and split.classes else None,
        schedule=schedule or RectifiedFlow(),
        shape=split.shape,
    )
