"""BD-KD: student and teacher train together, each example under the divergence that corrects the student's confidence.

Forward KL makes a small student spread over all that the teacher says, reverse KL makes it lock on modes. Both are in
the student's loss; where the student is sharper than the teacher the first counts δ times, elsewhere the second:

    L_s = CE(y, z_s) + α T² · mean_i [ν^F_i KL(p^t_i ‖ p^s_i) + ν^R_i KL(p^s_i ‖ p^t_i)]
    L_t = CE(y, z_t) + α T² · mean_i KL(p^t_i ‖ p^s_i)
    (ν^F, ν^R) = (δ, 1) where H(p^s_i) < H(p^t_i), else (1, δ)

with p = softmax(z / T), H the entropy, the other network detached in each loss, and the weights ν constants. Paper 101
(Amara et al. 2022), Eq. 4 to 8; direction of the switch and δ = 2 follow its mass-covering/mode-seeking argument.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from workbench.kernels import divergence
from workbench.knowledge.methods.mutual import PEERS
from workbench.models import Outputs
from workbench.signals.cross_entropy import CrossEntropy
from workbench.signals.features import select
from workbench.signals.numbers import at_least_zero, number, positive
from workbench.signals.signal import Signal

Balance = Literal["sample", "global", "swapped", "equal", "forward", "reverse"]
BALANCES: tuple[Balance, ...] = ("sample", "global", "swapped", "equal", "forward", "reverse")


@dataclass(frozen=True)
class BalancedKL(Signal):
    """The student's side of BD-KD, usable under any fixed teacher: T² [ν^F KL(p^t ‖ p^s) + ν^R KL(p^s ‖ p^t)].

    Attributes
    ----------
    temperature
        T > 0, of both divergences and of the entropies.
    delta
        δ > 0: the factor of the divergence that is given more weight. 1 removes the switch.
    balance
        ``"sample"``: the paper's switch, per example. Ablations: ``"global"`` (one switch for the batch, by its mean
        entropies), ``"swapped"`` (the other direction), ``"equal"`` (ν ≡ 1: Jeffreys), ``"forward"`` (ν = (1, 0)) and
        ``"reverse"`` (ν = (0, 1)).

    Examples
    --------
    >>> import torch
    >>> from workbench.models import Outputs
    >>> logits = torch.tensor([[4.0, 1.0, 0.0]])
    >>> BalancedKL()(Outputs(logits), Outputs(logits), torch.tensor([0]))
    tensor([0.])
    """

    temperature: float = 2.0
    delta: float = 2.0
    balance: Balance = "sample"

    def __post_init__(self) -> None:
        positive(temperature=self.temperature)
        number("delta", self.delta, lambda delta: delta > 0, "positive (above 1 to balance, 1 for no switch)")
        if self.balance not in BALANCES:
            raise ValueError(f"balance is {self.balance!r}; it can be {', '.join(BALANCES)}")

    def weights(self, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        """(ν^F, ν^R) for logits (n, classes), each of shape (n,), without gradient."""
        student, teacher = student.detach(), teacher.detach()
        one = torch.ones_like(student[:, 0])
        match self.balance:
            case "equal":
                return one, one
            case "forward":
                return one, 0 * one
            case "reverse":
                return 0 * one, one
        H_s, H_t = divergence.entropy(student, self.temperature), divergence.entropy(teacher, self.temperature)
        if self.balance == "global":
            H_s, H_t = H_s.mean() * one, H_t.mean() * one
        sharper = H_s < H_t
        covering, seeking = torch.where(sharper, self.delta, one), torch.where(sharper, one, self.delta)
        return (seeking, covering) if self.balance == "swapped" else (covering, seeking)

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor) -> Tensor:  # noqa: ARG002
        """Per-example loss, shape (n,); the teacher gets no gradient."""
        T = self.temperature
        z_s, z_t = student.logits, teacher.logits.detach()
        nu_F, nu_R = self.weights(z_s, z_t)
        covering = divergence.forward_kl(z_s, z_t, student_temperature=T, teacher_temperature=T)
        seeking = divergence.reverse_kl(z_s, z_t, student_temperature=T, teacher_temperature=T)
        return T**2 * (nu_F * covering + nu_R * seeking)


@dataclass(frozen=True)
class BDKD(Signal):
    """BD-KD among `Peers`: the first is the student, the second its teacher; neither is trained before.

    With K > 2 networks, put in order from the smallest to the largest, each pair is a student (the earlier) and a
    teacher (the later), and a network's loss is the mean over its pairs.

    Attributes
    ----------
    temperature, delta, balance
        As for `BalancedKL`.
    weight
        α ≥ 0: of the divergences beside the labels; 0 trains every network alone.

    Examples
    --------
    >>> import workbench as wb
    >>> data = wb.data.load("digits").subset(200)
    >>> pair = [wb.models.build("mlp", data, width=width, seed=width) for width in (8, 64)]
    >>> small, large = wb.knowledge.train_together(pair, data, BDKD(), steps=5, progress=False)
    """

    temperature: float = 2.0
    delta: float = 2.0
    balance: Balance = "sample"
    weight: float = 1.0
    needs_teacher: ClassVar[bool] = False
    complete: ClassVar[bool] = True

    def __post_init__(self) -> None:
        at_least_zero(weight=self.weight)
        _ = self.students  # checks the others

    @property
    def students(self) -> BalancedKL:
        """The signal that a network gets from a larger one."""
        return BalancedKL(self.temperature, self.delta, self.balance)

    @property
    def student_layers(self) -> tuple[str, ...]:
        return (PEERS,)

    def __call__(self, student: Outputs, teacher: Outputs | None, labels: Tensor) -> Tensor:  # noqa: ARG002
        """Per-example loss, the sum over networks, shape (n,)."""
        return sum_of_losses(self.losses(select(student.features, (PEERS,)), labels))

    def losses(self, logits: list[Tensor], labels: Tensor) -> list[Tensor]:
        """Each network's own loss, per example: logits (n, classes) in, (n,) out; no gradient crosses over."""
        losses = [CrossEntropy()(Outputs(z), None, labels) for z in logits]
        if self.weight == 0:
            return losses
        share = self.weight / (len(logits) - 1)
        for i, z_s in enumerate(logits):
            for j, z_t in enumerate(logits[i + 1 :], start=i + 1):
                losses[i] = losses[i] + share * self.students(Outputs(z_s), Outputs(z_t), labels)
                losses[j] = losses[j] + share * self._regulariser(z_s.detach(), z_t)
        return losses

    def _regulariser(self, z_s: Tensor, z_t: Tensor) -> Tensor:
        """The teacher's T² KL(p^t ‖ p^s): to the teacher itself, the mode-seeking one."""
        T = self.temperature
        return T**2 * divergence.forward_kl(z_s, z_t, student_temperature=T, teacher_temperature=T)


