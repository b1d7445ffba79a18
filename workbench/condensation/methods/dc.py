"""Gradient matching: training on the synthetic images should change a network as training on real ones does.

    L = Σ_c D(∇_θ ℓ(S_c, θ), ∇_θ ℓ(T_c, θ)),   class by class, along θ_0, θ_1, … of a network learning from S.

Zhao, Mopuri & Bilen, “Dataset Condensation with Gradient Matching” (DC), ICLR 2021, Eq. 9 and Algorithm 1; with
``augment=Siamese()`` it is “… with Differentiable Siamese Augmentation” (DSA), ICML 2021. D compares the gradients of
each layer; the classic one is Σ over its output units of 1 − cos.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from workbench.condensation.making import inner
from workbench.condensation.making.batches import Batches, RandomBatches, RealBatch
from workbench.condensation.making.checks import check
from workbench.condensation.making.initial import start
from workbench.condensation.making.inner import InnerTraining
from workbench.condensation.making.networks import NetworkPool, embedding, pool
from workbench.condensation.making.run import CondensationRun
from workbench.condensation.making.synthetic import Synthetic
from workbench.condensation.methods.dsa import Siamese

Gradients = dict[str, Tensor]
"""Parameter name → gradient of each class's loss, shape (classes, *shape of the parameter)."""


@dataclass(frozen=True, kw_only=True)
class GradientMatching:
    """Match the gradient of each class (DC; with an augmentation DSA).

    An iteration is one match: one step on the images, then the network learns on.

    Attributes
    ----------
    ipc
        Images per class.
    iterations
        Matches in all; the papers use 1000 networks times `matches`.
    matches
        How often a network is matched in before the next, fresh one (T of Algorithm 1, ``outer_loop`` of the public
        code: 1 at one image per class, 10 at ten, 50 at fifty).
    training
        What the network does between two matches (ζ_θ, ``inner_loop``).
    real_batch, batches
        Real images per class and match, and how they are chosen.
    distance
        D: ``"cosine"``, ``"squared"`` or ``"absolute"``; see `DISTANCES`.
    head
        Whether the last layer's gradient counts. Biases and the scales of norms never do, as in the public code.
    lr, momentum
        Of SGD on the pixels.
    clamp
        Keep pixels within the range of images, raw 0..1.
    initial, factor
        What the images start from, and as `factor` × `factor` tiles each; see
        `workbench.condensation.making.initial.start`. k-means clusters the features of the first network.
    augment
        The augmentation that both sides share (DSA), and that the network is trained with; None: none. For digits and
        letters without ``flip``.
    network, options
        An architecture that `workbench.models.build` knows, and its options; or a pool of networks.

    Examples
    --------
    >>> import workbench as wb
    >>> data = wb.data.load("digits")
    >>> method = GradientMatching(ipc=1, matches=2, real_batch=16, network="mlp", options={"width": 16})
    >>> wb.condensation.condense(data, method, iterations=4, progress=False).summary()
    'DC: 10 images 1×8×8 of 10 classes, hard labels, ... 4 iterations, ...'
    """

    ipc: int = 10
    iterations: int = 10_000
    matches: int = 10
    training: InnerTraining = field(default_factory=InnerTraining)
    real_batch: int = 256
    batches: Batches = field(default_factory=RandomBatches)
    distance: str = "cosine"
    head: bool = True
    lr: float = 0.1
    momentum: float = 0.5
    clamp: bool = False
    initial: str = "real"
    factor: int = 1
    augment: Siamese | None = None
    network: str | NetworkPool = "convnet"
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check(
            self,
            whole={"ipc": 1, "iterations": 0, "matches": 1, "real_batch": 1, "factor": 1},
            positive=["lr"],
            least=["momentum"],
        )
        if self.distance not in DISTANCES:
            raise ValueError(f"distance is {self.distance!r}; it can be {', '.join(DISTANCES)}")

    @property
    def networks(self) -> NetworkPool:
        """Where networks come from."""
        return pool(self.network, self.options)

    @property
    def short(self) -> str:
        return "DC" if self.augment is None else "DSA"

    @property
    def name(self) -> str:
        return self.short

    def start(self, run: CondensationRun) -> Synthetic:
        features = embedding(self.networks.draw(run)) if self.initial == "kmeans" else None
        clamp = run.pixel_range if self.clamp else None
        return start(run, self.ipc, self.initial, tiles=self.factor, features=features, clamp=clamp)

    def optimizers(self, synthetic: Synthetic) -> list[torch.optim.Optimizer]:
        return [torch.optim.SGD([synthetic.pixels], self.lr, momentum=self.momentum)]

    def losses(self, run: CondensationRun, synthetic: Synthetic) -> Iterator[Tensor]:
        position = run.iteration % self.matches
        network = inner.current(run, self.networks, position)
        inner.fix_statistics(run, network)
        batch = self.batches.draw(run, self.real_batch, embedding(network), position)
        real, images = run.split.inputs[batch.rows], synthetic.by_class(run.generator("view"))
        if self.augment is not None:
            change = self.augment.by_class(run.classes, run.generator("augment"))
            real, images = change(real), change(images)
        names = matched(network, head=self.head)
        target = real_gradients(network, names, real, batch)
        yield DISTANCES[self.distance](class_gradients(network, names, images), target).sum()
        if position + 1 < self.matches:
            inner.advance(run, network, synthetic, self.training, self.augment)
        else:
            run.memory.pop("network", None)


