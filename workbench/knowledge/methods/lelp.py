"""LELP: with few classes a soft label says little; subclasses are found in what the teacher's classifier ignores.

    h̃ = (I − W⁺W) h                                 what ordinary distillation does not transmit
    u_{c,s} = v_{c,s}ᵀ (h̃ − μ_c) / σ_c              S directions of each class: V_c = R_c U_c
    q_{c,s} = p_c · softmax_s(u_{c,·} / β)           the class probability, split over its subclasses
    L = τ² CE(q^(τ), softmax(r / τ))                 over all S·C outputs r; no label term

h is what the teacher's last linear layer W reads, W's rows centred over the classes (softmax does not see their mean);
U_c are the S first principal directions of class c, R_c a random rotation, so that no subclass has more variance than
another, σ_c the root of the mean variance over them, so that β has a meaning without data. A prediction sums over the
subclasses of a class. Paper 023 (Loo et al. 2024).

    told = LELP(subclasses=5)
    student = Summed(models.build("mlp", (data.shape, told.subclasses * len(data.classes)), width=12), told.subclasses)
    distill(told.subclass(teacher, data), student, data, told)
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from workbench.data import Dataset, Split
from workbench.kernels import divergence
from workbench.knowledge.making.distill import as_found
from workbench.models import Outputs
from workbench.signals.numbers import positive
from workbench.signals.signal import Signal
from workbench.training.guide import train_split

SUBCLASSES = "subclasses"
"""The layer whose output is the logits over all subclasses, (n, C·S), of a teacher `SubclassTeacher` and a student
`Summed`; the subclasses of a class stand side by side.
"""


@dataclass(frozen=True)
class LELP(Signal):
    """Subclass signal, between a teacher made by `subclass` and a student that is `Summed`.

    Attributes
    ----------
    subclasses
        S ≥ 1 per class; with 1 it is plain distillation.
    beta
        β > 0: how evenly a class's probability is split; at β → ∞ the subclasses say nothing.
    temperature
        τ > 0, of the loss.
    project
        Remove from the embedding what the classifier reads (step 1).
    rotate
        Rotate the directions (step 3).
    directions
        ``"pca"``; or ``"random"``, the control that shows whether the directions matter or the larger head does.
    seed
        Of rotations and random directions.

    Examples
    --------
    >>> import workbench as wb
    >>> data = wb.data.load("digits").subset(200)
    >>> told, teacher = LELP(subclasses=3), wb.models.build("mlp", data, seed=1)
    >>> student = Summed(wb.models.build("mlp", (data.shape, 30), width=12), 3)
    >>> record = wb.knowledge.distill(told.subclass(teacher, data), student, data, told, steps=5, progress=False)
    >>> record.model(data.test.inputs[:2]).shape
    torch.Size([2, 10])
    """

    subclasses: int = 5
    beta: float = 0.3
    temperature: float = 1.0
    project: bool = True
    rotate: bool = True
    directions: Literal["pca", "random"] = "pca"
    seed: int = 0
    complete: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if isinstance(self.subclasses, bool) or not isinstance(self.subclasses, int) or self.subclasses < 1:
            raise ValueError(f"subclasses is {self.subclasses!r}; it must be a whole number of at least 1")
        positive(beta=self.beta, temperature=self.temperature)
        if self.directions not in ("pca", "random"):
            raise ValueError(f"directions is {self.directions!r}; it can be pca or random")

    @property
    def student_layers(self) -> tuple[str, ...]:
        return (SUBCLASSES,)

    @property
    def teacher_layers(self) -> tuple[str, ...]:
        return (SUBCLASSES,)

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor) -> Tensor:  # noqa: ARG002
        """Per-example loss, shape (n,)."""
        tau, r, log_q = self.temperature, student.features[SUBCLASSES], teacher.features[SUBCLASSES]
        if r.shape != log_q.shape:
            raise ValueError(
                f"the student has {r.shape[1]} outputs and the teacher {log_q.shape[1]} subclasses: build the student "
                "with subclasses × classes outputs, and as Summed(network, subclasses)"
            )
        away = divergence.forward_kl(r, log_q, student_temperature=tau, teacher_temperature=tau)
        return tau**2 * (away + divergence.entropy(log_q / tau))

    def subclass(self, teacher: nn.Module, data: Dataset | Split, classifier: str = "") -> "SubclassTeacher":
        """The teacher with the subclasses that it finds in the training examples, un-augmented (steps 1 to 3).

        Parameters
        ----------
        teacher
            Ends in a linear layer that gives its logits; neither changed nor copied.
        data
            Labelled; every class needs more examples than there are subclasses.
        classifier
            Name of that layer; empty: the last linear layer there is.

        Raises
        ------
        ValueError
            There is no such layer, or a class or the embedding is too small for so many subclasses.
        """
        split = train_split(data)
        made = SubclassTeacher(teacher, classifier, len(split.classes), self.subclasses, self.beta)
        W = made.weight().double()
        P = null_projector(W) if self.project else torch.eye(W.shape[1], dtype=torch.float64, device=W.device)
        with torch.no_grad(), as_found(teacher):
            made.eval()
            h = torch.cat([made.embed(part)[1] for part in split.inputs.to(W.device).split(512)]).double() @ P
        rank = round(float(P.trace()))
        generator = torch.Generator().manual_seed(self.seed)
        labels = split.labels.to(h.device)
        found = [self._directions(h[labels == c], P, rank, generator, name) for c, name in enumerate(split.classes)]
        made.place(P, torch.stack([mean for mean, _ in found]), torch.stack([V for _, V in found]))
        return made

    def _directions(
        self, h: Tensor, P: Tensor, rank: int, generator: torch.Generator, name: str
    ) -> tuple[Tensor, Tensor]:
        """μ_c (D,) and V_c / σ_c (S, D) of one class's projected embeddings (N_c, D)."""
        S = self.subclasses
        if len(h) <= S or rank < S:
            raise ValueError(
                f"subclasses is {S}; class {name!r} has {len(h)} examples and what the classifier ignores "
                f"{rank} dimensions: both must suffice"
            )
        mean = h.mean(0)
        if self.directions == "pca":
            U = torch.linalg.svd(h - mean, full_matrices=False).Vh[:S]
        else:
            U = orthogonal(len(P), S, generator).to(P) @ P
            U = torch.linalg.qr(U.T).Q.T
        V = orthogonal(S, S, generator).to(U) @ U if self.rotate else U
        sigma = ((h - mean) @ V.T).var(0).mean().sqrt()
        return mean, V / sigma.clamp(min=torch.finfo(h.dtype).tiny)


