"""What a student starts from: a network with weights that stand, or a fresh one, as a denoiser like its teacher."""

import copy
from typing import Any, Protocol, runtime_checkable

from torch import nn

from workbench import models
from workbench.diffusion.making.signal import SignalDenoiser
from workbench.diffusion.sampling import schedules
from workbench.diffusion.sampling.denoiser import Denoiser, Guided, NetworkDenoiser, Rescheduled
from workbench.records import DiffusionModel
from workbench.training.making import Specified


@runtime_checkable
class Classed(Protocol):
    """A model that can be asked for classes."""

    @property
    def classes(self) -> int:
        """How many; 0: none."""


Network = str | nn.Module | DiffusionModel | None


def denoiser(record: DiffusionModel, network: nn.Module | None = None) -> NetworkDenoiser:
    """The model in a record, in eval mode and without gradients: a `Denoiser` to sample from.

    Parameters
    ----------
    network
        Of a record that was opened from a file and holds a network of the user's own: one of the same architecture,
        with any weights. For a student of a `diffusers` pipeline, what `from_diffusers` gives for the pipeline. It is
        copied. Not needed for a network that `workbench.models.build` made.

    Raises
    ------
    TypeError
        It is needed, and there is none; or it is no module.
    ValueError
        The record's weights do not fit into it: the message names one.

    Examples
    --------
    >>> import torch, workbench as wb
    >>> student = wb.diffusion.distill(wb.diffusion.ring(), wb.diffusion.Regression(), steps=1, progress=False)
    >>> denoiser(student)(torch.zeros(5, 2), torch.tensor(0.5)).x0.shape
    torch.Size([5, 2])
    """
    schedule = schedules.schedule(record.schedule)
    kind = SignalDenoiser if record.kind.startswith("signal") else NetworkDenoiser
    if network is not None and not isinstance(network, nn.Module):
        raise TypeError(f"network is a {type(network).__name__}; it must be a module, or what from_diffusers gives")
    own = network.network if isinstance(network, NetworkDenoiser) else network
    made = kind(record.build(own), schedule, record.shape, record.kind, len(record.classes))
    return made.eval().requires_grad_(False)


def classes_of(model: Denoiser) -> int:
    """Number of classes that a model can be asked for; 0: none."""
    return int(model.classes) if isinstance(model, Classed) else 0


def standing(network: Network, teacher: Denoiser) -> NetworkDenoiser | None:
    """A network whose weights stand: one chosen with its weights, or by default the teacher's own; else None.

    Raises
    ------
    ValueError
        It does not fit the teacher.
    """
    if isinstance(network, DiffusionModel):
        return _fitting(denoiser(network), teacher)
    if isinstance(network, NetworkDenoiser):
        return _fitting(network, teacher)
    bottom: Any = teacher
    while isinstance(bottom, Guided | Rescheduled):
        bottom = bottom.model
    own = network is None and isinstance(bottom, NetworkDenoiser) and bottom.schedule == teacher.schedule
    return bottom if own else None


def fresh(like: Denoiser, network: str | nn.Module | None = None, *, kind: str = "velocity", seed: int = 0) -> Any:
    """A network by name with fresh weights, or a module with those it has, as a `NetworkDenoiser` like another model.

    By default points get ``"denoiser-mlp"`` and images ``"unet"``.
    """
    classes = classes_of(like)
    if network is None:
        network = "unet" if len(like.shape) == 3 else "denoiser-mlp"
    built = models.build(network, (like.shape, classes), seed=seed) if isinstance(network, str) else network
    if isinstance(network, nn.Module):
        built = copy.deepcopy(network)
        if isinstance(network, Specified) and network.spec is not None:
            built.spec = network.spec  # type: ignore[assignment]  # a plain attribute, not foreseen by nn.Module's stubs
    return NetworkDenoiser(built, like.schedule, like.shape, kind, classes)


def _fitting(start: NetworkDenoiser, teacher: Denoiser) -> NetworkDenoiser:
    if tuple(start.shape) != tuple(teacher.shape) or start.schedule != teacher.schedule:
        raise ValueError(
            f"network is of examples {tuple(start.shape)} on {start.schedule}; the teacher is of "
            f"{tuple(teacher.shape)} on {teacher.schedule}: start from one like it, or wrap the teacher in Rescheduled"
        )
    classes = classes_of(teacher)
    if start.classes != classes:
        raise ValueError(f"network knows {start.classes} classes, the teacher {classes}")
    return start
