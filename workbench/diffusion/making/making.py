"""A method of distillation at work: its networks, optimizers and curves; one iteration of it; its state as a record."""

import copy
import math
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from workbench.diffusion.making.run import DiffusionRun
from workbench.diffusion.sampling.denoiser import NetworkDenoiser
from workbench.models import lora
from workbench.records import DiffusionModel
from workbench.training import making
from workbench.training.iterating import NotFiniteError
from workbench.training.learner import copied
from workbench.training.making import Specified
from workbench.training.resuming import Identity


@runtime_checkable
class Distilling(Protocol):
    """A method: a frozen dataclass of the paper's hyperparameters.

    It may also be `Averaged`, `Clipped`, `Concluding`, or have a ``pace(run)``: see
    `workbench.training.making.Paced`.
    """

    short: ClassVar[str]

    @property
    def steps(self) -> int:
        """Iterations it takes by default."""

    def networks(self, run: DiffusionRun) -> dict[str, Any]:
        """What is trained: ``"student"``, a `NetworkDenoiser`, and others, such as ``"fake"``."""

    def optimizers(self, networks: dict[str, Any]) -> dict[str, torch.optim.Optimizer]:
        """One for each network."""

    def losses(self, run: DiffusionRun) -> Iterator[tuple[str, Tensor]]:
        """One iteration: each (name, loss) is followed by a step of that network; code after a yield sees it moved."""

    @property
    def sampling(self) -> dict[str, Any]:
        """How the student is used: ``"times"``, ``"sampler"`` and ``"sampling"``, the rule's parameters."""


@runtime_checkable
class Averaged(Protocol):
    """A method that gives back a moving average of the student's weights."""

    @property
    def decay(self) -> float:
        """Of the average; 0: the weights themselves."""


@runtime_checkable
class Clipped(Protocol):
    """A method that cuts gradients off."""

    @property
    def clip(self) -> float | None:
        """The greatest norm of a network's gradient; None: any."""


@runtime_checkable
class Concluding(Protocol):
    """A method with more to put into the record than the student."""

    def finish(self, run: DiffusionRun) -> Mapping[str, Any]:
        """Fields of `DiffusionModel` by name."""


class DistillationError(making.RunError):
    """A run that cannot go on. `record` holds the last sound state, or None when there is none."""

    record: DiffusionModel | None


