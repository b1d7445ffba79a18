"""Dataset distillation: images and step sizes such that a few gradient steps on them leave a network good on real data.

    min over x̃, η̃ of  E_{θ_0} ℓ(x_t; θ_{SE}),    θ_τ = θ_{τ−1} − η̃_τ ∇_θ ℓ(x̃_{s(τ)}; θ_{τ−1}),    η̃ = softplus(r).

Wang, Zhu, Torralba & Efros, “Dataset Distillation”, 2018 (paper 021), Algorithm 1: S batches, each seen in each of E
passes, plain gradient descent. The images only work for the steps, step sizes and kind of start they were made for:
`workbench.condensation.replay` repeats exactly those.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from workbench.condensation.making.checks import check
from workbench.condensation.making.initial import start
from workbench.condensation.making.run import CondensationRun
from workbench.condensation.making.synthetic import Synthetic
from workbench.condensation.methods.mtt import fits
from workbench.condensation.trajectories.flat import FlatNetwork
from workbench.condensation.trajectories.trajectories import Trajectories
from workbench.condensation.trajectories.unroll import Descent, bptt, cross_entropy, unroll


@dataclass(frozen=True, kw_only=True)
class DD:
    """Back-propagate the loss on real data through the steps taken on the images.

    Attributes
    ----------
    ipc
        Images per class in all; each of the S batches has ``ipc / steps`` of them.
    iterations
        Of the public code on MNIST: 400 passes over the data in batches of 1024.
    steps
        S, the number of batches.
    passes
        E, how often each is seen.
    weights
        θ_0: ``"fixed"``, one initialisation, kept in the record's ``start``; ``"random"``, fresh ones each iteration;
        or trajectories, of which the final weights of random experts are taken (trained before, on this data or on
        another kind of it).
    students
        Number of random θ_0 per iteration, trained side by side.
    poison
        (K, T), class numbers: teach networks to take class K for class T. Images of K then count as T in the outer
        loss; all others keep their class, so that the rest of what a network knows stays.
    step_size
        η̃ at the start, all alike.
    real_batch
        Real examples per iteration, drawn from all classes together.
    lr, betas
        Of Adam on images and step sizes.
    lr_decay, lr_every
        The rate is multiplied by `lr_decay` every `lr_every` iterations.
    initial
        What the images start from; see `workbench.condensation.making.initial.start`.
    network, options
        The network: a name that `workbench.models.build` knows, and its options. With trajectories, theirs.
    recompute
        Remake each step's graph on the way back, in the memory of one step; False: keep all of them, a little faster.

    Examples
    --------
    >>> import workbench as wb
    >>> method = DD(ipc=1, steps=1, passes=3, network="mlp", options={"width": 16, "depth": 1})
    >>> tiny = wb.condensation.condense(wb.data.load("digits"), method, iterations=2, progress=False)
    >>> tiny.step_size.shape, list(tiny.start)
    (torch.Size([3]), ['hidden.0.0.weight', 'hidden.0.0.bias', 'head.weight', 'head.bias'])
    """

    short: ClassVar[str] = "DD"

    ipc: int = 1
    iterations: int = 23_600
    steps: int = 1
    passes: int = 3
    weights: str | Trajectories = "fixed"
    students: int = 4
    poison: tuple[int, int] | None = None
    step_size: float = 0.02
    real_batch: int = 1024
    lr: float = 0.01
    betas: tuple[float, float] = (0.5, 0.999)
    lr_decay: float = 0.5
    lr_every: int = 2360
    initial: str = "noise"
    network: str = "convnet"
    options: dict[str, Any] = field(default_factory=dict)
    recompute: bool = True

    def __post_init__(self) -> None:
        check(
            self,
            whole={
                "ipc": 1, "iterations": 0, "steps": 1, "passes": 0, "students": 1, "real_batch": 1, "lr_every": 1,
            },
            positive=["step_size", "lr", "lr_decay"],
        )  # fmt: skip
        if self.ipc % self.steps:
            raise ValueError(f"ipc is {self.ipc} and steps is {self.steps}: each step needs as many images per class")
        if isinstance(self.weights, str) and self.weights not in ("fixed", "random"):
            raise ValueError(f"weights is {self.weights!r}; it can be 'fixed', 'random' or trajectories of experts")

    def start(self, run: CondensationRun) -> Synthetic:
        if self.poison is not None and not all(0 <= c < run.classes for c in self.poison):
            raise ValueError(f"poison is {self.poison}; class numbers are 0..{run.classes - 1}")
        if isinstance(self.weights, Trajectories):
            fits(self.weights, run)
            network = self.weights.network().to(run.device, run.split.inputs.dtype)
        else:
            network = run.network(self.network, "start", 0, **self.options)
        run.made["network"] = FlatNetwork(network)
        run.made["start"] = run.made["network"].vector(network)
        sizes = torch.full((self.steps * self.passes,), self.step_size).to(run.split.inputs)
        return start(run, self.ipc, self.initial, step_logits=inverse_softplus(sizes))

    def optimizers(self, synthetic: Synthetic) -> list[torch.optim.Optimizer]:
        leaves = list(synthetic.leaves.values())
        return [DecayingAdam(leaves, self.lr, betas=self.betas, decay=self.lr_decay, every=self.lr_every)]

    def losses(self, run: CondensationRun, synthetic: Synthetic) -> Iterator[Tensor]:
        network: FlatNetwork = run.made["network"]
        rows = torch.randperm(len(run.split), generator=run.generator("real"))[: self.real_batch].to(run.device)
        inputs, labels = run.split.inputs[rows], self.outer_labels(run.split.labels[rows])
        r = synthetic.leaves["step_logits"]

        def loss(weights: Tensor, n: int) -> Tensor:
            images, classes = synthetic.examples(run.generator(f"student view {n}"), self.rows(n, run.classes))
            return cross_entropy(network(weights, images), classes)

        descent = Descent(loss, lambda n: F.softplus(r[n]), self.steps * self.passes)
        leaves = list(synthetic.leaves.values())
        yield unroll(descent, self.starts(run), bptt(network, inputs, labels), leaves, recompute=self.recompute)

    def finish(self, run: CondensationRun, synthetic: Synthetic) -> Mapping[str, Any]:
        network: FlatNetwork = run.made["network"]
        return {
            "step_size": F.softplus(synthetic.leaves["step_logits"].detach()),
            "step_images": self.seen(run.classes),
            "spec": network.spec,
            "start": network.state(run.made["start"]) if self.weights == "fixed" else {},
        }

    def rows(self, n: int, classes: int) -> Tensor | None:
        """The stored images that step n sees (its batch, of each class); None: all."""
        if self.steps == 1:
            return None
        each = self.ipc // self.steps
        first = torch.arange(classes) * self.ipc + n % self.steps * each
        return (first[:, None] + torch.arange(each)).flatten()

    def seen(self, classes: int) -> Tensor | None:
        """Which stored images each step sees, bool, shape (steps · passes, n); None: all."""
        if self.steps == 1 or not self.passes:
            return None
        seen = torch.zeros(self.steps * self.passes, classes * self.ipc, dtype=torch.bool)
        for n in range(len(seen)):
            seen[n, self.rows(n, classes)] = True
        return seen

    def starts(self, run: CondensationRun) -> Tensor:
        """θ_0 of this iteration: shape (P,) where it is fixed, else (students, P)."""
        if self.weights == "fixed":
            fixed: Tensor = run.made["start"]
            return fixed
        generator = run.generator("starts")
        if isinstance(self.weights, Trajectories):
            chosen = torch.randint(len(self.weights), (self.students,), generator=generator).tolist()
            drawn = torch.stack([self.weights.at(expert, self.weights.epochs) for expert in chosen])
        else:
            drawn = run.made["network"].fresh(torch.randint(2**62, (self.students,), generator=generator).tolist())
        return drawn.to(run.split.inputs)

    def outer_labels(self, labels: Tensor) -> Tensor:
        """The classes that real examples count as in the outer loss."""
        if self.poison is None:
            return labels
        taken, taught = self.poison
        return torch.where(labels == taken, taught, labels)


def inverse_softplus(value: Tensor) -> Tensor:
    """The r with softplus(r) = value, exact for tiny values too, where log(e^η − 1) would lose everything.

    >>> [f"{r:.4g}" for r in inverse_softplus(torch.tensor([1e-8, 0.02, 3.0])).tolist()]
    ['-18.42', '-3.902', '2.949']
    """
    return value + torch.log(-torch.expm1(-value))


class DecayingAdam(torch.optim.Adam):
    """Adam whose rate falls by the factor `decay` after every `every` steps; a resumed run goes on where it was."""

    def __init__(
        self, leaves: list[Tensor], lr: float, *, betas: tuple[float, float], decay: float, every: int
    ) -> None:
        super().__init__(leaves, lr, betas=betas)
        self.base, self.decay, self.every = lr, decay, every

    def step(self, closure: Callable[[], float] | None = None) -> Any:
        done = max((int(state["step"]) for state in self.state.values() if "step" in state), default=0)
        for group in self.param_groups:
            group["lr"] = self.base * self.decay ** (done // self.every)
        return super().step(closure)
