"""D-ODE solvers: a coarse solver learns one number per network call, so that it lands where a fine one does.

    O_i = D_i + λ_i (D_i − D_{i−1});   x_{i+1} = solver(x_i, O_i) = solver(x_i, D_i) + λ̃_i (D_i − D_{i−1}),   λ̃ = κ λ

Paper 093 (Kim, Tang, Yu 2024), with the authors' fit: D is the network's output (ε̂ or x̂₀), κ the solver's coefficient
on it, and λ̃_i = ⟨Δ, r⟩ / ⟨Δ, Δ⟩ over a whole batch, Δ = D_i − D_{i−1}, r = what the state lacks to the fine solver's;
one call after the other, each from the corrected state. No network is trained. λ_i = h_i / 2h_{i−1} would be
Adams–Bashforth's second order (`adams_bashforth`): D-ODE is a two-step method whose weights are fitted.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from workbench.diffusion.sampling.denoiser import Denoiser
from workbench.diffusion.sampling.multistep import DEIS, IPNDM
from workbench.diffusion.sampling.predictions import Prediction, read, write
from workbench.diffusion.sampling.sampling import DDIM, DPMSolver, Euler, Heun, Rule, SamplingError, Step, rule, sample
from workbench.diffusion.sampling.schedules import Schedule, along
from workbench.diffusion.sampling.singlestep import DPMSolver2
from workbench.records import DistilledSolver, Provenance

Advance = Callable[[Step, Sequence[Prediction]], Tensor]
"""The state after a stage, given the step and what the network said at the stages up to this one."""

SOLVERS: dict[str, Rule] = {
    "ddim": DDIM(), "euler": Euler(), "heun": Heun(), "dpm-solver++": DPMSolver(), "dpm-solver-2": DPMSolver2(),
    "ipndm": IPNDM(), "deis": DEIS(),
}  # fmt: skip
"""What can be distilled: deterministic, and linear in the network's output."""

KINDS = {
    "ddim": "noise", "euler": "x0", "heun": "x0", "dpm-solver++": "x0", "dpm-solver-2": "noise",
    "ipndm": "noise", "deis": "noise",
}  # fmt: skip
"""The output that is mixed unless another is asked for."""

TITLES = {
    "ddim": "D-DDIM", "euler": "D-Euler", "heun": "D-EDM", "dpm-solver++": "D-DPM-Solver++(2M)",
    "dpm-solver-2": "D-DPM-Solver-2", "ipndm": "D-iPNDM", "deis": "D-DEIS",
}  # fmt: skip


@dataclass(frozen=True)
class DODE:
    """A distilled solver as a rule for `sample`; all λ̃ = 0: the solver that was distilled, bit for bit."""

    solver: DistilledSolver

    @property
    def calls(self) -> int:
        return SOLVERS[self.solver.base].calls

    def __repr__(self) -> str:
        return self.solver.name or TITLES[self.solver.base]

    def __call__(self, step: Step) -> Tensor:
        solver, number = self.solver, step.number
        asked = torch.stack((step.t, step.s))
        if number >= solver.steps or float((solver.times[number : number + 2] - asked).abs().max()) > 1e-9:
            raise SamplingError(
                f"step {number + 1} from time {float(step.t):.4g} to {float(step.s):.4g} is not one this solver was "
                f"fitted for: pass its own times, steps=solver.times "
                f"({', '.join(f'{time:.4g}' for time in solver.times.tolist())})"
            )
        weights = solver.weights[number].tolist()
        return _advance(step, solver.base, solver.kind, lambda stage, *_: weights[stage], first=solver.first)