class SubclassTeacher(nn.Module):
    """A teacher that tells how it splits its classes; made by `LELP.subclass`.

    Its logits are the teacher's own; its layer ``subclasses`` gives log q, (n, C·S).
    """

    projector: Tensor
    means: Tensor
    directions: Tensor

    def __init__(self, teacher: nn.Module, classifier: str, classes: int, subclasses: int, beta: float) -> None:
        super().__init__()
        linear = {name: module for name, module in teacher.named_modules() if isinstance(module, nn.Linear)}
        name = classifier or (list(linear)[-1] if linear else "")
        if name not in linear or linear[name].out_features not in (classes, 1):
            raise ValueError(
                f"classifier is {classifier!r}; it must name the linear layer of teacher that gives the logits of "
                f"{classes} classes: {', '.join(linear) or 'it has none'}"
            )
        self.teacher, self.classifier, self.beta = teacher, name, beta
        self.shape = (classes, subclasses)
        self.add_module(SUBCLASSES, nn.Identity())

    def weight(self) -> Tensor:
        """W (C, D) of the classifier."""
        return cast("Tensor", self.teacher.get_submodule(self.classifier).weight).detach()

    def place(self, projector: Tensor, means: Tensor, directions: Tensor) -> None:
        """Set I − W⁺W (D, D), μ (C, D) and V / σ (C, S, D)."""
        own = self.weight()
        for name, value in (("projector", projector), ("means", means), ("directions", directions)):
            self.register_buffer(name, value.to(own))

    def embed(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """The teacher's logits (n, C), and h (n, D), which its classifier reads."""
        seen: list[Tensor] = []
        handle = self.teacher.get_submodule(self.classifier).register_forward_pre_hook(
            lambda _, given: seen.append(*given)
        )
        try:
            logits = self.teacher(inputs)
        finally:
            handle.remove()
        if len(seen) != 1 or seen[0].ndim != 2:
            raise ValueError(f"the classifier {self.classifier!r} did not read one embedding (n, D) per example")
        if logits.shape[1] == 1:  # one sigmoid logit: class 1 against class 0
            logits = torch.cat([torch.zeros_like(logits), logits], 1)
        return logits, seen[0]

    def subclass_logits(self, h: Tensor) -> Tensor:
        """Projections u, shape (n, C, S), of embeddings (n, D)."""
        return torch.einsum("ncd,csd->ncs", (h @ self.projector)[:, None] - self.means, self.directions)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (n, C)."""
        logits, h = self.embed(inputs)
        split = (self.subclass_logits(h) / self.beta).log_softmax(2)
        self.get_submodule(SUBCLASSES)((logits.log_softmax(1)[:, :, None] + split).flatten(1))
        return logits


class Summed(nn.Module):
    """A network of C·S outputs as a classifier of C: probabilities are summed over each class's subclasses.

    Parameters
    ----------
    network
        Its outputs are r (n, C·S); its layer here is ``network``, and r is what ``subclasses`` gives.
    subclasses
        S.
    """

    def __init__(self, network: nn.Module, subclasses: int) -> None:
        super().__init__()
        self.network, self.count = network, subclasses
        self.add_module(SUBCLASSES, nn.Identity())

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (n, C): log Σ_s exp r_{c,s}."""
        r = self.get_submodule(SUBCLASSES)(self.network(inputs))
        return torch.as_tensor(r.unflatten(1, (-1, self.count)).logsumexp(2))


def null_projector(W: Tensor) -> Tensor:
    """I − W⁺W (D, D) for a classifier's weights (C, D): what its decision does not read.

    The rows are centred first, since softmax does not see what all logits share; a single row, of a sigmoid, is taken
    as it is.

    Examples
    --------
    >>> null_projector(torch.tensor([[1.0, 1.0, 0.0], [-1.0, 1.0, 0.0]])).round()
    tensor([[0., 0., 0.],
            [0., 1., 0.],
            [0., 0., 1.]])
    """
    rows = W - W.mean(0) if len(W) > 1 else W
    return torch.eye(W.shape[1], dtype=W.dtype, device=W.device) - torch.linalg.pinv(rows, rtol=1e-6) @ rows


def orthogonal(columns: int, rows: int, generator: torch.Generator) -> Tensor:
    """`rows` ≤ `columns` random orthonormal rows, float64, evenly distributed."""
    Q, R = torch.linalg.qr(torch.randn(columns, rows, dtype=torch.float64, generator=generator))
    return (Q * R.diagonal().sign()).T
