"""`compress`: a network whose weights lie on a few levels, trained or not, as its method says.

A network is copied, quantisers are placed on its tensors, `workbench.training.fit` trains what the method trains, and
the quantised values are put in place: what comes out is a plain network that `workbench.models` can rebuild.
"""

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from workbench.compression.judging.size import Size, size
from workbench.compression.making.placing import chosen, deploy, place, placed
from workbench.data import Dataset
from workbench.records import TrainingRecord
from workbench.signals.signal import Bound, Signal
from workbench.training import Ensemble, Guide, fit


class Method(Protocol):
    """How a network is compressed."""

    @property
    def trains(self) -> str:
        """``"weights"`` behind the quantisers, their ``"levels"``, or nothing: ``""``."""

    @property
    def tensors(self) -> str:
        """Which parameters, as `placing.chosen` takes it."""

    @property
    def keep(self) -> tuple[str, ...]:
        """Which of them not."""

    def quantisers(self, tensors: list[Tensor]) -> list[nn.Module]:
        """One per tensor."""


@dataclass(frozen=True)
class NesterovSGD:
    """SGD with Nesterov's momentum and weight decay, as the paper's code trains."""

    lr: float = 1e-3
    momentum: float = 0.9
    weight_decay: float = 2.2e-4

    def __call__(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.SGD(
            parameters, lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay, nesterov=True
        )


def compress(
    student: nn.Module,
    data: Dataset,
    method: Method,
    *,
    teacher: nn.Module | TrainingRecord | None = None,
    seed: int = 0,
    **options: Any,
) -> TrainingRecord:
    """Compress a network.

    Parameters
    ----------
    student
        Trained already for `PM` and `DQ`; for `QD` a fresh or a trained one. It stays as it is.
    data
        With classes.
    method
        `QD`, `DQ` or `PM`.
    teacher
        Its soft labels are the signal; None: the labels alone.
    seed
        Of the batches.
    options
        As for `workbench.training.fit`: ``steps`` or ``epochs``, ``lr``, ``batch_size``, ``device``, …. The optimizer
        is by default the paper's, `NesterovSGD`, without weight decay for levels.

    Returns
    -------
    TrainingRecord
        ``record.model`` has the quantised weights; ``record.settings["bits"]`` is its size (`size`).

    Raises
    ------
    ValueError
        Names the argument, what it was and what would do.

    Examples
    --------
    >>> import workbench as wb
    >>> from workbench.compression import QD
    >>> data = wb.data.load("digits").subset(100)
    >>> teacher, student = wb.models.build("mlp", data, seed=1), wb.models.build("mlp", data, width=8)
    >>> record = compress(student, data, QD(bits=1, bucket=None), teacher=teacher, steps=5, progress=False)
    >>> record.model.head.weight.unique().numel()
    2
    """
    network = _placed(student, method)
    guide, loss = _told(teacher, method)
    if not method.trains:
        options = {"progress": False} | options | {"epochs": 0, "steps": None}
    record = fit(network, data, loss=loss, guide=guide, seed=seed, **_optimised(method, options))
    return _deployed(record, method)


def compress_many(
    students: Sequence[nn.Module],
    data: Any,
    method: Method,
    *,
    teacher: nn.Module | TrainingRecord | None = None,
    seeds: Sequence[int] | None = None,
    **options: Any,
) -> list[TrainingRecord]:
    """`compress` for students of one architecture, trained as one `workbench.training.Ensemble`.

    Parameters
    ----------
    students
        They stay as they are.
    data
        One `Dataset` for all, or one each, of equal size.
    seeds
        One each; default 0, 1, 2, ….

    The other parameters are those of `compress`.
    """
    networks = [_placed(student, method) for student in students]
    guide, loss = _told(teacher, method)
    if not method.trains:
        options = {"progress": False} | options | {"epochs": 0, "steps": None}
    ensemble = Ensemble(networks)
    records = ensemble.fit(data, loss=loss, guide=guide, seeds=seeds, **_optimised(method, options))
    return [_deployed(record, method) for record in records]


def gradient_norms(student: nn.Module, data: Dataset, method: Method, *, batch: int = 256) -> list[float]:
    """Norm of the cross-entropy's gradient with respect to each tensor that `method` quantises, on one batch, for
    `allocate`.

    Parameters
    ----------
    student
        Trained; it stays as it is.
    batch
        Training examples, from the first on.
    """
    network = copy.deepcopy(student).eval()
    own = dict(network.named_parameters())
    tensors = [own[name].requires_grad_() for name in chosen(network, method.tensors, method.keep)]
    some = data.train.take(slice(0, batch)).to(tensors[0].device, tensors[0].dtype)
    loss = nn.functional.cross_entropy(network(some.inputs), some.labels)
    return [float(gradient.norm()) for gradient in torch.autograd.grad(loss, tensors)]


def _placed(student: nn.Module, method: Method) -> nn.Module:
    """A copy with quantisers, of which only that requires a gradient which the method trains."""
    network = copy.deepcopy(student)
    if hasattr(student, "spec"):
        network.spec = student.spec
    names = chosen(network, method.tensors, method.keep)
    own = dict(network.named_parameters())
    quantisers = method.quantisers([own[name].detach() for name in names])
    network.requires_grad_(method.trains != "levels")
    place(network, names, quantisers)
    return network


def _told(teacher: nn.Module | TrainingRecord | None, method: Method) -> tuple[Guide | None, Bound | None]:
    if not method.trains:
        return None, None
    loss: Signal = method.loss(taught=teacher is not None)  # type: ignore[attr-defined]  # methods that train have one
    network = teacher.model if isinstance(teacher, TrainingRecord) else teacher
    return None if network is None else Guide(network), Bound(loss)


def _optimised(method: Method, options: dict[str, Any]) -> dict[str, Any]:
    """The options with the paper's optimizer, where they name none."""
    if "optimizer" in options:
        return options
    decay = 0.0 if method.trains == "levels" else 2.2e-4
    lr = options.get("lr", 1e-5 if method.trains == "levels" else 1e-3)
    made = NesterovSGD(lr, options.get("momentum", 0.9), options.get("weight_decay", decay))
    return options | {"lr": lr, "optimizer": made}


def _deployed(record: TrainingRecord, method: Method) -> TrainingRecord:
    network = record.model
    found: Size = size(network)
    tensors = len(list(placed(network)))
    deploy(network)
    state = {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}
    settings = record.settings | {
        "method": repr(method),
        "tensors quantised": tensors,
        "bits": found.bits,
        "Huffman bits": found.huffman,
        "full bits": found.full,
    }
    return record.replace(state=state, snapshots={}, checkpoint={}, settings=settings).with_model(network)
