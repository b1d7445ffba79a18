"""The exact flow: where the probability-flow ODE takes a state, by an adaptive solver, to judge samplers by.

    dx/dt = α̇ x̂₀ + σ̇ ε̂.   With y = x / (α + σ) and τ = σ / (α + σ), on every schedule:   dy/dτ = ε̂ − x̂₀,

the rectified flow's own form, in which neither end is singular. Solved in double precision by an explicit Runge–Kutta
rule of order 8 with error control (scipy's DOP853), all examples as one system. The clean end is reached by x̂₀ from
τ = 1e-6, where many a network's ε̂ still is defined: an error of the order of 1e-12.
"""

import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from workbench.diffusion.sampling.denoiser import Denoiser, Rescheduled
from workbench.diffusion.sampling.predictions import Prediction
from workbench.diffusion.sampling.schedules import RectifiedFlow, Schedule, along
from workbench.diffusion.sampling.schedules import schedule as schedule_of
from workbench.records import TargetTrajectories

NEARLY_CLEAN = 1e-6


class FlowError(RuntimeError):
    """The solver could not reach the tolerance."""


@torch.no_grad()
def trajectory(
    model: Denoiser,
    x: Tensor,
    times: Tensor,
    *,
    condition: Tensor | None = None,
    rtol: float = 1e-8,
    atol: float = 1e-8,
) -> Tensor:
    """The states that the exact flow goes through.

    Parameters
    ----------
    model
        Asked in the type of `x`.
    x
        States at the first time, shape (n, ...).
    times
        Falling or rising, in 0..1, shape (steps,), at least two.
    condition
        Class of each example, (n,).
    rtol, atol
        Tolerances of a step.

    Returns
    -------
    Tensor
        Float64, shape (steps, n, ...).

    Examples
    --------
    >>> from workbench.diffusion import ring
    >>> x = torch.tensor([[0.9, 0.3]], dtype=torch.float64)
    >>> there = trajectory(ring(), x, torch.tensor([0.6, 0.1]))[-1]
    >>> bool((trajectory(ring(), there, torch.tensor([0.1, 0.6]))[-1] - x).abs().max() < 1e-6)
    True
    """
    at = torch.as_tensor(times, dtype=torch.float64).cpu()
    model.schedule.check(at)
    if at.ndim != 1 or len(at) < 2 or not (bool((at.diff() < 0).all()) or bool((at.diff() > 0).all())):
        raise ValueError(f"times are {at.tolist()[:6]}; at least two are needed, falling or rising")
    straight = _straight(model)
    alpha, sigma = model.schedule.alpha(at), model.schedule.sigma(at)
    scale = alpha + sigma
    tau = sigma / scale

    def slope(now: float, y: object) -> object:
        state = torch.as_tensor(y, dtype=torch.float64).view(x.shape).to(x)
        x0, noise = straight(state, torch.tensor(now, dtype=torch.float64), condition)
        return (noise - x0).double().flatten().cpu().numpy()

    clean = at == 0
    if bool(clean[:-1].any()):
        raise ValueError("times begin at 0, where nothing tells noises apart; begin at a later time")
    tau = tau.where(~clean, NEARLY_CLEAN)
    start = (x.double() / scale[0]).flatten().cpu().numpy()
    solved = solve_ivp(
        slope, (float(tau[0]), float(tau[-1])), start, method="DOP853", t_eval=tau.numpy(), rtol=rtol, atol=atol
    )
    if not solved.success:
        raise FlowError(f"the flow could not be followed from time {float(at[0]):g}: {solved.message}")
    states = torch.from_numpy(solved.y.T).reshape(len(at), *x.shape).to(x.device)
    if bool(clean[-1]):
        states[-1] = straight(states[-1].to(x), tau[-1], condition).x0
    return states * scale.view(-1, *[1] * x.ndim).to(x.device)


def flow(
    model: Denoiser,
    x: Tensor,
    t: float | Tensor,
    s: float | Tensor = 0.0,
    *,
    condition: Tensor | None = None,
    rtol: float = 1e-8,
    atol: float = 1e-8,
) -> Tensor:
    """Φ_{t→s}(x): where the exact flow takes states from time t to time s; float64, shape of `x`, (n, ...)."""
    if float(t) == float(s):
        return x.double()
    ends = torch.tensor([float(t), float(s)], dtype=torch.float64)
    return trajectory(model, x, ends, condition=condition, rtol=rtol, atol=atol)[-1]


