"""A classifier that looks at generated images: its features for Fréchet distances, its answers for quality and variety.

The Fréchet distance of the literature (FID) uses a network trained on photographs; here it is one trained on the very
data, in seconds, so that distances are only comparable between results of the same judge.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from workbench import models, training
from workbench.data import Dataset
from workbench.diffusion.judging.metrics import Measure, Measured, diversity, frechet, share_of
from workbench.diffusion.teachers.kde import signed
from workbench.models import observe


class Judge:
    """A classifier of a data set that takes images as diffusion models make them, from −1 to 1.

    Attributes
    ----------
    network
        In eval mode; takes images normalised as the data set's.
    data
        What it was trained on.
    layer
        Whose outputs are the features.
    """

    def __init__(self, network: nn.Module, data: Dataset, layer: str = "flatten", batch: int = 1_024) -> None:
        self.network = network.eval().requires_grad_(False)
        self.data = data
        self.layer = layer
        self.batch = batch

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """What it sees, (n, d)."""
        look = observe(self.network, self.layer)
        return torch.cat([look(part).features[self.layer].flatten(1) for part in self._parts(images)])

    @torch.no_grad()
    def probabilities(self, images: Tensor) -> Tensor:
        """What it says, (n, C)."""
        return torch.cat([self.network(part).softmax(1) for part in self._parts(images)])

    def _parts(self, images: Tensor) -> Sequence[Tensor]:
        train = self.data.train
        if tuple(images.shape[1:]) != train.shape:
            raise ValueError(f"images have shape {tuple(images.shape)}; the judge takes (n, {train.shape})")
        raw = images.to(train.mean) / 2 + 0.5
        return ((raw - train.mean) / train.std).split(self.batch)

    def measures(self) -> dict[str, Measure]:
        """What `hand_over` can measure of images.

        `frechet` to the test images in its features; `quality`, the share classified as asked, or, where nothing was
        asked for, with more than 90 % certainty; `entropy` of the classes it sees, over that of evenly filled ones;
        `diversity` in its features.
        """
        real = self.features(signed(self.data.test))

        def quality(images: Tensor, condition: Tensor | None) -> Measured:
            told = self.probabilities(images)
            asked = torch.full((len(images),), -1) if condition is None else condition.to(told.device)
            return share_of(torch.where(asked < 0, told.amax(1) > 0.9, told.argmax(1) == asked))

        return {
            "frechet": lambda images, _: frechet(self.features(images), real),
            "quality": quality,
            "entropy": lambda images, _: _evenness(self.probabilities(images).argmax(1), len(self.data.classes)),
            "diversity": lambda images, condition: diversity(self.features(images), condition),
        }


def judge(data: Dataset, *, epochs: int = 20, seed: int = 0, device: str = "auto") -> Judge:
    """Train a judge: a small ConvNet.

    Examples
    --------
    >>> from workbench.data import load
    >>> digits = load("digits")
    >>> looked = judge(digits, epochs=1)
    >>> looked.features(signed(digits.test.take([0, 1]))).shape
    torch.Size([2, 128])
    """
    network = models.build("convnet", data, seed=seed, width=32, depth=2)
    record = training.fit(network, data, epochs=epochs, seed=seed, device=device, progress=False)
    return Judge(record.model, data)


def _evenness(labels: Tensor, classes: int) -> Measured:
    """Entropy of a histogram over log C, with its interval to first order."""
    p = torch.bincount(labels, minlength=classes).double() / len(labels)
    surprise = -p.log().where(p > 0, 0)
    value = float((p * surprise).sum())
    half = 1.96 * math.sqrt(max(float((p * surprise.square()).sum()) - value**2, 0.0) / len(labels))
    top = math.log(classes)
    return Measured(value / top, max(0.0, value - half) / top, min(top, value + half) / top)