class DiffusionMaking(making.Making[DiffusionRun, DiffusionModel]):
    """A method at work on its networks; parameters as for `workbench.training.making.Making`."""

    error = DistillationError
    can_go_on = "only a model as distill returned it can be continued, not one of a run that failed"
    alike = "method, data, teacher and seed"
    advice = "The last finite weights are kept in error.record; a lower learning rate usually helps"
    lengths = ("steps",)
    sources: ClassVar[Mapping[str, Identity]] = {
        "train_fingerprint": Identity("data", "other data", "its examples or labels differ from these"),
        "teacher_fingerprint": Identity(
            "teacher", "another teacher", "its weights, schedule or guidance differ from this one's"
        ),
    }

    def __init__(self, method: Distilling, run: DiffusionRun, fields: dict[str, Any], started: float) -> None:
        self.method = method
        run.networks = method.networks(run)
        if not isinstance(run.networks.get("student"), NetworkDenoiser):
            raise DistillationError(f"{method.short} makes {sorted(run.networks)}; a denoiser 'student' is needed")
        super().__init__(run, method.optimizers(run.networks), fields, started)
        self.parameters = {
            name: [p for group in one.param_groups for p in group["params"]] for name, one in self.optimizers.items()
        }
        self.decay = float(method.decay) if isinstance(method, Averaged) else 0.0
        self.clip = method.clip if isinstance(method, Clipped) else None
        self.average = copied(run.student.state_dict()) if self.decay else None
        self.curves: dict[str, list[float]] = {}
        self._losses: dict[str, float] = {}

    def check(self, record: DiffusionModel) -> None:
        if record.method != self.fields["method"]:
            raise DistillationError(
                f"resume was made by {record.method}, now it is {self.fields['method']}: continue with the same "
                f"{self.alike}"
            )
        super().check(record)

    def load(self, record: DiffusionModel) -> None:
        kept = record.checkpoint
        for name, network in self.run.networks.items():
            try:
                network.load_state_dict(kept["networks"][name])
            except (KeyError, RuntimeError) as error:
                raise DistillationError(
                    f"resume holds no {name} that fits this run's ({str(error).splitlines()[0]}): it was made with "
                    "another network"
                ) from None
        for name, optimizer in self.optimizers.items():
            making.unpack(optimizer, kept["optimizers"][name])
        self.average = copied(kept["average"], self.run.device) if self.decay else None
        self.curves = {name: curve.tolist() for name, curve in record.curves.items()}

    def iteration(self) -> float:
        """The student's loss; where one is not finite no network has made the step that it was for."""
        self.pace(self.method)
        losses: dict[str, list[Tensor]] = {}
        for name, loss in self.method.losses(self.run):
            self._step(name, loss)
            losses.setdefault(name, []).append(loss.detach())
        self._losses = {name: float(torch.stack(parts).sum()) for name, parts in losses.items()}
        return self._losses.get("student", math.nan)

    def note(self, loss: float) -> None:  # noqa: ARG002 - the student's is among those of all networks
        if self.average is not None:
            self._blend(self.average, self.run.student.state_dict())
        making.note(self.curves, self._losses | self.run.logged, self.done - 1)

    def so_far(self, *, interrupted: bool, broken: bool = False) -> DiffusionModel:
        student = copy.deepcopy(self.run.student)
        if self.average is not None:
            student.load_state_dict(self.average)
        if any(parametrize.is_parametrized(module) for module in student.modules()):
            student = lora.merged(student)
        fields = self.fields | {
            "network": student.network.spec if isinstance(student.network, Specified) else None,
            "state": copied(student.network.state_dict(), "cpu"),
            "kind": student.kind,
            "schedule": student.schedule.spec,
            "shape": student.shape,
            "curves": {name: torch.tensor(curve) for name, curve in self.curves.items()},
            "checkpoint": {} if broken else self.checkpoint(),
            "interrupted": interrupted,
            "provenance": self.provenance(),
            **self.method.sampling,
            **(self.method.finish(self.run) if isinstance(self.method, Concluding) else {}),
        }
        return DiffusionModel(**fields).with_network(student.network)

    def state(self) -> dict[str, Any]:
        return {
            "networks": {name: dict(one.state_dict()) for name, one in self.run.networks.items()},
            "optimizers": {name: making.packed(one) for name, one in self.optimizers.items()},
            "average": self.average or {},
        }

    def _step(self, name: str, loss: Tensor) -> None:
        """One step of a network down the gradient of its loss; the loss's other networks are left alone."""
        parameters = self.parameters[name]
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        there = [gradient for gradient in gradients if gradient is not None]
        size = torch.stack(torch._foreach_norm(there)).norm() if there else loss.new_zeros(())  # noqa: SLF001 - what torch's own clipping is made of
        if not math.isfinite(float(loss.detach() + size)):
            raise NotFiniteError(
                f"loss of the {name}" if not math.isfinite(float(loss.detach())) else f"{name}'s gradient"
            )
        if self.clip is not None and float(size) > self.clip:
            torch._foreach_mul_(there, self.clip / float(size))
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        self.optimizers[name].step()

    @torch.no_grad()
    def _blend(self, average: dict[str, Tensor], state: Mapping[str, Tensor]) -> None:
        # A constant decay remembers the start for long: early on the average is that of what there was so far.
        decay = min(self.decay, self.done / (self.done + 9))
        for name, value in state.items():
            if value.is_floating_point():
                average[name].lerp_(value.detach(), 1 - decay)
            else:
                average[name].copy_(value)


def adam(networks: Mapping[str, nn.Module], lr: float | Mapping[str, float], **options: Any) -> dict[str, Any]:
    """An Adam for each network, one pass over memory per step; `lr` for all or by name."""
    return {
        name: torch.optim.Adam(
            [p for p in network.parameters() if p.requires_grad],
            lr=lr if isinstance(lr, float | int) else lr[name],
            fused=True,
            **options,
        )
        for name, network in networks.items()
    }
