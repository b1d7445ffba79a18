"""What makes a good augmentation for distillation: a number from the teacher alone, and CutMixPick, which lowers it.

A good augmentation gives samples whose losses are little correlated. With e_i the cross-entropy of teacher and student
on sample i and R̂ = (1/N) Σ e_i the risk that training lowers (`risk_variance`),

    Var(R̂) = (1/N²) [Σ_i Var(e_i) + Σ_{i≠j} Cov(e_i, e_j)]

and only the second sum depends on how augmented samples hang together. Without the student, what is left is how much
the teacher's mean probability moves from batch to batch, **T. stddev**, lower is better (`teacher_stddev`):

    u = mean of p_t over the original and the augmented examples of 5 batches;   T. stddev = mean_c std(u_c)

Training (`AugmentedKD`) hears the teacher on both the original x and the augmented x̃, never mixed labels:

    L = 0.1 CE(x, y) + 0.9 [KL_T(x) + KL_T(x̃)],   KL_T with factor T², T = 4

Paper 064 (Wang et al. 2022), Eq. 5 to 8 and the authors' code.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from workbench.data import Split
from workbench.kernels import divergence
from workbench.models import Outputs
from workbench.signals.cross_entropy import CrossEntropy
from workbench.signals.kl import KL
from workbench.signals.numbers import share
from workbench.signals.signal import Signal
from workbench.training import Augmentation
from workbench.training.mixing import CutMix

VIEWS = "views"
Augment = Callable[[Tensor, torch.Generator], Tensor]


@dataclass(frozen=True)
class CutMixPick:
    """CutMix `runs` times over, of which the most uncertain examples are kept: an augmentation guided by a network.

    Attributes
    ----------
    network
        Whose entropy decides: the student's ("S. ent.", the paper's default) or the teacher's ("T. ent.").
    runs
        The pool is `runs` times the batch; 1 is CutMix itself.
    mix
        What fills the pool.
    """

    network: Callable[[Tensor], Tensor]
    runs: int = 2
    mix: Augmentation = CutMix()  # noqa: RUF009 - frozen

    @torch.no_grad()
    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """As many examples as `x` has, out of the pool of `runs` times as many."""
        pool = torch.cat([self.mix(x, generator) for _ in range(self.runs)])
        return pool[pick(_in_eval_mode(self.network, pool), len(x))]


def pick(logits: Tensor, keep: int) -> Tensor:
    """Which `keep` of the pool have the largest entropy at T = 1, in the pool's order: (pool, classes) → (keep,).

    Examples
    --------
    >>> import torch
    >>> pick(torch.tensor([[9.0, 0.0], [0.0, 0.0], [1.0, 0.0]]), 2)
    tensor([1, 2])
    """
    return divergence.entropy(logits.detach()).topk(keep).indices.sort().values


@dataclass(frozen=True)
class Views(Augmentation):
    """The original beside its augmented copies: (n, ...) → (n, 1 + copies, ...), for a network `OnViews`."""

    of: Augmentation
    copies: int = 1
    separable: ClassVar[bool] = False

    @property
    def draws(self) -> int:  # type: ignore[override]
        return self.copies * self.of.draws

    def draw(self, shape: torch.Size, generator: torch.Generator) -> tuple[Tensor, ...]:
        return tuple(tensor for _ in range(self.copies) for tensor in self.of.draw(shape, generator))

    def apply(self, x: Tensor, *draws: Tensor) -> Tensor:
        each = self.of.draws
        return torch.stack([x, *[self.of.apply(x, *draws[k * each : (k + 1) * each]) for k in range(self.copies)]], 1)


class OnViews(nn.Module):
    """A network that answers for an example and its augmented copies at once.

    Its logits are those of the original; layer ``views`` gives those of the copies, (n, copies, classes). Inputs
    without an axis of views have no copies; they pass as through the network itself, so that it is evaluated as ever.

    Parameters
    ----------
    network
        Any classifier.
    ndim
        Number of axes of one plain input; 3 for images.
    """

    def __init__(self, network: nn.Module, ndim: int = 3) -> None:
        super().__init__()
        self.network = network
        self.ndim = ndim
        self.add_module(VIEWS, nn.Identity())

    def forward(self, x: Tensor) -> Tensor:
        """Logits of the originals, shape (n, classes)."""
        if x.ndim == self.ndim + 1:
            x = x[:, None]
        logits = self.network(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        self.get_submodule(VIEWS)(logits[:, 1:])
        return torch.as_tensor(logits[:, 0])


@dataclass(frozen=True)
class AugmentedKD(Signal):
    """Distillation on originals and augmented copies, for networks `OnViews` trained with ``augment=Views(...)``.

    Attributes
    ----------
    temperature
        T > 0.
    labels_weight
        Share of the labels' cross-entropy, of originals only; the rest is for the divergences.
    original, augmented
        Weights of KL_T(x) and KL_T(x̃): the code's ``lw_mix``. With `augmented` 0 it is plain distillation.
    pick
        With more copies than one, whose most uncertain copies are heard, as many as there are examples: ``"student"``,
        ``"teacher"``; or None, all of them. That is `CutMixPick` inside the loss, where it costs one pass.
    """

    temperature: float = 4.0
    labels_weight: float = 0.1
    original: float = 1.0
    augmented: float = 1.0
    pick: Literal["student", "teacher"] | None = None
    complete: ClassVar[bool] = True

    def __post_init__(self) -> None:
        share(labels_weight=self.labels_weight)
        if self.pick not in (None, "student", "teacher"):
            raise ValueError(f"pick is {self.pick!r}; it can be student, teacher or None")

    @property
    def student_layers(self) -> tuple[str, ...]:
        return (VIEWS,) if self.augmented else ()

    @property
    def teacher_layers(self) -> tuple[str, ...]:
        return self.student_layers

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor) -> Tensor:
        """Per-example loss, shape (n,); the copies' share is spread evenly over the batch."""
        T = self.temperature
        loss = self.original * KL(T)(student, teacher, labels)
        if self.augmented:
            s, t = (outputs.features[VIEWS].flatten(0, 1) for outputs in (student, teacher))
            if self.pick is not None:
                heard = pick(s if self.pick == "student" else t, len(labels))
                s, t = s[heard], t[heard]
            away = divergence.forward_kl(s, t, student_temperature=T, teacher_temperature=T)
            loss = loss + self.augmented * T**2 * away.mean()
        return self.labels_weight * CrossEntropy()(student, teacher, labels) + (1 - self.labels_weight) * loss