def distill_solver(
    model: Denoiser,
    noise: Tensor,
    *,
    solver: str = "ddim",
    steps: int | Tensor = 5,
    spacing: str = "time",
    refine: int = 10,
    teacher: str | Rule | None = None,
    kind: str | None = None,
    first: bool = False,
    condition: Tensor | None = None,
    name: str = "",
) -> DistilledSolver:
    """Fit a coarse solver to a fine one.

    Parameters
    ----------
    model
        The diffusion model that both ask; `Guided` for guidance.
    noise
        The batch of the fit, standard normal, shape (n, ...); about 100 are enough.
    solver
        A name in `SOLVERS`: ``"ddim"``; ``"euler"`` and ``"heun"`` (EDM's, on its schedule `VE`); ``"dpm-solver++"``
        (2M); ``"dpm-solver-2"``; ``"ipndm"`` and ``"deis"``, which remember three outputs besides.
    steps, spacing
        The coarse grid, as for `sample`.
    refine
        C: the teacher makes C steps per network call of the solver, on a grid that holds every time the solver visits.
    teacher
        What makes the fine steps; default: the solver itself; for ``"heun"`` Euler, as in the authors' code.
    kind
        The output that is mixed: ``"noise"``, ``"x0"``, ``"velocity"`` or ``"v"``; default: as in the authors' code.
    first
        Fit the first call too, with the state as the output before it, as the authors' code does for ε̂. A good model
        says ε̂ ≈ x of pure noise, so that there is next to nothing to mix and λ̃ explodes, though harmlessly.
    condition
        Class of each example, (n,).
    name
        For the record.

    Returns
    -------
    DistilledSolver
        Use it by ``sample(model, noise, sampler=DODE(fitted), steps=fitted.times)``.

    Raises
    ------
    ValueError
        The solver cannot be distilled, `refine` is under 1, or `first` goes with another output than ε̂.
    SamplingError
        As `sample`.

    Examples
    --------
    >>> from workbench.diffusion import VPLinear, ring
    >>> model = ring(schedule=VPLinear())
    >>> noise = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
    >>> fitted = distill_solver(model, noise[:100], steps=4)
    >>> exact = sample(model, noise[100:], sampler="heun", steps=200)
    >>> coarse, distilled = (
    ...     sample(model, noise[100:], sampler=one, steps=fitted.times) for one in ("ddim", DODE(fitted))
    ... )
    >>> bool((distilled - exact).norm() < 0.75 * (coarse - exact).norm())
    True
    """
    started = time.perf_counter()
    base = _known(solver)
    mixed = KINDS[solver] if kind is None else kind
    if refine < 1:
        raise ValueError(f"refine is {refine}; the teacher makes at least 1 step per call")
    if first and mixed != "noise":
        raise ValueError(
            f"first=True takes the state for the output before, which is none of kind {mixed!r}; use 'noise'"
        )
    times = model.schedule.grid(steps, spacing) if isinstance(steps, int) else steps.to(torch.float64).cpu()
    fine = rule(teacher) if teacher is not None else Euler() if solver == "heun" else base
    fit = _Fit(solver, mixed, _targets(model, noise, times, solver, refine, fine, condition), first=first)
    sample(model, noise, sampler=fit, steps=times, condition=condition)
    weights, moments = fit.found(len(times) - 1)
    return DistilledSolver(
        name=name or TITLES[solver],
        base=solver,
        kind=mixed,
        first=first,
        times=times,
        weights=weights,
        gains=gains(solver, times, model.schedule, mixed),
        moments=moments,
        settings={"refine": refine, "spacing": spacing, "examples": len(noise), "teacher": repr(fine)},
        provenance=Provenance.capture(seed=0, device=noise.device, started=started),
    )


def multistep(
    schedule: Schedule, times: Tensor, mixes: Tensor, *, solver: str = "ddim", kind: str | None = None, name: str = ""
) -> DistilledSolver:
    """A solver whose mixes λ are given instead of fitted, shape (steps,) or (steps, stages)."""
    _known(solver)
    mixed = KINDS[solver] if kind is None else kind
    factors = gains(solver, times, schedule, mixed)
    wanted = mixes.to(factors).reshape(len(times) - 1, -1)
    weights = torch.where(wanted == 0, 0.0, factors * wanted)
    return DistilledSolver(
        name=name,
        base=solver,
        kind=mixed,
        times=times,
        weights=weights,
        gains=factors,
        moments=weights.new_zeros(*weights.shape, 3),
    )


