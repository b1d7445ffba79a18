"""A method of distillation at work: its networks, optimizers and curves; one iteration of it; its state as a record."""

import copy
import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from workbench.diffusion.making.run import Run
from workbench.diffusion.sampling.denoiser import NetworkDenoiser
from workbench.models import lora
from workbench.records import DiffusionModel, Provenance
from workbench.training.iterating import NotFiniteError, changed_setting
from workbench.training.learner import copied


@runtime_checkable
class Distilling(Protocol):
    """A method: a frozen dataclass of the paper's hyperparameters.

    Further attributes it may have: `decay`, of the moving average of the student's weights that is kept (0, the
    default: none); ``pace(run) -> float``, by which learning rates are multiplied in this iteration;
    ``finish(run) -> dict``, fields that the record shall have.
    """

    short: ClassVar[str]

    @property
    def steps(self) -> int:
        """Iterations it takes by default."""

    def networks(self, run: Run) -> dict[str, Any]:
        """What is trained: ``"student"``, a `NetworkDenoiser`, and others, such as ``"fake"``."""

    def optimizers(self, networks: dict[str, Any]) -> dict[str, torch.optim.Optimizer]:
        """One for each network."""

    def losses(self, run: Run) -> Iterator[tuple[str, Tensor]]:
        """One iteration: each (name, loss) is followed by a step of that network; code after a yield sees it moved."""

    @property
    def sampling(self) -> dict[str, Any]:
        """How the student is used: ``"times"``, ``"sampler"`` and ``"sampling"``, the rule's parameters."""


class DistillationError(ValueError):
    """A run that cannot go on. `record` holds the last sound state, or None when there is none."""

    def __init__(self, message: str, record: DiffusionModel | None = None) -> None:
        super().__init__(message)
        self.record = record


class Making:
    """A method under way.

    Parameters
    ----------
    method, run
        What runs, on what.
    fields
        Fields of the record that stand from the beginning, among them ``settings``.
    started
        The ``time.perf_counter()`` at which the run began.

    Attributes
    ----------
    done
        Iterations completed.
    """

    def __init__(self, method: Distilling, run: Run, fields: dict[str, Any], started: float) -> None:
        self.method, self.run, self.fields, self.started = method, run, fields, started
        run.networks = method.networks(run)
        if not isinstance(run.networks.get("student"), NetworkDenoiser):
            raise DistillationError(f"{method.short} makes {sorted(run.networks)}; a denoiser 'student' is needed")
        self.optimizers = method.optimizers(run.networks)
        self.parameters = {
            name: [p for group in one.param_groups for p in group["params"]] for name, one in self.optimizers.items()
        }
        self._rates = {name: [group["lr"] for group in one.param_groups] for name, one in self.optimizers.items()}
        self.decay = float(getattr(method, "decay", 0.0))
        self.average = copied(run.student.state_dict()) if self.decay else None
        self.curves: dict[str, list[float]] = {}
        self.done = 0
        self._before = 0.0

    def resume(self, record: DiffusionModel) -> None:
        """Set everything to where `record` ended.

        Raises
        ------
        DistillationError
            The record is of another run, or cannot be continued.
        """
        if not record.checkpoint:
            raise DistillationError(
                f"resume={record.name!r} has no checkpoint: only a model as distill returned it can be continued, not "
                "one of a run that failed"
            )
        settings = self.fields["settings"]
        if changed := changed_setting(record.settings, settings, but="steps"):
            raise DistillationError(f"{changed}: continue with the same method, teacher and seed")
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
            numbered = {int(key): copied(value) for key, value in kept["optimizers"][name].items()}
            optimizer.load_state_dict({**optimizer.state_dict(), "state": numbered})
        device = self.run.device
        self.average = copied(kept["average"], device) if self.decay else None
        self.run.memory = copied(kept["memory"], device)
        self.curves = {name: curve.tolist() for name, curve in record.curves.items()}
        self.done = int(kept["iteration"])
        self._before = record.provenance.wall_time

    def advance(self) -> float:
        """One iteration; returns the student's loss.

        Raises
        ------
        NotFiniteError
            A loss or gradient was not finite. No network has made the step that it was for.
        """
        run = self.run
        run.iteration, run.logged = self.done, {}
        self._pace()
        losses: dict[str, list[Tensor]] = {}
        for name, loss in self.method.losses(run):
            self._step(name, loss)
            losses.setdefault(name, []).append(loss.detach())
        self.done += 1
        if self.average is not None:
            self._blend(self.average, run.student.state_dict())
        values = {name: float(torch.stack(parts).sum()) for name, parts in losses.items()} | run.logged
        for name in values.keys() | self.curves.keys():
            curve = self.curves.setdefault(name, [math.nan] * (self.done - 1))
            curve.append(values.get(name, math.nan))
        return values.get("student", math.nan)

    def record(self, *, interrupted: bool = False, broken: bool = False) -> DiffusionModel:
        """The state as a record; of a run that broke within an iteration, without what continuing it would need."""
        student = copy.deepcopy(self.run.student)
        if self.average is not None:
            student.load_state_dict(self.average)
        if any(parametrize.is_parametrized(module) for module in student.modules()):
            student = lora.merged(student)
        made = Provenance.capture(seed=self.run.seed, device=self.run.device, started=self.started)
        finish = getattr(self.method, "finish", None)
        fields = self.fields | {
            "network": getattr(student.network, "spec", None),
            "state": copied(student.network.state_dict(), "cpu"),
            "kind": student.kind,
            "schedule": student.schedule.spec,
            "shape": student.shape,
            "curves": {name: torch.tensor(curve) for name, curve in self.curves.items()},
            "checkpoint": {} if broken else self._checkpoint(),
            "interrupted": interrupted,
            "provenance": dataclasses.replace(made, wall_time=self._before + made.wall_time),
            **self.method.sampling,
            **({} if finish is None else finish(self.run)),
        }
        return DiffusionModel(**fields).with_network(student.network)

    def _pace(self) -> None:
        pace = getattr(self.method, "pace", None)
        if pace is None:
            return
        factor = pace(self.run)
        for name, optimizer in self.optimizers.items():
            for group, rate in zip(optimizer.param_groups, self._rates[name], strict=True):
                group["lr"] = factor * rate

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
        clip = getattr(self.method, "clip", None)
        if clip is not None and float(size) > clip:
            torch._foreach_mul_(there, clip / float(size))
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

    def _checkpoint(self) -> dict[str, Any]:
        return {
            "iteration": self.done,
            "networks": {name: copied(dict(one.state_dict()), "cpu") for name, one in self.run.networks.items()},
            "optimizers": {
                name: {str(key): copied(value, "cpu") for key, value in one.state_dict()["state"].items()}
                for name, one in self.optimizers.items()
            },
            "average": {} if self.average is None else copied(self.average, "cpu"),
            "memory": copied(self.run.memory, "cpu"),
        }


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