@dataclass(frozen=True)
class KDCL(Signal):
    """Collaborative learning among `Peers`: all follow the mean of their class probabilities, which gets no gradient.

    L = Σ_k [CE(y, z_k) + α T² KL(p̄ ‖ p^k)], p̄ = mean_k softmax(z_k / T): a baseline of paper 101, after Guo et al. 2020
    (who form p̄ in several ways; the mean is the plainest).

    Attributes
    ----------
    temperature, weight
        T > 0 and α ≥ 0.

    Examples
    --------
    >>> import torch
    >>> from workbench.models import Outputs
    >>> even = torch.zeros(1, 4)
    >>> KDCL()(Outputs(even, {"networks.0": even, "networks.1": even}), None, torch.tensor([0])) / 2
    tensor([1.3863])
    """

    temperature: float = 2.0
    weight: float = 1.0
    needs_teacher: ClassVar[bool] = False
    complete: ClassVar[bool] = True

    def __post_init__(self) -> None:
        positive(temperature=self.temperature)
        at_least_zero(weight=self.weight)

    @property
    def student_layers(self) -> tuple[str, ...]:
        return (PEERS,)

    def __call__(self, student: Outputs, teacher: Outputs | None, labels: Tensor) -> Tensor:  # noqa: ARG002
        """Per-example loss, the sum over networks, shape (n,)."""
        T = self.temperature
        logits = select(student.features, (PEERS,))
        # as logits at temperature T, so that the divergence's own softmax gives the mean back
        mean = T * torch.stack([(z.detach() / T).log_softmax(1) for z in logits]).logsumexp(0)
        losses = []
        for z in logits:
            away = divergence.forward_kl(z, mean, student_temperature=T, teacher_temperature=T)
            losses.append(CrossEntropy()(Outputs(z), None, labels) + self.weight * T**2 * away)
        return sum_of_losses(losses)


def sum_of_losses(losses: list[Tensor]) -> Tensor:
    """Several networks' losses as one; each network's gradient is that of its own."""
    return torch.stack(losses).sum(0)
