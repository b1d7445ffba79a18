"""KD-AIF: each example is distilled with a weight, by how much it helps on a few trusted examples.

    ℓ_i = KL(softmax(z_t / T) ‖ softmax(z_s / T)),    L = (1/B) Σ_i w_i ℓ_i          no T² and no label term
    I_i = −∇L_v(θ̂)ᵀ H⁻¹ ∇ℓ_i(θ̂)                                                     negative is helpful
    exp:      w_i ∝ exp(b_i),  b = −I scaled to −1..1 from its least to its largest
    sigmoid:  w_i ∝ 2 σ(−I_i / κ),  κ the robust scale of I;        both to a mean of 1

Train with w = 1; find I_i for the student as it is (`workbench.analysis.influence`); train anew with the weights; and
so on for several rounds. The score is −I, the benefit: the public code's package gives it the other sign. Paper 062 (Wu
et al. 2025).
"""

import copy
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from workbench.analysis.influence import Inverse, influences
from workbench.data import Dataset, Split
from workbench.knowledge.making.distill import distill
from workbench.records import TrainingRecord
from workbench.signals.kl import KL
from workbench.signals.numbers import positive
from workbench.signals.weighted import Weighted
from workbench.training.evaluating import logits_of
from workbench.training.guide import train_split

Form = Literal["exp", "sigmoid"]


@dataclass(frozen=True)
class KDAIF:
    """Distillation with influence weights.

    Attributes
    ----------
    temperature
        T > 0.
    rounds
        How often weights are found and the student is trained anew; 0: plain distillation.
    form
        ``"exp"``, as in the public code, or ``"sigmoid"``, as in the paper.
    inverse
        How H⁻¹ is applied.
    head_only
        Influence through the student's last linear layer alone, for large students.

    Examples
    --------
    >>> import workbench as wb
    >>> data = wb.data.load("digits").subset(300)
    >>> trusted, train = data.train.take(slice(0, 60)), data.train.take(slice(60, 300))
    >>> teacher, student = wb.models.build("mlp", data, seed=1), wb.models.build("mlp", data, width=12)
    >>> found = KDAIF(rounds=1, head_only=True)(teacher, student, train, trusted, steps=5, progress=False)
    >>> len(found.records), found.weights[-1].shape
    (2, torch.Size([240]))
    """

    temperature: float = 7.0
    rounds: int = 1
    form: Form = "sigmoid"
    inverse: Inverse = Inverse(solver="cg", curvature="gauss-newton")  # noqa: RUF009 - frozen
    head_only: bool = False

    def __post_init__(self) -> None:
        positive(temperature=self.temperature)
        if isinstance(self.rounds, bool) or not isinstance(self.rounds, int) or self.rounds < 0:
            raise ValueError(f"rounds is {self.rounds!r}; it must be a whole number, 0 or more")
        if self.form not in ("exp", "sigmoid"):
            raise ValueError(f"form is {self.form!r}; it can be exp or sigmoid")

    def __call__(
        self,
        teacher: nn.Module,
        student: nn.Module,
        data: Dataset | Split,
        trusted: Split,
        *,
        seed: int = 0,
        **options: Any,
    ) -> "Reweighted":
        """Train the student once plainly, then once per round with weights, always from the weights that it came with.

        Parameters
        ----------
        teacher, student, data
            As for `workbench.knowledge.distill`; the student is trained in place.
        trusted
            Labelled examples, neither for training nor for testing.
        seed, options
            As for `workbench.knowledge.distill`.
        """
        split = train_split(data)
        start = copy.deepcopy(student.state_dict())
        told = KL(self.temperature) / self.temperature**2
        w = torch.ones(len(split))
        found = Reweighted((), (), ())
        for k in range(self.rounds + 1):
            student.load_state_dict(start)
            signal = Weighted(told, w)
            record = distill(teacher, student, data, signal, labels_weight=0, seed=seed, **options)
            found = Reweighted((*found.records, record), (*found.weights, w), found.influences)
            if k == self.rounds or record.interrupted:
                break
            influence = self.influences(teacher, student, split, trusted, w)
            w = influence_weights(influence, self.form)
            found = Reweighted(found.records, found.weights, (*found.influences, influence))
        return found

    def influences(
        self, teacher: nn.Module, student: nn.Module, split: Split, trusted: Split, weights: Tensor | None = None
    ) -> Tensor:
        """I_i of every example of the split for the student as it is, shape (n,), on the CPU."""
        own = next(student.parameters())
        split, trusted = split.to(own.device, own.dtype), trusted.to(own.device, own.dtype)
        return influences(
            student,
            lambda s, t: soft_loss(s, t, self.temperature),
            (split.inputs, logits_of(teacher, split.inputs).to(own)),
            (trusted.inputs, trusted.labels),
            inverse=self.inverse,
            weights=None if weights is None else weights.to(own),
            head_only=self.head_only,
        ).cpu()


@dataclass(frozen=True)
class Reweighted:
    """What the rounds of `KDAIF` have made.

    Attributes
    ----------
    records
        Of every training, the plain one first.
    weights
        That each was trained with.
    influences
        That the weights of the second and later trainings come from.
    """

    records: tuple[TrainingRecord, ...]
    weights: tuple[Tensor, ...]
    influences: tuple[Tensor, ...]


def soft_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """ℓ (n,) of logits (n, classes): KL at a temperature, without T²; plain operations, twice differentiable."""
    log_p, log_q = (teacher / temperature).log_softmax(1), (student / temperature).log_softmax(1)
    return (torch.special.xlogy(log_p.exp(), log_p.exp()) - log_p.exp() * log_q).sum(1)


def influence_weights(influence: Tensor, form: Form = "sigmoid") -> Tensor:
    """Weights of mean 1 (n,) that rise with the benefit −I_i.

    Parameters
    ----------
    influence
        I, shape (n,); negative is helpful.
    form
        ``"exp"``: −I from its least to its largest is scaled to −1..1, then exponentiated, so that the largest weight
        is e² times the least. ``"sigmoid"``: 2 σ(−I / κ) with κ = 1.4826 · median |I|, so that I = 0 has the weight 1
        before they are scaled to a mean of 1.

    Examples
    --------
    >>> influence_weights(torch.tensor([-1.0, 0.0, 1.0]), "sigmoid")
    tensor([1.3..., 1.0000, 0.6...])
    >>> influence_weights(torch.tensor([2.0, 2.0]), "exp")
    tensor([1., 1.])
    """
    benefit = -influence
    low, high = benefit.min(), benefit.max()
    if not high > low:
        return torch.ones_like(influence)
    if form == "exp":
        w = (2 * (benefit - low) / (high - low) - 1).exp()
    else:
        kappa = 1.4826 * influence.abs().median()
        w = 2 * (benefit / kappa.clamp(min=torch.finfo(influence.dtype).tiny)).sigmoid()
    return w / w.mean()
