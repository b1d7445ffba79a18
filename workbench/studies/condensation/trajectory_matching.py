"""What studies of trajectory matching share: their scale, the papers' settings by size, how a set is judged."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from workbench.condensation import MTT, Experts, Siamese, Trajectories, evaluate
from workbench.data import Dataset, whitened
from workbench.records import DistilledSet
from workbench.studies.kit.distilling import at_most

PUBLISHED: dict[int, dict[str, Any]] = {
    1: {"steps": 50, "span": 2, "latest": 2, "lr_images": 100.0, "step_size": 0.01, "lr_step": 1e-3},
    10: {"steps": 30, "span": 2, "latest": 20, "lr_images": 100.0, "step_size": 0.001, "lr_step": 10.0},
    50: {"steps": 30, "span": 2, "latest": 40, "lr_images": 1000.0, "step_size": 0.01, "lr_step": 0.1},
}
"""By images per class, for CIFAR-10: Table 7 of paper 028, whose authors ran paper 019 by it too. The rate of the step
size is there for α and here for log α: divided by α², which at the start of a run is the same step.
"""


COST = (
    "By steps measured on one core of a CPU, extrapolated: experts 1.0 s per batch, so 280 hours for a hundred; images "
    "5.7 s per iteration at one image per class and 59 s at ten, so 8 and 82 hours a set. Meant for a GPU."
)
"""Of the published settings, 32×32 images in colour; see `published`."""


@dataclass(frozen=True)
class Scale:
    """What a budget buys.

    Attributes
    ----------
    experts
        What is matched.
    method
        Arguments of `MTT`.
    by_size
        Further ones, by images per class.
    sizes
        Images per class.
    examples
        Training examples, at most; None: all.
    other
        A second architecture that learns from the sets.
    evaluations, epochs, augment, options
        How many networks learn from a set, for how many passes, under what augmentation, and how they are built.
    whitened
        Images in colour are ZCA-whitened first, for experts, sets and tests alike.
    learned_rate
        They are trained at the step size that was learned with the set, instead of at 0.01.
    """

    experts: Experts
    method: Mapping[str, Any]
    sizes: tuple[int, ...]
    by_size: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    examples: int | None = None
    other: str = "convnet"
    evaluations: int = 3
    epochs: int = 300
    augment: Any = None
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    learned_rate: bool = False
    whitened: bool = False

    def matching(self, ipc: int, experts: Trajectories, method: type[MTT] = MTT, **changes: Any) -> MTT:
        """Trajectory matching at one size."""
        return method(ipc=ipc, experts=experts, **{**self.method, **self.by_size.get(ipc, {}), **changes})

    def prepared(self, data: Dataset) -> Dataset:
        """The data that the scale wants: at most so many examples, whitened."""
        data = at_most(data, self.examples)
        return whitened(data) if self.whitened and data.shape[0] == 3 else data

    @property
    def settings(self) -> dict[str, Any]:
        """For a result, as plain values."""
        return {
            "experts": self.experts.settings,
            **{name: value for name, value in self.method.items() if name != "augment"},
            **(
                {"by images per class": {str(n): dict(each) for n, each in self.by_size.items()}}
                if self.by_size
                else {}
            ),
        }


def published(**changes: Any) -> Scale:
    """The papers' setting: ConvNet-3 of width 128, 100 experts for 50 epochs, 5,000 iterations, 5 networks trained for
    1,000 epochs, augmentation throughout.
    """
    settings: dict[str, Any] = {
        "experts": Experts(count=100, epochs=50, augment=Siamese(), together=10),
        "method": {"iterations": 5000, "augment": Siamese()},
        "by_size": PUBLISHED,
        "sizes": (1, 10, 50),
        "other": "resnet20",
        "evaluations": 5,
        "epochs": 1000,
        "augment": Siamese(),
        "learned_rate": True,
        "whitened": True,
    }
    return Scale(**{**settings, **changes})


def judged(one: DistilledSet, data: Dataset, scale: Scale, seed: int, device: str) -> dict[str, float]:
    """Mean test accuracy of networks trained on the set, of the experts' architecture and of another; its loss."""
    score = evaluate(
        one,
        data,
        (scale.experts.network, scale.other),
        seeds=[1000 * (seed + 1) + k for k in range(scale.evaluations)],
        epochs=scale.epochs,
        augment=scale.augment,
        step_size=scale.learned_rate and one.step_size is not None,
        options=scale.options,
        references=False,
        points=1,
        device=device,
        progress=False,
    )
    found = {"accuracy": score.mean(0), "other network": score.mean(1)}
    if len(one.loss):
        part = max(1, len(one.loss) // 10)
        first, last = one.loss[:part].mean().item(), one.loss[-part:].mean().item()
        found |= {"last loss": last, "fall of the loss": first - last, "step size": float(one.step_size or 0.0)}
    return found