def matched(network: nn.Module, *, head: bool = True) -> list[str]:
    """Names of the parameters whose gradients are compared: weights of layers, not biases or scales of norms.

    Raises
    ------
    ValueError
        None is left.
    """
    weights = [name for name, value in network.named_parameters() if value.ndim > 1]
    chosen = weights if head else weights[:-1]
    if not chosen:
        raise ValueError(f"{type(network).__name__} has no layer to match before its last: take head=True")
    return chosen


def class_gradients(network: nn.Module, names: list[str], images: Tensor, weights: Tensor | None = None) -> Gradients:
    """∇_θ of the mean cross-entropy of each class, differentiable with respect to the images; all classes at once.

    Parameters
    ----------
    network
        The network at θ.
    names
        Which parameters.
    images
        Shape (classes, m, c, h, w).
    weights
        What each image counts in its class, shape (classes, m); None: all alike.
    """
    classes, m = images.shape[:2]
    even = images.new_full((classes, m), 1 / m)
    each = vmap(grad(_loss(network)), in_dims=(None, 0, 0, 0), randomness="different")
    labels = torch.arange(classes, device=images.device)
    found: Gradients = each(_values(network, names), images, labels, even if weights is None else weights)
    return found


def real_gradients(network: nn.Module, names: list[str], images: Tensor, batch: RealBatch) -> Gradients:
    """The same for a batch of real images (classes, m, c, h, w), as constants.

    Class after class where there are convolutions: ``vmap`` makes grouped ones of their gradients, which on a CPU cost
    more than joining such large batches saves.
    """
    if not any(isinstance(module, nn.Conv2d) for module in network.modules()):
        with torch.no_grad():
            return class_gradients(network, names, images, batch.weights)
    gradient, values = grad(_loss(network)), _values(network, names)
    each = []
    for c, weights in enumerate(batch.weights):
        kept = weights > 0
        label = torch.tensor(c, device=images.device)
        each.append(gradient(values, images[c][kept].detach(), label, weights[kept]))
    return {name: torch.stack([one[name] for one in each]).detach() for name in names}


def cosine_distance(synthetic: Gradients, real: Gradients) -> Tensor:
    """Σ over output units of 1 − cos between the gradients of a unit's incoming weights, shape (classes,) (DC, Eq. 10).

    In 0..2 per unit, and next to blind to the length of either gradient: as in the public code 1e-6 is added to the
    product of the lengths, which counts where gradients are short, as those of a trained network are. A unit without
    gradient counts 1.
    """

    def of(s: Tensor, t: Tensor) -> Tensor:
        s, t = s.flatten(2), t.flatten(2)
        lengths = torch.linalg.vector_norm(s, dim=2) * torch.linalg.vector_norm(t, dim=2)
        return (1 - (s * t).sum(2) / (lengths + 1e-6)).sum(1)

    return _over_layers(of, synthetic, real)


def squared_distance(synthetic: Gradients, real: Gradients) -> Tensor:
    """Σ of squared differences, shape (classes,) (IDC and DREAM on CIFAR)."""
    return _over_layers(lambda s, t: (s - t).square().flatten(1).sum(1), synthetic, real)


def absolute_distance(synthetic: Gradients, real: Gradients) -> Tensor:
    """Σ of absolute differences, shape (classes,) (IDC and DREAM on MNIST)."""
    return _over_layers(lambda s, t: (s - t).abs().flatten(1).sum(1), synthetic, real)


DISTANCES: dict[str, Callable[[Gradients, Gradients], Tensor]] = {
    "cosine": cosine_distance,
    "squared": squared_distance,
    "absolute": absolute_distance,
}


def _over_layers(of: Callable[[Tensor, Tensor], Tensor], synthetic: Gradients, real: Gradients) -> Tensor:
    return torch.stack([of(value, real[name]) for name, value in synthetic.items()]).sum(0)


def _values(network: nn.Module, names: list[str]) -> dict[str, Tensor]:
    return {name: network.get_parameter(name).detach() for name in names}


def _loss(network: nn.Module) -> Callable[[dict[str, Tensor], Tensor, Tensor, Tensor], Tensor]:
    """Weighted cross-entropy of images of one class as a function of some of the weights."""

    def loss(values: dict[str, Tensor], images: Tensor, label: Tensor, weights: Tensor) -> Tensor:
        logits = functional_call(network, values, (images,))
        return (F.cross_entropy(logits, label.expand(len(images)), reduction="none") * weights).sum()

    return loss
