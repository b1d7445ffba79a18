"""Deep mutual learning: networks that train together teach each other, with no teacher before them.

    L = Σ_k [ CE(y, z_k) + 1 / (K − 1) Σ_{j≠k} KL(softmax(z_j) ‖ softmax(z_k)) ]

where z_j, teaching, has no gradient. Zhang et al. 2018 (Eq. 4 and 8); paper 037's online scheme. The networks are
trained as one (`Peers`): their parameters are disjoint and each teacher's side is detached, so that one optimizer over
all does what one for each would do.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from workbench.analysis.calibration import calibration
from workbench.data import Dataset, Split
from workbench.kernels import divergence
from workbench.knowledge.making.distill import distill
from workbench.models import Outputs
from workbench.records import TrainingRecord
from workbench.signals.cross_entropy import CrossEntropy
from workbench.signals.features import select
from workbench.signals.numbers import at_least_zero, positive
from workbench.signals.signal import Signal
from workbench.training.evaluating import logits_of, score

PEERS = "networks.*"


class Peers(nn.Module):
    """Networks side by side as one; its logits are the first one's, and layer ``networks.k`` gives those of network k.

    A signal that names the layers ``"networks.*"`` sees all logits, and ``"networks.1.stage2"`` a layer of the second.
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        if len(networks) < 2:
            raise ValueError(f"networks has {len(networks)} members; learning from each other takes at least two")
        self.networks = nn.ModuleList(networks)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (n, classes) of the first network; all networks run."""
        return [network(inputs) for network in self.networks][0]  # noqa: RUF015 - the others are observed

    def first(self) -> nn.Module:
        """The network whose logits these are."""
        return self.networks[0]


@dataclass(frozen=True)
class Mutual(Signal):
    """Mutual learning among `Peers`.

    Attributes
    ----------
    temperature
        T > 0, with the factor T² on the divergences; the paper's 1.
    weight
        Of the divergences beside the labels; 0: networks that train alone.

    Examples
    --------
    Equal networks have nothing to teach each other; what is left is each one's cross-entropy:

    >>> import torch
    >>> from workbench.models import Outputs
    >>> even = torch.zeros(1, 4)
    >>> twins = Outputs(even, {"networks.0": even, "networks.1": even})
    >>> Mutual()(twins, None, torch.tensor([0])) / 2
    tensor([1.3863])
    """

    temperature: float = 1.0
    weight: float = 1.0
    needs_teacher: ClassVar[bool] = False
    complete: ClassVar[bool] = True

    def __post_init__(self) -> None:
        positive(temperature=self.temperature)
        at_least_zero(weight=self.weight)

    @property
    def student_layers(self) -> tuple[str, ...]:
        return (PEERS,)

    def __call__(self, student: Outputs, teacher: Outputs | None, labels: Tensor) -> Tensor:
        """Per-example loss, the sum over networks, shape (n,)."""
        T = self.temperature
        logits = select(student.features, (PEERS,))
        loss = torch.zeros_like(logits[0][:, 0])
        for k, z_k in enumerate(logits):
            others = [z_j.detach() for j, z_j in enumerate(logits) if j != k]
            taught = sum(
                divergence.forward_kl(z_k, z_j, student_temperature=T, teacher_temperature=T) for z_j in others
            ) / len(others)
            loss = loss + CrossEntropy()(Outputs(z_k), teacher, labels) + self.weight * T**2 * taught
        return loss


def train_together(
    networks: Sequence[nn.Module], data: Dataset, signal: Signal | None = None, *, name: str = "peer", **options: Any
) -> list[TrainingRecord]:
    """Train several networks at once under a signal among them.

    Parameters
    ----------
    networks
        Two or more, of any architectures over the same classes; trained in place.
    data
        What they see: the same batches.
    signal
        Over `Peers`; default `Mutual`.
    name
        Records are called ``"<name> k"``.
    options
        As for `workbench.training.fit`.

    Returns
    -------
    list of TrainingRecord
        One per network, with its own accuracy, calibration and test curves; ``train_loss`` is the signal's, over all.

    Examples
    --------
    >>> import workbench as wb
    >>> data = wb.data.load("digits").subset(200)
    >>> pair = [wb.models.build("mlp", data, width=width, seed=width) for width in (8, 16)]
    >>> [record.name for record in train_together(pair, data, steps=5, progress=False)]
    ['peer 0', 'peer 1']
    """
    wanted = options.pop("snapshots", 0)
    together = Peers(networks)
    # The run's own curves follow the first network; the snapshots give each network its own.
    whole = distill(None, together, data, signal or Mutual(), snapshots="all", name=name, **options)
    return [
        _record_of(k, network, whole, data.test, keep_snapshots=bool(wanted), name=f"{name} {k}")
        for k, network in enumerate(together.networks)
    ]


def _record_of(
    k: int, network: nn.Module, whole: TrainingRecord, test: Split, *, keep_snapshots: bool, name: str
) -> TrainingRecord:
    """The record of network k out of that of all together."""
    prefix = f"networks.{k}."
    stacks = {key.removeprefix(prefix): stack for key, stack in whole.snapshots.items() if key.startswith(prefix)}
    scored = copy.deepcopy(network).cpu().eval()
    split = test.to("cpu")
    logits = []
    for index, epoch in enumerate(whole.snapshot_epochs):
        if epoch:
            scored.load_state_dict({key: stack[index] for key, stack in stacks.items()})
            logits.append(logits_of(scored, split.inputs))
    scores = score(torch.stack(logits), split.labels.expand(len(logits), -1), len(split.classes))
    shared = ("train_loss", "learning_rate")
    curves: dict[str, Tensor] = {key: whole.curves[key] for key in shared if key in whole.curves}
    curves["test_loss"] = scores.loss
    if scores.accuracy is not None:
        curves["test_accuracy"] = scores.accuracy
    return whole.replace(
        name=name,
        curves=curves,
        per_class_accuracy=scores.per_class,
        calibration=calibration(logits[-1], split.labels) if split.classes else None,
        state={key.removeprefix(prefix): value for key, value in whole.state.items() if key.startswith(prefix)},
        spec=getattr(network, "spec", None),
        snapshots=stacks if keep_snapshots else {},
        snapshot_epochs=whole.snapshot_epochs if keep_snapshots else (),
        checkpoint={},
    ).with_model(network)