class FlowMap:
    """A perfect consistency function as a denoiser: what it believes is where the flow of `model` ends, Φ_{t→0}(x).

    By `steps` steps of Heun's rule, the last of Euler's, so that it can be asked often; `flow` is exact. Its diffusion
    target is constant along the flow, and one DDIM step from anywhere ends where the flow does (papers 044, 047, 071).
    """

    def __init__(self, model: Denoiser, steps: int = 30) -> None:
        if steps < 1:
            raise ValueError(f"steps is {steps}; at least 1")
        self.model = model
        self.steps = steps

    @property
    def schedule(self) -> Schedule:
        return self.model.schedule

    @property
    def shape(self) -> tuple[int, ...]:
        return self.model.shape

    @property
    def classes(self) -> int:
        return int(getattr(self.model, "classes", 0))

    def __call__(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Prediction:
        straight = _straight(self.model)
        alpha, sigma = self.schedule.alpha(t), self.schedule.sigma(t)
        y, tau = x / along(alpha + sigma, x), sigma / (alpha + sigma)
        width = along(tau / self.steps, y)
        for step in range(self.steps, 1, -1):
            slope = _slope(straight, y, tau * (step / self.steps), condition)
            ahead = y - width * slope
            y = y - width * (slope + _slope(straight, ahead, tau * ((step - 1) / self.steps), condition)) / 2
        y = straight(y, tau / self.steps, condition).x0
        return Prediction(y, (x - along(alpha, x) * y) / along(sigma, x))


def _slope(straight: Denoiser, y: Tensor, tau: Tensor, condition: Tensor | None) -> Tensor:
    x0, noise = straight(y, tau, condition)
    return noise - x0


def _straight(model: Denoiser) -> Denoiser:
    """The model on rectified flow."""
    return model if isinstance(model.schedule, RectifiedFlow) else Rescheduled(model, RectifiedFlow())


def step_errors(
    run: TargetTrajectories, model: Denoiser, *, rtol: float = 1e-6, atol: float = 1e-6
) -> dict[str, Tensor]:
    """How far a run is from the exact flow of a model: root mean squared distance over seeds, float64, (steps,) each.

    Parameters
    ----------
    run
        Recorded without stride, by a sampler that does not draw.
    model
        Whose flow is exact, on the run's schedule: the run's own model (then it is the sampler's error) or, for a
        student's run, the teacher.

    Returns
    -------
    dict
        ``"step"``: of each step alone, from its state to the next. ``"whole"``: of the state it leads to, from the
        state in which the run began.

    Raises
    ------
    ValueError
        The run was recorded with a stride, or on another schedule.
    """
    if model.schedule != schedule_of(run.schedule):
        raise ValueError(f"the run is on {run.schedule}, the model on {model.schedule}: wrap it in Rescheduled")
    if int(run.settings.get("stride", 1)) != 1:
        raise ValueError("the run was recorded with a stride; errors of single steps need every step")
    ends = run.times.tolist() + run.settings.get("times", [0.0])[-1:]
    after = torch.cat([run.states[1:], run.samples[None]]).double()
    condition = run.condition
    exact = trajectory(model, run.states[0], torch.tensor(ends), condition=condition, rtol=rtol, atol=atol)[1:]
    alone = _each_alone(model, run.states, torch.tensor(ends, dtype=torch.float64), condition, rtol, atol)
    return {
        name: (after - right).flatten(2).square().sum(2).mean(1).sqrt()
        for name, right in (("step", alone), ("whole", exact))
    }


def _each_alone(
    model: Denoiser, states: Tensor, at: Tensor, condition: Tensor | None, rtol: float, atol: float
) -> Tensor:
    """Where the exact flow takes each of `states`, (steps, n, ...), in its own step, between neighbours of `at`.

    All steps are one system over a common clock that runs from 0 to 1 while each τ goes its own way.
    """
    straight = _straight(model)
    alpha, sigma = model.schedule.alpha(at), model.schedule.sigma(at)
    scale = alpha + sigma
    tau = (sigma / scale).where(at > 0, NEARLY_CLEAN)
    count, shape = states.shape[1], states.shape[2:]
    start, width = tau[:-1].repeat_interleave(count), tau.diff().repeat_interleave(count)
    asked = None if condition is None else condition.repeat(len(states))

    def slope(now: float, y: object) -> object:
        state = torch.as_tensor(y, dtype=torch.float64).view(-1, *shape).to(states)
        x0, noise = straight(state, start + now * width, asked)
        return (along(width, state) * (noise - x0)).double().flatten().cpu().numpy()

    first = (states.double() / scale[:-1].view(-1, *[1] * (states.ndim - 1))).flatten().cpu().numpy()
    solved = solve_ivp(slope, (0.0, 1.0), first, method="DOP853", t_eval=[1.0], rtol=rtol, atol=atol)
    if not solved.success:
        raise FlowError(f"the flow of single steps could not be followed: {solved.message}")
    reached = torch.from_numpy(solved.y[:, -1]).reshape(states.shape).to(states.device)
    if float(at[-1]) == 0:
        reached[-1] = straight(reached[-1].to(states), tau[-1], condition).x0
    return reached * scale[1:].view(-1, *[1] * (states.ndim - 1)).to(reached)


def curvature(run: TargetTrajectories) -> Tensor:
    """How fast the direction of travel changes along a run, ‖d(ε̂ − x̂₀)/dτ‖ on rectified flow, float64, (steps,).

    The mean over seeds; 0 where the path is straight, on whatever schedule the run was made. A single step has none.
    """
    plan = schedule_of(run.schedule)
    alpha, sigma = plan.alpha(run.times), plan.sigma(run.times)
    shaped = (-1, *[1] * (run.states.ndim - 1))
    x, x0 = run.states.double(), run.targets.double()
    way = ((x - alpha.view(shaped) * x0) / sigma.view(shaped) - x0).flatten(2)
    tau = sigma / (alpha + sigma)
    if len(tau) == 1:
        return torch.zeros(1, dtype=torch.float64)
    turned = torch.gradient(way, spacing=(tau,), dim=0)[0]
    return turned.norm(dim=2).mean(1)