def adams_bashforth(schedule: Schedule, times: Tensor, kind: str = "noise") -> DistilledSolver:
    """Adams–Bashforth's second order on DDIM's variable, begun by a DDIM step; on ε̂ this is iPNDM of order 2.

    λ_i = h_i / (2 h_{i−1}), where h is the step in the variable in which DDIM is Euler's method on the output of this
    kind: σ/α for ``"noise"``, α/σ for ``"x0"`` (whose last step, to σ = 0, has λ = 0), t for ``"velocity"`` on
    rectified flow.
    """
    alpha, sigma = schedule.alpha(times), schedule.sigma(times)
    variable = {"noise": sigma / alpha, "x0": alpha / sigma, "velocity": times}
    if kind not in variable:
        raise ValueError(f"kind is {kind!r}; it can be {', '.join(variable)}")
    h = variable[kind].diff()
    mixes = torch.zeros_like(h)
    mixes[1:] = h[1:] / (2 * h[:-1])
    mixes = torch.where(mixes.isfinite(), mixes, 0.0)
    return multistep(schedule, times, mixes, kind=kind, name="Adams–Bashforth 2")


def stages(solver: str, t: Tensor, s: Tensor, schedule: Schedule) -> list[tuple[Tensor, Advance]]:
    """The stages of a solver's step from t to s: the time each arrives at, and how."""
    base = SOLVERS[solver]
    if isinstance(base, Heun) and float(s) != 0:
        return [(s, lambda step, _: Euler()(step)), (s, _heun)]
    if isinstance(base, DPMSolver2):
        between = base.between(t, s, schedule)
        if between is not None:
            return [
                (between, lambda step, _: step.jump(to=between)),
                (s, lambda step, said: base.second(step, said[1])),
            ]
    return [(s, lambda step, _: base(step))]


def gains(solver: str, times: Tensor, schedule: Schedule, kind: str) -> Tensor:
    """κ: how far one unit of a stage's output moves the state, float64, shape (steps, stages); 0: no such stage."""
    found = torch.zeros(len(times) - 1, SOLVERS[solver].calls, dtype=torch.float64)
    zero, one = torch.zeros(1, 1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)
    nothing, memory = Prediction(zero, zero), dict[str, Any]()
    for number, (t, s) in enumerate(pairwise(times)):
        past = (nothing, times[number - 1]) if number else None
        at, said = t, list[Prediction]()
        for stage, (arrived, advance) in enumerate(stages(solver, t, s, schedule)):
            unit = read(one, kind, zero, at, schedule)
            # Linear in state and outputs: with all else zero, the state is what one unit of this output does.
            now = said[0] if said else unit
            step = Step(number, t, s, zero, now, past, _silent, schedule, zero.clone, dict(memory))
            found[number, stage] = advance(step, [*said, unit])
            said.append(nothing)
            at = arrived
        _silenced(solver, Step(number, t, s, zero, nothing, past, _silent, schedule, zero.clone, memory))
    return found


def _silenced(solver: str, step: Step) -> None:
    """A rule that remembers outputs sees one that is zero, so that those after it are told its own coefficient."""
    if isinstance(SOLVERS[solver], IPNDM | DEIS):
        SOLVERS[solver](step)


def _advance(
    step: Step,
    solver: str,
    kind: str,
    choose: Callable[[int, Tensor, Tensor, Tensor], float],
    *,
    first: bool,
) -> Tensor:
    """A step of the solver, stage by stage; `choose` says λ̃ of each from its number, Δ, D and the state it reached."""
    x, at, said = step.x, step.t, list[Prediction]()
    before = step.memory.get("output", step.x if first and step.number == 0 else None)
    for stage, (arrived, advance) in enumerate(stages(solver, step.t, step.s, step.schedule)):
        said.append(step.ask(x, at) if said else step.now)
        x = advance(step, said)
        output = write(said[-1], kind, at, step.schedule)
        if before is not None:
            change = output - before
            weight = choose(stage, change, output, x)
            if weight != 0:
                x = x + weight * change
        before, at = output, arrived
    step.memory["output"] = before
    return x


