"""Which pixels a network's decision hangs on: captum's methods behind one verb, with baselines and a seed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from workbench.models import observe
from workbench.records import Attribution

__all__ = ["attribute"]

METHODS = ("integrated_gradients", "saliency", "input_x_gradient", "occlusion", "gradient_shap")
BASELINES = ("mean", "black", "white", "noise")
WITHOUT_BASELINE = ("saliency", "input_x_gradient")
BATCH = 32  # images at once; Integrated Gradients makes `steps` copies of each

Forward = Callable[[Tensor], Tensor]


def attribute(
    network: nn.Module,
    images: Tensor,
    target: int | Tensor | None = None,
    method: str = "integrated_gradients",
    baseline: str | Tensor = "mean",
    *,
    mean: Tensor | float = 0.0,
    std: Tensor | float = 1.0,
    steps: int = 50,
    samples: int = 16,
    window: int | None = None,
    seed: int = 0,
    rows: Tensor | None = None,
) -> Attribution:
    """Share out a class's logit over the pixels of each image.

    Parameters
    ----------
    network
        Any classifier of images; run in eval mode, left as it was.
    images
        As the network takes them (normalised), shape (n, channels, height, width).
    target
        The class: one for all, or one each, shape (n,); None: the one the network predicts.
    method
        ``"integrated_gradients"`` (Sundararajan et al. 2017): the gradient averaged along the straight line from the
        baseline, times the difference; sums to the logit's difference up to `delta`.
        ``"saliency"`` (Simonyan et al. 2014): magnitude of the gradient.
        ``"input_x_gradient"``: the gradient times the image.
        ``"occlusion"`` (Zeiler & Fergus 2014): fall of the logit when a window is set to the baseline.
        ``"gradient_shap"`` (Lundberg & Lee 2017): as the first, at random points of the line.
    baseline
        What absence means: ``"mean"`` (the data's mean, 0 in normalised images), ``"black"``, ``"white"``, ``"noise"``
        (standard normal), or images, broadcastable to `images`. Saliency and Input × Gradient need none.
    mean, std
        What the images were normalised with, so that black and white are known.
    steps
        Points of Integrated Gradients (Gauss–Legendre).
    samples
        Random points of GradientShap per image.
    window
        Side of the occluded square, in pixels; by default a quarter of the image's shorter side. It moves by half.
    seed
        Of noise and random points; the global random state is neither read nor changed.
    rows
        Positions of the images in the set they come from, kept in the record; by default 0 … n−1.

    Raises
    ------
    ValueError
        An argument is out of range, or the network's output has no such class.

    Examples
    --------
    >>> import workbench as wb
    >>> data = wb.data.load("digits")
    >>> network = wb.models.build("mlp", data)
    >>> found = attribute(network, data.test.inputs[:3], baseline="black", mean=data.mean, std=data.std)
    >>> found.values.shape, bool(found.delta.abs().max() < 0.01)
    (torch.Size([3, 1, 8, 8]), True)
    """
    if method not in METHODS:
        raise ValueError(f"method is {method!r}; it can be {', '.join(METHODS)}")
    if images.ndim != 4 or not len(images):
        raise ValueError(f"images have shape {tuple(images.shape)}; (n, channels, height, width), n ≥ 1, is needed")
    if not bool(images.isfinite().all()):
        raise ValueError("images hold values that are not finite")
    for what, count in (("steps", steps), ("samples", samples), ("window", 1 if window is None else window)):
        if count < 1:
            raise ValueError(f"{what} is {count}; it must be at least 1")
    own = next(network.parameters(), None)
    x = images.detach() if own is None else images.detach().to(own)
    training = network.training
    network.eval()
    observer = observe(network)

    def forward(inputs: Tensor) -> Tensor:
        return observer(inputs).logits

    try:
        classes = _classes(forward, x, target)
        against, name = _baseline(baseline, x, mean, std, seed)
        side = min(x.shape[-2:])
        size = min(side, max(1, side // 4) if window is None else window)
        values, deltas = [], []
        with _seeded(seed, x.device):
            for some in torch.arange(len(x), device=x.device).split(BATCH):
                value, delta = _one(method, forward, x[some], against[some], classes[some], steps, samples, size)
                values.append(value.detach())
                deltas.append(delta)
    finally:
        network.train(training)
    settings = {
        "integrated_gradients": {"steps": steps},
        "gradient_shap": {"samples": samples},
        "occlusion": {"window": size},
    }
    return Attribution(
        method=method,
        target=classes.cpu(),
        baseline="" if method in WITHOUT_BASELINE else name,
        values=torch.cat(values).float().cpu(),
        delta=torch.cat([d for d in deltas if d is not None]).float().cpu() if deltas[0] is not None else None,
        rows=torch.arange(len(x)) if rows is None else torch.as_tensor(rows).long().cpu(),
        settings=settings.get(method, {}) | {"seed": seed},
    )


def _one(
    method: str, forward: Forward, x: Tensor, against: Tensor, target: Tensor, steps: int, samples: int, window: int
) -> tuple[Tensor, Tensor | None]:
    """Attributions (b, c, h, w) of one batch, and for Integrated Gradients how far their sum is off, (b,)."""
    import captum.attr  # noqa: PLC0415 - captum takes a second to load

    attr: Any = captum.attr  # its types do not survive its decorators
    x = x.clone().requires_grad_(method != "occlusion")
    match method:
        case "integrated_gradients":
            found = attr.IntegratedGradients(forward)
            values, delta = found.attribute(
                x, against, target, n_steps=steps, internal_batch_size=8 * BATCH, return_convergence_delta=True
            )
            return values, delta
        case "saliency":
            return attr.Saliency(forward).attribute(x, target), None
        case "input_x_gradient":
            return attr.InputXGradient(forward).attribute(x, target), None
        case "occlusion":
            shape, stride = (x.shape[1], window, window), max(1, window // 2)
            with torch.no_grad():
                occlusion = attr.Occlusion(forward)
                return occlusion.attribute(x, shape, (x.shape[1], stride, stride), against, target), None
    # One image at a time: GradientShap draws each image's baseline from all that it is given.
    shap = attr.GradientShap(forward)
    each = [
        shap.attribute(x[i : i + 1], against[i : i + 1], n_samples=samples, stdevs=0.0, target=target[i : i + 1])
        for i in range(len(x))
    ]
    return torch.cat(each), None


@torch.no_grad()
def _classes(forward: Forward, x: Tensor, target: int | Tensor | None) -> Tensor:
    """The class to attribute for each image, shape (n,)."""
    if target is None:
        return torch.cat([forward(some).argmax(1) for some in x.split(256)])
    outputs = forward(x[:1]).shape[1]
    classes = torch.as_tensor(target, device=x.device).long()
    if classes.ndim == 0:
        classes = classes.expand(len(x))
    if classes.shape != (len(x),):
        raise ValueError(f"target has shape {tuple(classes.shape)}; one class, or one for each of {len(x)} images")
    wrong = (classes < 0) | (classes >= outputs)
    if bool(wrong.any()):
        raise ValueError(f"target is {int(classes[wrong][0])}; the network has classes 0..{outputs - 1}")
    return classes


def _baseline(
    baseline: str | Tensor, x: Tensor, mean: Tensor | float, std: Tensor | float, seed: int
) -> tuple[Tensor, str]:
    """The baseline of each image, of the images' shape, and its name."""
    if isinstance(baseline, Tensor):
        try:
            return baseline.detach().to(x).expand(x.shape), "given"
        except RuntimeError:
            raise ValueError(
                f"baseline has shape {tuple(baseline.shape)}, which does not broadcast to {tuple(x.shape)}"
            ) from None
    mean, std = (torch.as_tensor(value).to(x) for value in (mean, std))
    match baseline:
        case "mean":
            return torch.zeros_like(x), baseline
        case "black":
            return (-mean / std).expand(x.shape), baseline
        case "white":
            return ((1 - mean) / std).expand(x.shape), baseline
        case "noise":
            drawn = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))
            return drawn.to(x), baseline
    raise ValueError(f"baseline is {baseline!r}; it can be {', '.join(BASELINES)}, or a tensor of images")


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """The global random states at `seed` inside, and as they were afterwards: captum draws from nothing else."""
    kept: Any = np.random.get_state()  # noqa: NPY002 - it is the global state that captum draws from
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            torch.cuda.manual_seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        try:
            yield
        finally:
            np.random.set_state(kept)  # noqa: NPY002
