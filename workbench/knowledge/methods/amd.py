"""AMD: which assistant should stand between a large teacher and a small student, found in one run instead of many.

1. Candidates M_j of every scale S_j (share of the teacher's parameters) are nested prunings of the teacher: each keeps
   the units of the largest importance I = E |∂L/∂ξ|, ξ a mask of the unit's output at 1.
2. They are trained together on one set of weights: min Σ_j L(M_j),
       L(M) = CE(y, M) + λ₁ T² KL(p_T ‖ p_M) + λ₂ ‖φ_T − A φ_M‖² / d.
3. The assistant is the one of the largest negative performance–scale derivative, less a price on scale,
       NPSD_j = −(P_t − P_j) / (S_t − S_j),      argmax_j NPSD_j − λ S_j,      S_j ≤ 0.9 S_t.
   On a concave curve P(S) the quotient alone (λ = 0) always takes the largest candidate, on a convex one the smallest.
4. Teacher → assistant → student by the same loss, both beginning as they were pruned.

Paper 102 (Automatic Multi-step Distillation, ECCV 2024). From a large network, through predictions by way of one
assistant pruned from it, into a much smaller one. λ and the formula of NPSD are inferred; here units are neurons.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workbench import models
from workbench.data import Dataset, Split
from workbench.kernels import divergence
from workbench.knowledge.methods.teacher_assistant import assistants
from workbench.models.mlp import MLP
from workbench.records import TrainingRecord
from workbench.signals.cross_entropy import CrossEntropy
from workbench.signals.hint import Hint
from workbench.signals.kl import KL
from workbench.signals.numbers import at_least_zero, number, positive
from workbench.signals.signal import Signal
from workbench.training import distributed, evaluate
from workbench.training.evaluating import placed

GRID = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
LARGEST = 0.9
"""Of the teacher's scale: nearer to it the quotient is noise over next to nothing."""


def mask_gradients(network: MLP, inputs: Tensor, labels: Tensor) -> list[Tensor]:
    """∂L_i/∂ξ_u of every example and unit, one tensor (n, units) per hidden layer; L_i cross-entropy, ξ_u a mask at 1.

    Summed over examples it is ⟨w_u, ∇_{w_u} L⟩, w_u the unit's outgoing weights.
    """
    h, seen = network.flatten(inputs), []
    for layer in network.hidden:
        h = layer(h)
        xi = torch.ones_like(h, requires_grad=True)
        h = h * xi
        seen.append(xi)
    loss = F.cross_entropy(network.head(h), labels, reduction="sum")
    return list(torch.autograd.grad(loss, seen))


def importances(network: MLP, split: Split) -> list[Tensor]:
    """I = E |∂L/∂ξ| of every unit, (units,) per hidden layer, on the split."""
    inputs, labels = placed(split, network)
    return [gradient.abs().mean(0) for gradient in mask_gradients(network, inputs, labels)]


