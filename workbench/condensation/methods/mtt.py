"""Trajectory matching: a student trained on the images for N steps should land where an expert is M epochs later.

    L = ‖ θ_N − θ*_{t+M} ‖² / ‖ θ*_t − θ*_{t+M} ‖²,    θ_0 = θ*_t,    θ_{n+1} = θ_n − α ∇_θ ℓ(A(b_n); θ_n).

Cazenavette et al., “Dataset Distillation by Matching Training Trajectories”, CVPR 2022 (paper 019), Algorithm 1. The
step size α is learned along with the images.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from workbench.condensation.making.checks import check
from workbench.condensation.making.initial import start
from workbench.condensation.making.networks import embedding
from workbench.condensation.making.run import CondensationRun
from workbench.condensation.making.synthetic import Synthetic
from workbench.condensation.trajectories.experts import Experts
from workbench.condensation.trajectories.flat import FlatNetwork
from workbench.condensation.trajectories.student import Student
from workbench.condensation.trajectories.trajectories import Trajectories, TrajectoryError
from workbench.condensation.trajectories.unroll import Descent, trajectory_match, unroll
from workbench.training.augment import Augmentation


@dataclass(frozen=True, kw_only=True)
class MTT:
    """Match the trajectories of experts.

    Attributes
    ----------
    ipc
        Images per class.
    iterations
        Iterations of the public code.
    steps
        N, steps of the student.
    span
        M, expert epochs between start and target.
    latest
        T⁺: segments start after t epochs, t uniform in 0..T⁺−1.
    batch
        Synthetic examples per student step; None: all of them.
    step_size
        α at the start. What is learned is log α, so that α stays positive; the public code learns α itself.
    lr_images, lr_step
        Learning rates of the pixels (tied to their scale: 10²..10⁵ in the papers) and of log α.
    optimizer
        ``"sgd"`` (with `momentum`), as in the paper, or ``"adam"``, which needs no tuning to the pixels' scale.
    momentum
        Of SGD on pixels and log α.
    decay
        Keep an exponential moving average of the images with this decay and give that back; None: the images.
    augment
        A, drawn anew for each step of the student.
    initial
        What the images start from; see `workbench.condensation.making.initial.start`. k-means clusters the features of
        the first expert before its training.
    experts
        Their trajectories, or how to train them at the start of the run.
    recompute
        Remake each step's graph on the way back, in the memory of one step; False: keep all of them, a little faster.

    Examples
    --------
    >>> import workbench as wb
    >>> data = wb.data.load("digits")
    >>> experts = Experts(count=2, epochs=3, network="mlp", options={"width": 16, "depth": 1}, lr=0.05, batch_size=64)
    >>> method = MTT(ipc=1, steps=5, span=1, latest=2, lr_images=3.0, experts=experts.train(data, progress=False))
    >>> tiny = wb.condensation.condense(data, method, iterations=2, progress=False)
    >>> tiny.step_size.shape, tiny.spec["name"]
    (torch.Size([]), 'mlp')
    """

    short: ClassVar[str] = "MTT"

    ipc: int = 10
    iterations: int = 5000
    steps: int = 30
    span: int = 2
    latest: int = 20
    batch: int | None = None
    step_size: float = 0.01
    lr_images: float = 1000.0
    lr_step: float = 0.01
    optimizer: str = "sgd"
    momentum: float = 0.5
    decay: float | None = None
    augment: Augmentation | None = None
    initial: str = "real"
    experts: Trajectories | Experts = field(default_factory=Experts)
    recompute: bool = True

    def __post_init__(self) -> None:
        check(
            self,
            whole={"ipc": 1, "iterations": 0, "steps": 0, "span": 1, "latest": 1, "batch": 1},
            positive=["step_size", "lr_images", "lr_step"],
            least=["momentum"],
        )
        if self.optimizer not in ("sgd", "adam"):
            raise ValueError(f"optimizer is {self.optimizer!r}; it can be 'sgd' or 'adam'")
        if self.latest - 1 + self.span > self.experts.epochs:
            raise ValueError(
                f"segments from epoch {self.latest - 1} over {self.span} epochs end after the experts' "
                f"{self.experts.epochs} epochs: lower latest or span, or train the experts for longer"
            )

    def start(self, run: CondensationRun) -> Synthetic:
        experts = self.experts
        if isinstance(experts, Experts):
            experts = experts.train(run.split, seed=run.seed, device=run.device, progress=run.progress)
        fits(experts, run)
        run.made["experts"] = experts
        run.made["network"] = FlatNetwork(experts.network().to(run.device, run.split.inputs.dtype))
        step = torch.tensor(math.log(self.step_size), dtype=run.split.inputs.dtype, device=run.device)
        features = embedding(experts.network(epoch=0).to(step)) if self.initial == "kmeans" else None
        return start(run, self.ipc, self.initial, features=features, decay=self.decay, log_step_size=step)

    def optimizers(self, synthetic: Synthetic) -> list[torch.optim.Optimizer]:
        pixels, step = [synthetic.pixels], [synthetic.leaves["log_step_size"]]
        if self.optimizer == "adam":
            return [torch.optim.Adam(pixels, self.lr_images), torch.optim.Adam(step, self.lr_step)]
        return [
            torch.optim.SGD(pixels, self.lr_images, momentum=self.momentum),
            torch.optim.SGD(step, self.lr_step, momentum=self.momentum),
        ]

    def losses(self, run: CondensationRun, synthetic: Synthetic) -> Iterator[Tensor]:
        before, after, epoch = segment(run, latest=self.latest, span=self.span)
        student = Student(run, synthetic, run.made["network"], batch=self.batch, augment=self.augment)
        log_step = synthetic.leaves["log_step_size"]
        descent = Descent(student, lambda n: log_step.exp(), self.steps)  # noqa: ARG005 - one step size for all
        leaves = list(synthetic.leaves.values())
        run.log(step_size=log_step.detach().exp(), epoch=epoch)
        yield unroll(descent, before, trajectory_match(before, after), leaves, recompute=self.recompute)

    def finish(self, run: CondensationRun, synthetic: Synthetic) -> Mapping[str, Any]:
        return {"step_size": synthetic.leaves["log_step_size"].detach().exp(), "spec": run.made["network"].spec}


def segment(run: CondensationRun, *, latest: int, span: int, earliest: int = 0) -> tuple[Tensor, Tensor, int]:
    """Weights at the start and at the end of a random segment of a random expert's trajectory, and its first epoch.

    Parameters
    ----------
    run
        The run; ``run.made["experts"]`` are its experts.
    latest, earliest
        The first epoch is uniform in earliest..latest−1.
    span
        Epochs in the segment.
    """
    experts: Trajectories = run.made["experts"]
    generator = run.generator("segment")
    expert = int(torch.randint(len(experts), (), generator=generator))
    epoch = int(torch.randint(earliest, latest, (), generator=generator))
    like = run.split.inputs
    return experts.at(expert, epoch).to(like), experts.at(expert, epoch + span).to(like), epoch


def fits(experts: Trajectories, run: CondensationRun) -> None:
    """Raise a `TrajectoryError` where the experts were not trained on images and classes as the run has them."""
    spec = experts.spec
    if spec is None:
        raise TrajectoryError("experts do not say what network they are of: train them with Experts")
    if (tuple(spec["shape"]), spec["classes"]) != (run.shape, run.classes):
        raise TrajectoryError(
            f"experts are networks for images of shape {tuple(spec['shape'])} and {spec['classes']} classes, the data "
            f"has {run.shape} and {run.classes}: train experts on this data"
        )