class _Fit:
    """A rule that fits λ̃ to targets as it goes, and goes on from the corrected state."""

    def __init__(self, solver: str, kind: str, targets: list[list[Tensor]], *, first: bool) -> None:
        self.solver, self.kind, self.targets, self.first = solver, kind, targets, first
        self.calls = SOLVERS[solver].calls
        self.rows: list[tuple[int, int, float, tuple[float, float, float]]] = []

    def __call__(self, step: Step) -> Tensor:
        def choose(stage: int, change: Tensor, output: Tensor, x: Tensor) -> float:
            delta, lacking = change.double(), self.targets[step.number][stage].double() - x.double()
            squared, cross, rest = (
                (a * b).mean().item() for a, b in ((delta, delta), (delta, lacking), (lacking, lacking))
            )
            # Nothing but rounding has changed: any λ̃ would do, and the quotient would be 0/0.
            least = (100 * torch.finfo(output.dtype).eps) ** 2 * output.double().square().mean().item()
            weight = cross / squared if squared > least else 0.0
            self.rows.append((step.number, stage, weight, (squared, cross, rest)))
            return weight

        return _advance(step, self.solver, self.kind, choose, first=self.first)

    def found(self, steps: int) -> tuple[Tensor, Tensor]:
        weights = torch.zeros(steps, self.calls, dtype=torch.float64)
        moments = torch.zeros(steps, self.calls, 3, dtype=torch.float64)
        for number, stage, weight, these in self.rows:
            weights[number, stage] = weight
            moments[number, stage] = torch.tensor(these, dtype=torch.float64)
        return weights, moments


def _targets(
    model: Denoiser, noise: Tensor, times: Tensor, solver: str, refine: int, teacher: Rule, condition: Tensor | None
) -> list[list[Tensor]]:
    """The fine solver's states at the times that the stages of each step arrive at."""
    fine, wanted = [times[:1]], list[list[int]]()
    for t, s in pairwise(times):
        arrivals = [arrived for arrived, _ in stages(solver, t, s, model.schedule)]
        nodes = sorted({float(arrived) for arrived in arrivals}, reverse=True)
        substeps = refine * len(arrivals) // len(nodes)
        begin, place = t, dict[float, int]()
        for node in nodes:
            end = torch.tensor(node, dtype=torch.float64)
            part = begin + (end - begin) * torch.linspace(0, 1, substeps + 1, dtype=torch.float64)[1:]
            part[-1] = end
            fine.append(part)
            place[node] = sum(map(len, fine)) - 1
            begin = end
        wanted.append([place[float(arrived)] for arrived in arrivals])
    needed = {index for indices in wanted for index in indices}
    kept: dict[int, Tensor] = {}

    def record(number: int, t: Tensor, x: Tensor, x0: Tensor, said: Tensor) -> None:  # noqa: ARG001 - a `Recorder`
        if number in needed:
            kept[number] = x

    grid = torch.cat(fine)
    kept[len(grid) - 1] = sample(model, noise, sampler=teacher, steps=grid, condition=condition, record=record)
    return [[kept[index] for index in indices] for indices in wanted]


def _heun(step: Step, said: Sequence[Prediction]) -> Tensor:
    velocities = [write(one, "velocity", at, step.schedule) for one, at in zip(said, (step.t, step.s), strict=True)]
    return step.x + along(step.s - step.t, step.x) * (velocities[0] + velocities[1]) / 2


def _silent(x: Tensor, t: Tensor) -> Prediction:  # noqa: ARG001 - in place of a model that is never asked
    raise AssertionError("a stage's own advance does not ask the network")


def _known(solver: str) -> Rule:
    if solver not in SOLVERS:
        raise ValueError(f"solver is {solver!r}; what can be distilled is {', '.join(SOLVERS)}")
    return SOLVERS[solver]