@torch.no_grad()
def teacher_stddev(
    teacher: nn.Module,
    split: Split,
    augment: Augment,
    *,
    batch_size: int = 64,
    iterations: int = 5,
    repeats: int = 200,
    temperature: float = 1.0,
    seed: int = 0,
) -> float:
    """T. stddev of an augmentation: how much the teacher's mean probability moves; lower predicts a better student.

    Parameters
    ----------
    teacher
        Frozen; in eval mode whatever mode it is left in.
    split
        The training examples. Batches are drawn with replacement: the paper's few batches out of 50,000 examples
        are as good as independent, while most of a small split would come to nearly the same mean every time.
    augment
        Called as ``augment(x, generator)``: an `Augmentation` or a `CutMixPick`.
    batch_size, iterations
        Each mean is over `iterations` batches, originals and augmented copies: M = 2 · iterations · batch_size. Values
        of different M cannot be compared: T. stddev falls as M^(−1/2).
    repeats
        Number of means; the paper's ten epochs of CIFAR give some 1,500. The result's own error is about
        1/√(2 · repeats · classes) of it.
    temperature
        Of the teacher's probabilities; the paper's 1.
    seed
        Of batches and augmentation.

    Raises
    ------
    ValueError
        There are fewer than two repeats, or no examples.

    Examples
    --------
    >>> import workbench as wb
    >>> data = wb.data.load("digits")
    >>> network = wb.models.build("mlp", data)
    >>> 0 < teacher_stddev(network, data.train, CutMix()) < 0.05
    True
    """
    if repeats < 2 or len(split) == 0:
        raise ValueError(
            f"repeats is {repeats} on {len(split)} examples; it takes two means of some examples to differ"
        )
    inputs = split.inputs
    generator = torch.Generator(inputs.device).manual_seed(seed)
    means = []
    for _ in range(repeats):
        chunks = []
        for _ in range(iterations):
            rows = torch.randint(len(inputs), (batch_size,), generator=generator, device=inputs.device)
            chunks += [inputs[rows], augment(inputs[rows], generator)]
        means.append((_in_eval_mode(teacher, torch.cat(chunks)) / temperature).softmax(1).mean(0))
    return stddev_of_means(torch.stack(means)[:, None])


def stddev_of_means(probabilities: Tensor) -> float:
    """Mean over classes of the standard deviation, over repeats, of the mean over samples: (repeats, M, classes) in.

    Examples
    --------
    >>> import torch
    >>> stddev_of_means(torch.full((5, 20, 4), 0.25))
    0.0
    """
    return float(probabilities.mean(1).std(0).mean())


def risk_variance(losses: Tensor) -> tuple[float, float]:
    """The two parts of Var(R̂): what single samples contribute, and what their covariances do.

    Parameters
    ----------
    losses
        e_i in repeated draws of a training set, shape (draws, N).

    Returns
    -------
    tuple of float
        ``(Σ_i Var(e_i) / N², Σ_{i≠j} Cov(e_i, e_j) / N²)``; they add up to the variance of the row means.

    Examples
    --------
    >>> import torch
    >>> alone, together = risk_variance(torch.tensor([[0.0, 0.0], [2.0, 2.0]]))  # a duplicated sample
    >>> alone, together, float(torch.tensor([0.0, 2.0]).var())
    (1.0, 1.0, 2.0)
    """
    N = losses.shape[1]
    alone = float(losses.var(0).sum()) / N**2
    return alone, float(losses.mean(1).var()) - alone


def _in_eval_mode(network: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The network's logits in eval mode, its mode put back afterwards."""
    if not isinstance(network, nn.Module):
        return network(x)
    training = network.training
    network.eval()
    try:
        return torch.as_tensor(network(x))
    finally:
        network.train(training)
