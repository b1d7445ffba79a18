"""What a method sees of the run it is part of: the teacher, examples, noise, random numbers, networks, its memory."""

import copy
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from workbench.data import Dataset, Split
from workbench.diffusion.making.starting import Network, classes_of, fresh, standing
from workbench.diffusion.sampling.denoiser import Denoiser, Guided, NetworkDenoiser
from workbench.diffusion.sampling.sampling import sample
from workbench.diffusion.teachers.kde import signed
from workbench.diffusion.teachers.mixture import GaussianMixture
from workbench.records import DiffusionModel
from workbench.training import running

POOL = 4096
"""Samples drawn once from a teacher that comes without data."""


class Fit(Protocol):
    """Makes a network that says what a run's teacher says: the one that the run starts from, fitted."""

    def __call__(self, run: "DiffusionRun", kind: str, steps: int | None) -> NetworkDenoiser:
        """Of the kind, after so many iterations; None: as many as usual."""


@dataclass(eq=False)
class DiffusionRun(running.Run):
    """One run of `distill`, as its method sees it; with all that every `workbench.training.running.Run` has.

    Attributes
    ----------
    teacher
        The model to learn from, on the run's device.
    seed, device, progress
        As given to `distill`.
    steps
        The number of iterations in all.
    network
        What the student shall start from, as given to `distill`.
    resuming
        All weights are about to be replaced by those of a checkpoint.
    data
        Real examples (n, *shape) and the class of each, (n,), −1 for none; None: the teacher tells what the data are.
    networks
        What the method trains, by name, as its `networks` made them.
    fit
        How `start` fits a network to the teacher, which is itself a run of `distill`.
    """

    teacher: Denoiser
    seed: int
    device: torch.device
    steps: int
    network: Network = None
    resuming: bool = False
    data: tuple[Tensor, Tensor] | None = None
    networks: dict[str, nn.Module] = field(default_factory=dict, kw_only=True)
    fit: Fit | None = field(default=None, kw_only=True)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one example."""
        return tuple(self.teacher.shape)

    @property
    def classes(self) -> int:
        """Number of classes that can be asked for; 0: none."""
        return classes_of(self.teacher)

    @property
    def student(self) -> NetworkDenoiser:
        """The network called ``"student"``."""
        return self.networks["student"]  # type: ignore[return-value]  # checked where the networks are made

    def blank(self, kind: str = "velocity") -> NetworkDenoiser:
        """The network the student starts from, without a fit to the teacher: with the weights it was chosen with, or
        fresh ones. Only a fresh one is of `kind`.
        """
        chosen = standing(self.network, self.teacher)
        if chosen is None:
            assert not isinstance(self.network, DiffusionModel)
            chosen = fresh(self.teacher, self.network, kind=kind, seed=self.seed)
        return self._own(chosen)

    def start(self, kind: str = "velocity", steps: int | None = None) -> NetworkDenoiser:
        """A network that says what the teacher says: a copy of the teacher's, or one fitted to it.

        Each call gives one of its own. A fit is made once; it is of `kind` unless the user chose a network that is
        not: every kind can be read as any other. `steps` is the number of the fit's iterations, by default that of
        `Regression`.
        """
        if self.resuming or standing(self.network, self.teacher) is not None:
            return self.blank(kind)
        key = f"start as {kind}"
        if key not in self.made:
            if self.fit is None:
                raise ValueError("this run can fit no network to its teacher: pass network= one that has its weights")
            self.made[key] = self.fit(self, kind, steps)
        return self._own(self.made[key])

    def _own(self, network: NetworkDenoiser) -> NetworkDenoiser:
        return copy.deepcopy(network).to(self.device).train().requires_grad_(True)

    def guided(self, scale: float) -> Denoiser:
        """The teacher under classifier-free guidance, ours: 1 is none."""
        return self.teacher if scale == 1 else Guided(self.teacher, scale)

    def noise(self, n: int, purpose: str = "noise") -> Tensor:
        """Standard normal noise, (n, *shape)."""
        return torch.randn(n, *self.shape, generator=self.generator(purpose)).to(self.device)

    def uniform(self, n: int, purpose: str = "time") -> Tensor:
        """Numbers in 0..1, (n,)."""
        return torch.rand(n, generator=self.generator(purpose)).to(self.device)

    def integers(self, n: int, below: int, purpose: str = "index") -> Tensor:
        """Whole numbers in 0..below − 1, int64, (n,)."""
        return torch.randint(below, (n,), generator=self.generator(purpose)).to(self.device)

    def real(self, n: int, purpose: str = "real") -> tuple[Tensor, Tensor | None]:
        """Examples (n, *shape) and their classes, (n,), or None where there are none.

        They are real where the run has data, drawn from the density of an exact teacher, or else from a pool of
        samples that the teacher made.
        """
        generator = self.generator(purpose)
        exact = exact_part(self.teacher)
        if self.data is None and exact is not None:
            source = self.made.setdefault("exact", exact.to("cpu"))
            x, component = source.sample(n, generator)
            labels = None if source.labels is None else source.labels[component].to(self.device)
            return x.float().to(self.device), labels
        if self.data is None:
            _, examples, labels = self.pairs(POOL)
        else:
            examples, labels = self.data[0], self.data[1] if self.classes else None
        rows = torch.randint(len(examples), (n,), generator=generator).to(examples.device)
        return examples[rows].to(self.device), None if labels is None else labels[rows].to(self.device)

    def conditions(self, n: int, purpose: str = "condition") -> Tensor | None:
        """Classes as often as they occur, int64, (n,); None where there are none. Needs no data but labels."""
        if not self.classes:
            return None
        generator = self.generator(purpose)
        if self.data is not None:
            labels = self.data[1]
            return labels[torch.randint(len(labels), (n,), generator=generator).to(labels.device)].to(self.device)
        exact = exact_part(self.teacher)
        share = torch.full((self.classes,), 1 / self.classes)
        if exact is not None and exact.labels is not None:
            share = torch.zeros(self.classes).index_add_(0, exact.labels.cpu(), exact.weights.float().cpu())
        return torch.multinomial(share, n, replacement=True, generator=generator).to(self.device)

    def pairs(self, n: int, guidance: float = 1.0, steps: int = 25) -> tuple[Tensor, Tensor, Tensor | None]:
        """Noises (n, *shape), where the teacher's path from each ends, and the classes, (n,); made once."""
        key = f"{n} pairs, guidance {guidance:g}, {steps} steps"
        if key not in self.made:
            at = replace(self, iteration=0)
            noise, condition = at.noise(n, "pairs"), at.conditions(n, "pairs")
            self.made[key] = noise, self._sampled(noise, condition, guidance, steps), condition
        made: tuple[Tensor, Tensor, Tensor | None] = self.made[key]
        return made

    @torch.no_grad()
    def _sampled(self, noise: Tensor, condition: Tensor | None, guidance: float, steps: int) -> Tensor:
        teacher, parts = self.guided(guidance), range(0, len(noise), 1024)
        return torch.cat(
            [
                sample(
                    teacher, noise[at : at + 1024], sampler="dpm-solver++", steps=steps,
                    condition=None if condition is None else condition[at : at + 1024],
                )
                for at in parts
            ]
        )  # fmt: skip