class Nested(nn.Module):
    """The teacher's weights with its units in order of importance, so that a candidate is a prefix of every layer.

    Parameters
    ----------
    teacher
        A trained perceptron of the workbench; it stays as it is.
    split
        Labelled examples, on which importance is measured.
    """

    def __init__(self, teacher: nn.Module, split: Split) -> None:
        super().__init__()
        if not isinstance(teacher, MLP):
            raise ValueError(  # noqa: TRY004 - one error for all arguments
                f"teacher is a {type(teacher).__name__}; the units of a perceptron are pruned here: build('mlp', …)"
            )
        found = importances(teacher, split)
        self.spec_of_teacher: dict[str, Any] = dict(teacher.spec)  # type: ignore[arg-type]
        self.activations = nn.ModuleList(layer[1] for layer in teacher.hidden)  # type: ignore[index]
        orders = [each.argsort(descending=True, stable=True) for each in found]
        linear = [layer[0] for layer in teacher.hidden] + [teacher.head]  # type: ignore[index]
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for i, layer in enumerate(linear):
            weight, bias = layer.weight.detach(), layer.bias.detach()
            if i < len(orders):
                weight, bias = weight[orders[i]], bias[orders[i]]
            if i:
                weight = weight[:, orders[i - 1]]
            self.weights.append(nn.Parameter(weight.clone()))
            self.biases.append(nn.Parameter(bias.clone()))
        self.sizes = [len(order) for order in orders]
        d = self.sizes[-1]
        self.A = nn.Parameter(torch.eye(d).to(self.weights[0]))
        # one order over all layers, each layer's importance relative to its mean
        relative = torch.cat([(each / each.mean().clamp(min=1e-30)).sort(descending=True).values for each in found])
        layer_of = torch.cat([torch.full((size,), i) for i, size in enumerate(self.sizes)])
        self.order = layer_of[relative.cpu().argsort(descending=True, stable=True)].tolist()

    def parameters_at(self, widths: Sequence[int]) -> int:
        """Parameters of the candidate of these widths, as a network by itself."""
        sizes = [self.weights[0].shape[1], *widths, len(self.biases[-1])]
        return sum((a + 1) * b for a, b in pairwise(sizes))

    def widths_at(self, scale: float) -> tuple[int, ...]:
        """The most important units that fit within `scale` of the teacher's parameters; one in each layer at least."""
        number("scale", scale, lambda s: 0 < s <= 1, "a share of the teacher's parameters, above 0 and up to 1")
        most = scale * self.parameters_at(self.sizes)
        widths, first = [1] * len(self.sizes), set(range(len(self.sizes)))
        for layer in self.order:
            if layer in first:  # the one that every layer keeps
                first.remove(layer)
                continue
            more = [w + (i == layer) for i, w in enumerate(widths)]
            if self.parameters_at(more) > most:
                break
            widths = more
        return tuple(widths)

    def forward(self, x: Tensor, widths: Sequence[int] | None = None) -> tuple[Tensor, Tensor]:
        """Logits (n, classes) and penultimate features (n, last width) of a candidate; None: of the whole."""
        h, before = x.flatten(1), self.weights[0].shape[1]
        for i, width in enumerate(self.sizes if widths is None else widths):
            h = self.activations[i](F.linear(h, self.weights[i][:width, :before], self.biases[i][:width]))
            before = width
        return F.linear(h, self.weights[-1][:, :before], self.biases[-1]), h

    def sliced(self, widths: Sequence[int]) -> MLP:
        """The candidate as a network by itself."""
        spec = self.spec_of_teacher
        options = {k: v for k, v in spec["options"].items() if k not in ("width", "depth")}
        made = models.build("mlp", (spec["shape"], len(self.biases[-1])), width=list(widths), **options)
        made = made.to(self.weights[0])
        assert isinstance(made, MLP)
        before = self.weights[0].shape[1]
        with torch.no_grad():
            for i, layer in enumerate([*(layer[0] for layer in made.hidden), made.head]):  # type: ignore[index]
                rows = len(layer.bias)
                layer.weight.copy_(self.weights[i][:rows, :before])
                layer.bias.copy_(self.biases[i][:rows])
                before = rows
        return made

    def losses(
        self, x: Tensor, labels: Tensor, z_T: Tensor, phi_T: Tensor, widths: Sequence[int], settings: "AMD"
    ) -> Tensor:
        """L(M) of one candidate, mean over the batch; the teacher's logits and features without gradient."""
        z, phi = self(x, widths)
        T = settings.temperature
        told = divergence.forward_kl(z, z_T, student_temperature=T, teacher_temperature=T).mean()
        mimicked = (phi_T - F.linear(phi, self.A[:, : phi.shape[1]])).square().mean()
        return F.cross_entropy(z, labels) + settings.lambda_1 * T**2 * told + settings.lambda_2 * mimicked


@dataclass(frozen=True)
class AMD:
    """Settings of the three-part loss, of the joint run and of the selection.

    Attributes
    ----------
    lambda_1, lambda_2, temperature
        λ₁, λ₂ ≥ 0 and T > 0 of the loss.
    scales
        Of the candidates, ascending, the student's first; shares of the teacher's parameters.
    price
        λ of the selection; None: half the drop in performance from teacher to student over that in scale.
    steps, batch_size, lr
        Of the joint run. Each step trains the smallest and the largest candidate and two between them, drawn anew.
    """

    lambda_1: float = 1.0
    lambda_2: float = 1.0
    temperature: float = 4.0
    scales: tuple[float, ...] = GRID
    price: float | None = None
    steps: int = 600
    batch_size: int = 64
    lr: float = 1e-3

    def __post_init__(self) -> None:
        at_least_zero(lambda_1=self.lambda_1, lambda_2=self.lambda_2)
        positive(temperature=self.temperature, steps=self.steps, batch_size=self.batch_size, lr=self.lr)
        if len(self.scales) < 2 or list(self.scales) != sorted(set(self.scales)) or not self.scales[0] > 0:
            raise ValueError(f"scales is {self.scales}; it must ascend from above 0, the student's first")
        if self.scales[-1] > LARGEST:
            raise ValueError(f"scales ends at {self.scales[-1]}; an assistant has at most {LARGEST} of the teacher's")

    def signal(self, layer: str, teacher_layer: str) -> Signal:
        """The three-part loss as a signal, for pairs of networks by themselves."""
        return CrossEntropy() + self.lambda_1 * KL(self.temperature) + self.lambda_2 * Hint(layer, teacher_layer)


