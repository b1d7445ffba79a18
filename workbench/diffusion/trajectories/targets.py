"""The instrument of paper 096: sample from a model and keep, at every step, what it believes the final image to be."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from workbench.diffusion.sampling.denoiser import Denoiser, Guided
from workbench.diffusion.sampling.rules import Rule, called, rule
from workbench.diffusion.sampling.sampling import redraws, sample
from workbench.records import Provenance, TargetTrajectories
from workbench.training.grouping import keep_memory


class Tape:
    """A recorder that keeps states and targets of every `stride`-th step of a run of `steps` steps.

    They are written once, to where the record will have them: nothing is kept alive to be stacked at the end, and
    nothing waits for the device. `watch` is told the number of each step before it is made.
    """

    def __init__(
        self,
        steps: int,
        stride: int = 1,
        dtype: torch.dtype | None = None,
        watch: Callable[[int], None] | None = None,
    ) -> None:
        if stride < 1:
            raise ValueError(f"stride is {stride}; it must be at least 1")
        self.steps = -(-steps // stride)
        self.stride = stride
        self.dtype = dtype
        self.watch = watch
        self.times: list[float] = []
        self._kept: tuple[Tensor, Tensor] | None = None

    def __call__(self, number: int, t: Tensor, x: Tensor, x0: Tensor, noise: Tensor) -> None:  # noqa: ARG002 - a `Recorder`
        if self.watch is not None:
            self.watch(number)
        if number % self.stride:
            return
        if self._kept is None:
            shape, dtype = (self.steps, *x.shape), self.dtype or x.dtype
            self._kept = x.new_empty(shape, dtype=dtype), x.new_empty(shape, dtype=dtype)
        for kept, value in zip(self._kept, (x, x0), strict=True):
            kept[len(self.times)] = value
        self.times.append(float(t))

    def recorded(self) -> dict[str, Tensor]:
        """`times`, `states` and `targets` as `TargetTrajectories` has them."""
        assert self._kept is not None
        states, targets = (kept[: len(self.times)].cpu() for kept in self._kept)
        return {"times": torch.tensor(self.times, dtype=torch.float64), "states": states, "targets": targets}


def target_trajectories(
    model: Denoiser,
    noise: Tensor,
    *,
    sampler: str | Rule = "ddim",
    steps: int | Tensor = 50,
    spacing: str = "time",
    condition: Tensor | None = None,
    guidance: float = 1.0,
    seed: int = 0,
    stride: int = 1,
    dtype: torch.dtype | None = None,
    name: str = "",
    role: str = "other",
    classes: Sequence[str] = (),
    mean: Tensor | None = None,
    std: Tensor | None = None,
    watch: Callable[[float], None] | None = None,
) -> TargetTrajectories:
    """Run a sampler and record the diffusion targets.

    Parameters
    ----------
    model, noise, sampler, steps, spacing, condition
        As for `workbench.diffusion.sample`.
    guidance
        Scale of classifier-free guidance; it is applied before anything is recorded. 1: none.
    seed
        Of what the sampler draws.
    stride
        Record every `stride`-th step.
    dtype
        Record in this type, such as ``torch.float16``; default: as the sampler has it.
    name, role, classes, mean, std
        For the record; see `TargetTrajectories`.
    watch
        Told before every step which share of them is made, 0..1; what it raises ends the run.

    Examples
    --------
    >>> from workbench.diffusion import ring
    >>> noise = torch.randn(64, 2, generator=torch.Generator().manual_seed(0))
    >>> run = target_trajectories(ring(), noise, steps=20, name="ring")
    >>> bool(run.commitment[0] < 0.55) and bool((run.commitment[-1] - 1).abs() < 1e-6)
    True
    """
    started = time.perf_counter()
    chosen = rule(sampler)
    asked = Guided(model, guidance) if guidance != 1 else model
    times = model.schedule.grid(steps, spacing) if isinstance(steps, int) else steps
    count = len(times) - 1
    keep_memory()  # recordings of a few MiB would otherwise be given back and asked for again, page by page
    tape = Tape(count, stride, dtype, None if watch is None else lambda number: watch(number / count))
    samples = sample(
        asked,
        noise,
        sampler=chosen,
        steps=times,
        condition=condition,
        generator=redraws(seed, noise.device),
        record=tape,
    )
    settings: dict[str, Any] = {
        "steps": count,
        "spacing": spacing if isinstance(steps, int) else "",
        "times": times.tolist(),
        "seed": seed,
        "stride": stride,
    }
    return TargetTrajectories(
        name=name,
        role=role,
        **tape.recorded(),
        samples=samples.cpu(),
        noise=noise.cpu(),
        condition=None if condition is None else condition.expand(len(noise)).cpu(),
        classes=tuple(classes),
        schedule=model.schedule.spec,
        sampler=called(chosen),
        guidance=float(guidance),
        calls=count * chosen.calls,
        mean=mean,
        std=std,
        settings=settings,
        provenance=Provenance.capture(seed=seed, device=noise.device, started=started),
    )