Run = DiffusionRun
"""Its public name: `workbench.diffusion.Run`."""


@runtime_checkable
class Wrapping(Protocol):
    """A teacher around another, as under guidance or on another schedule."""

    @property
    def model(self) -> Any:
        """The other."""


def exact_part(model: Any) -> GaussianMixture | None:
    """The mixture at the bottom of a teacher, under guidance or a change of schedule; None where there is none."""
    while not isinstance(model, GaussianMixture):
        if isinstance(model, nn.Module) or not isinstance(model, Wrapping):
            return None
        model = model.model
    return model


def examples(data: "Dataset | Split | tuple[Tensor, Tensor] | Tensor | None") -> tuple[Tensor, Tensor] | None:
    """Data as a run keeps them: images from −1 to 1, or tensors as they are.

    Raises
    ------
    ValueError
        There are no examples, or labels of another number.
    """
    if data is None:
        return None
    if isinstance(data, Dataset | Split):
        split = data.train if isinstance(data, Dataset) else data
        x, labels = (signed(split) if len(split.shape) == 3 else split.inputs), split.labels
        if not split.classes:
            labels = torch.full((len(x),), -1)
    else:
        x, labels = data if isinstance(data, tuple) else (data, torch.full((len(data),), -1))
    if not len(x) or len(labels) != len(x):
        raise ValueError(f"data holds {len(x)} examples and {len(labels)} labels; at least one, and as many labels")
    return x.float(), labels.long()