def npsd(performance: Tensor, scales: Tensor, P_t: float, S_t: float = 1.0) -> Tensor:
    """−(P_t − P_j) / (S_t − S_j), shape (candidates,).

    Examples
    --------
    >>> npsd(torch.tensor([0.5, 0.8]), torch.tensor([0.1, 0.5]), P_t=0.9)
    tensor([-0.4444, -0.2000])
    """
    if not bool((scales < S_t).all()):
        raise ValueError(
            f"scales go up to {float(scales.max()):g}; a candidate must be smaller than the teacher, {S_t:g}"
        )
    return -(P_t - performance) / (S_t - scales)


def choose(performance: Tensor, scales: Tensor, P_t: float, price: float | None = None) -> int:
    """Which candidate becomes the assistant: argmax NPSD_j − λ S_j. The first is the student, and is no assistant."""
    if price is None:
        price = max(0.0, 0.5 * (P_t - float(performance[0])) / (1 - float(scales[0])))
    score = npsd(performance, scales, P_t) - price * scales
    return 1 + int(score[1:].argmax())


@dataclass(frozen=True)
class MultiStep:
    """What `auto_multistep` leaves behind: the curve, the choice, and the two networks."""

    nested: Nested
    widths: tuple[tuple[int, ...], ...]
    scales: Tensor
    performance: Tensor
    teacher_performance: float
    chosen: int
    assistant: TrainingRecord
    student: TrainingRecord
    npsd: Tensor = field(repr=False)


def train_jointly(
    nested: Nested, train: Split, candidates: Sequence[Sequence[int]], settings: AMD, seed: int = 0
) -> None:
    """Step 2: the joint run, in place; smallest, largest and two candidates between them at every step."""
    draws = torch.Generator().manual_seed(seed)
    inputs, labels = placed(train, nested)
    with torch.no_grad():
        z_T, phi_T = Nested.forward(nested, inputs)  # before training the whole of it is the teacher
    optimizer = torch.optim.Adam(nested.parameters(), settings.lr)
    between = list(range(1, len(candidates) - 1))
    for _ in range(settings.steps):
        rows = torch.randint(len(inputs), (settings.batch_size,), generator=draws).to(inputs.device)
        drawn = torch.randperm(len(between), generator=draws)[:2].tolist()
        optimizer.zero_grad()
        joint = [
            nested.losses(inputs[rows], labels[rows], z_T[rows], phi_T[rows], candidates[j], settings)
            for j in (0, *(between[i] for i in drawn), len(candidates) - 1)
        ]
        torch.stack(joint).sum().backward()
        optimizer.step()


def auto_multistep(
    teacher: nn.Module | TrainingRecord,
    data: Dataset,
    validation: Split,
    settings: AMD | None = None,
    *,
    seed: int = 0,
    device: str = "auto",
    **options: Any,
) -> MultiStep:
    """Teacher → the assistant that pays best → student.

    Parameters
    ----------
    teacher
        A trained perceptron, or the record of one.
    data
        Trains candidates, assistant and student.
    validation
        Performance of the candidates, on examples that train none of them: else the selection is optimistic.
    settings
        See `AMD`.
    seed
        Of the draws.
    options
        Of the last two distillations, as for `workbench.knowledge.distill`.

    Examples
    --------
    >>> import workbench as wb
    >>> data = wb.data.load("digits").subset(300)
    >>> teacher = wb.training.fit(wb.models.build("mlp", data, width=32), data, epochs=2, progress=False)
    >>> found = auto_multistep(teacher, data, data.test, AMD(steps=5), steps=5, progress=False)
    >>> found.chosen > 0, found.student.model.hidden[0][0].out_features < 32
    (True, True)
    """
    wanted = settings or AMD()
    network = teacher.model if isinstance(teacher, TrainingRecord) else teacher
    place = distributed.pick(device)
    network = network.to(place)
    nested = Nested(network, data.train).to(place)
    widths = tuple(nested.widths_at(scale) for scale in wanted.scales)
    whole = nested.parameters_at(nested.sizes)
    scales = torch.tensor([nested.parameters_at(each) / whole for each in widths], dtype=torch.float64)
    train_jointly(nested, data.train, widths, wanted, seed)
    sliced = [nested.sliced(each) for each in widths]
    performance = torch.tensor([evaluate(each, validation)["accuracy"] for each in sliced], dtype=torch.float64)
    P_t = evaluate(network, validation)["accuracy"]
    chosen = choose(performance, scales, P_t, wanted.price)
    chain = assistants(
        network, [sliced[chosen], sliced[0]], data, wanted.signal(sliced[0].penultimate, network.penultimate),  # type: ignore[arg-type]
        seed=seed, device=device, **options,
    )  # fmt: skip
    return MultiStep(
        nested, widths, scales, performance, P_t, chosen, chain[0], chain[1], npsd(performance, scales, P_t)
    )
