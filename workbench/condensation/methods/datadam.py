"""DataDAM: synthetic images should be looked at where real ones are, at every block of random networks.

    L = L_SAM + λ L_MMD,   L_SAM = Σ_l Σ_c ‖ mean_i a_l(x_ci) − mean_j a_l(s_cj) ‖²,   a_l = z_l / ‖z_l‖,
    z_l = vec(Σ_channels |F_l|^p);   L_MMD = Σ_c ‖ mean_i e(x_ci) − mean_j e(s_cj) ‖²,

F_l the output of the l-th activation, e the input of the last layer, networks fresh at every iteration. Sajedi et al.,
“DataDAM: Efficient Dataset Distillation with Attention Matching”, ICCV 2023 (paper 040).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workbench.condensation.making.checks import check
from workbench.condensation.making.initial import start
from workbench.condensation.making.networks import NetworkPool, penultimate, pool
from workbench.condensation.making.run import CondensationRun
from workbench.condensation.making.synthetic import Synthetic
from workbench.condensation.methods.dsa import Siamese
from workbench.models import Outputs, observe


@dataclass(frozen=True, kw_only=True)
class DataDAM:
    """Match class means of spatial attention, and of the final features.

    Attributes
    ----------
    ipc
        Images per class.
    iterations
        Steps of the public code.
    real_batch
        Real images per class and step.
    power
        p: how much strong activations outweigh weak ones. The paper says 4; its released training script uses 1.
    layers
        Names of the layers whose attention is matched; None: every activation but the last, as the public code does.
    attention
        Weight of L_SAM; 0 leaves distribution matching (DM).
    task_balance
        λ.
    scale
        Factor of the whole loss (100 in the public code).
    lr, momentum
        Of SGD on the pixels; the authors take lr 10 from 100 images per class on.
    initial
        What the images start from; see `workbench.condensation.making.initial.start`.
    augment
        The augmentation that both sides share; None: none. The paper's ``Siamese()`` mirrors images, which digits and
        letters do not survive.
    network, options
        As for `DistributionMatching`.

    Examples
    --------
    >>> import workbench as wb
    >>> data = wb.data.load("digits")
    >>> method = DataDAM(ipc=1, real_batch=16, options={"width": 8})
    >>> tiny = wb.condensation.condense(data, method, iterations=2, progress=False)
    >>> sorted(tiny.curves)
    ['attention', 'features']
    """

    short: ClassVar[str] = "DataDAM"

    ipc: int = 10
    iterations: int = 20_000
    real_batch: int = 64
    power: float = 1.0
    layers: Sequence[str] | None = None
    attention: float = 1.0
    task_balance: float = 0.01
    scale: float = 100.0
    lr: float = 1.0
    momentum: float = 0.5
    initial: str = "real"
    augment: Siamese | None = None
    network: str | NetworkPool = "convnet"
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check(
            self,
            whole={"ipc": 1, "iterations": 0, "real_batch": 1},
            positive=["lr", "power", "scale"],
            least=["momentum", "attention", "task_balance"],
        )

    def start(self, run: CondensationRun) -> Synthetic:
        return start(run, self.ipc, self.initial)

    def optimizers(self, synthetic: Synthetic) -> list[torch.optim.Optimizer]:
        return [torch.optim.SGD([synthetic.pixels], self.lr, momentum=self.momentum)]

    def losses(self, run: CondensationRun, synthetic: Synthetic) -> Iterator[Tensor]:
        network = pool(self.network, self.options).draw(run)
        layers = attended(network) if self.layers is None else tuple(self.layers)
        embedding = penultimate(network)
        look = observe(network, (*layers, embedding))
        real, images = run.real(self.real_batch), synthetic.by_class(run.generator("view"))
        if self.augment is not None:
            change = self.augment.by_class(run.classes, run.generator("augment"))
            real, images = change(real), change(images)
        with torch.no_grad():
            target = look(real.flatten(0, 1))
        seen = look(images.flatten(0, 1))
        L_SAM = attention_loss(seen, target, layers, run.classes, self.power)
        L_MMD = feature_loss(seen, target, embedding, run.classes)
        run.log(attention=L_SAM.detach().sum(), features=L_MMD.detach().sum())
        yield self.scale * (self.attention * L_SAM + self.task_balance * L_MMD).sum()


def attention(maps: Tensor, power: float = 1.0) -> Tensor:
    """Where maps (n, c, h, w) are active: Σ_c |F_c|^p, flattened and of unit length, shape (n, h·w).

    Blind to a positive factor, to the order of the channels and to their signs.
    """
    return F.normalize(maps.abs().pow(power).sum(1).flatten(1), dim=1)


def attention_loss(
    synthetic: Outputs, real: Outputs, layers: Sequence[str], classes: int, power: float = 1.0
) -> Tensor:
    """Per class, the squared distance between mean attentions, summed over layers: shape (classes,).

    Parameters
    ----------
    synthetic, real
        What a network says about examples grouped by class, each class as often as any other.
    layers
        Keys of their features, maps of shape (n, c, h, w).
    classes
        Number of classes.
    power
        p.
    """
    parts = []
    for layer in layers:
        s, r = (
            attention(each.features[layer], power).unflatten(0, (classes, -1)).mean(1) for each in (synthetic, real)
        )
        parts.append((s - r).square().sum(1))
    return torch.stack(parts).sum(0)


def feature_loss(synthetic: Outputs, real: Outputs, layer: str, classes: int) -> Tensor:
    """Per class, the squared distance between mean features, that of DM: shape (classes,)."""
    s, r = (each.features[layer].flatten(1).unflatten(0, (classes, -1)).mean(1) for each in (synthetic, real))
    return (s - r).square().sum(1)


def attended(network: nn.Module) -> tuple[str, ...]:
    """The activations of a network by name, all but the last; of a network with one, that one.

    Raises
    ------
    ValueError
        It has none of ReLU, GELU, SiLU and tanh as a layer of its own.
    """
    found = [
        name for name, layer in network.named_modules() if isinstance(layer, nn.ReLU | nn.GELU | nn.SiLU | nn.Tanh)
    ]
    if not found:
        raise ValueError(f"{type(network).__name__} has no activation layers to look at: name some in layers=")
    return tuple(found[:-1] or found)
