"""The student of trajectory methods: the synthetic examples that each of its steps sees, and its loss on them."""

import torch
from torch import Tensor

from workbench.condensation.making.run import CondensationRun
from workbench.condensation.making.synthetic import Synthetic
from workbench.condensation.trajectories.flat import FlatNetwork
from workbench.condensation.trajectories.unroll import cross_entropy
from workbench.training.augment import Augmentation


class Student:
    """Loss of a student at step n as a function of (weights, n), for `Descent`; the same again when asked again.

    Parameters
    ----------
    run, synthetic
        The run of the present iteration and its images.
    network
        The student.
    batch
        Examples per step, from a fresh random order of the stored images at each pass; None: all of them. Where views
        multiply the images, a batch holds fewer stored ones.
    augment
        Augmentation of the examples, drawn anew for each step.
    """

    def __init__(
        self,
        run: CondensationRun,
        synthetic: Synthetic,
        network: FlatNetwork,
        *,
        batch: int | None = None,
        augment: Augmentation | None = None,
    ) -> None:
        self.run, self.synthetic, self.network, self.augment = run, synthetic, network, augment
        stored = len(synthetic.pixels)
        self.size = stored if batch is None else min(stored, max(1, batch // synthetic.copies))
        self.passes = -(-stored // self.size)

    def __call__(self, weights: Tensor, n: int) -> Tensor:
        images, labels = self.examples(n)
        return cross_entropy(self.network(weights, images), labels)

    def examples(self, n: int) -> tuple[Tensor, Tensor]:
        """Images and labels of step n, with gradients to the leaves."""
        images, labels = self.synthetic.examples(self.run.generator(f"student view {n}"), self.rows(n))
        if self.augment is not None:
            images = self.augment(images, self.run.generator(f"student augmentation {n}"))
        return images, labels

    def rows(self, n: int) -> Tensor | None:
        """The stored images that step n sees; None: all."""
        if self.passes == 1:
            return None
        sweep, part = divmod(n, self.passes)
        order = torch.randperm(len(self.synthetic.pixels), generator=self.run.generator(f"student order {sweep}"))
        return order[part * self.size : (part + 1) * self.size]
