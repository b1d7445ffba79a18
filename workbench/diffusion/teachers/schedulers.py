"""Schedulers of the `diffusers` library: their table of noise as a schedule, their steps as a rule and times."""

from typing import Any

import torch
from torch import Tensor

from workbench.diffusion.sampling.rules import DDIM, DPMSolver, Euler, Heun, Rule
from workbench.diffusion.sampling.schedules import VE, RectifiedFlow, Schedule
from workbench.diffusion.sampling.tabulated import Tabulated

KINDS = {"epsilon": "noise", "sample": "x0", "v_prediction": "v"}
"""What `diffusers` calls the kinds of predictions."""

SAME: dict[str, Rule] = {
    "DDIMScheduler": DDIM(),
    "EulerDiscreteScheduler": DDIM(),
    "HeunDiscreteScheduler": Heun(over="noise"),
    "DPMSolverMultistepScheduler": DPMSolver(),
    "EDMEulerScheduler": Euler(),
    "EDMDPMSolverMultistepScheduler": DPMSolver(),
    "FlowMatchEulerDiscreteScheduler": Euler(),
    "FlowMatchHeunDiscreteScheduler": Heun(),
}
"""Which rule makes the steps of which scheduler, with the options of `PLAIN`."""

TWICE = ("HeunDiscreteScheduler", "FlowMatchHeunDiscreteScheduler")

PLAIN: dict[str, Any] = {
    "clip_sample": False, "thresholding": False, "algorithm_type": "dpmsolver++", "solver_order": 2,
    "solver_type": "midpoint", "euler_at_final": False, "stochastic_sampling": False, "use_lu_lambdas": False,
}  # fmt: skip
"""Options under which the rules make a scheduler's steps."""


def times(scheduler: Any, steps: int) -> Tensor:
    """The grid that a scheduler of `diffusers` would make steps on, as times for `sample`: float64, (steps + 1,).

    Where the scheduler ends before all noise is gone, so does the grid; a last step from a time to itself is left out.

    Raises
    ------
    ValueError
        The grid does not fall, the scheduler steps to other times than it visits next or asks the network about other
        times than its steps begin at, or it is of an unknown kind.
    """
    schedule, *_ = read(scheduler)
    name, config = type(scheduler).__name__, scheduler.config
    scheduler.set_timesteps(steps)
    visited = scheduler.timesteps.double().cpu()
    if name in TWICE:  # every time but the first is visited at the end of one step and at the beginning of the next
        visited = torch.cat([visited[:1], visited[1::2]])
    if isinstance(schedule, RectifiedFlow):
        grid = visited / config.num_train_timesteps
    elif isinstance(schedule, VE):
        grid = torch.exp(4 * visited) / schedule.largest
    else:
        grid = (visited + 1) / config.num_train_timesteps
    grid = grid.clamp(max=1)
    if name == "DDIMScheduler" and not torch.equal(visited[1:], visited[:-1] - config.num_train_timesteps // steps):
        raise ValueError(
            f"DDIMScheduler with timestep_spacing={config.timestep_spacing!r} and {steps} steps goes to other times "
            "than it visits next: use 'trailing' or 'leading' and a number of steps that divides "
            f"{config.num_train_timesteps}"
        )
    levels = getattr(scheduler, "sigmas", None)
    if levels is not None and len(levels) in (len(grid) + 1, 2 * len(grid)):
        noise = levels.double().cpu()
        noise = torch.cat([noise[:1], noise[1:-1:2], noise[-1:]]) if len(noise) == 2 * len(grid) else noise
        ratio = schedule.sigma(grid) / (1 if isinstance(schedule, RectifiedFlow) else schedule.alpha(grid))
        if not torch.allclose(ratio, noise[:-1], rtol=1e-4, atol=1e-6):
            raise ValueError(
                f"{name} tells the network other (rounded) times than its steps begin at, as with "
                "use_karras_sigmas=True: use the plain spacing, or an EulerDiscreteScheduler, which does not round"
            )
    grid = torch.cat([grid, _end(scheduler, schedule)])
    if len(grid) > 2 and grid[-1] == grid[-2]:
        grid = grid[:-1]
    if not bool((grid.diff() < 0).all()):
        raise ValueError(f"{name} visits a time more than once; ours go down at every step")
    return grid


def sampling(scheduler: Any, steps: int) -> dict[str, Any]:
    """What a scheduler of `diffusers` does, as arguments of `sample` and `target_trajectories`: rule and times.

    Raises
    ------
    ValueError
        No rule does the same; what would is named, or that there is none.

    Examples
    --------
    As the pipeline itself would sample, but recorded::

        run = target_trajectories(from_diffusers(pipeline), noise, **sampling(pipeline.scheduler, 50))
    """
    name, config = type(scheduler).__name__, scheduler.config
    if name not in SAME:
        raise ValueError(f"{name} makes steps that no rule here makes; there are {', '.join(sorted(SAME))}")
    for option, plain in PLAIN.items():
        if (value := getattr(config, option, plain)) not in (plain, None):
            raise ValueError(f"{name} has {option}={value!r}, which no rule here does; pass {option}={plain!r}")
    return {"sampler": SAME[name], "steps": times(scheduler, steps)}


def _end(scheduler: Any, schedule: Schedule) -> Tensor:
    """The time at which a scheduler stops, (1,)."""
    last = getattr(scheduler, "final_alpha_cumprod", None)
    level = None if last is None else ((1 - last.double()) / last.double()).sqrt().cpu()
    if level is None and getattr(scheduler, "sigmas", None) is not None:
        level = scheduler.sigmas[-1].double().cpu()
    if level is None or float(level) == 0:
        return torch.zeros(1, dtype=torch.float64)
    if isinstance(schedule, RectifiedFlow):
        return level.view(1)
    if isinstance(schedule, Tabulated):
        level = level.clamp_min(float(schedule.sigma(first := _first(schedule)) / schedule.alpha(first)))
    return schedule.time(-level.log()).view(1)


def _first(schedule: Tabulated) -> Tensor:
    return torch.tensor(1 / len(schedule.alphas), dtype=torch.float64)


def read(scheduler: Any) -> tuple[Schedule, str, float | None, float]:
    """Schedule, kind of prediction, and of EDM's frame σ_data and the sign of the output."""
    config = scheduler.config
    if hasattr(config, "sigma_data") and hasattr(config, "prediction_type"):
        if config.prediction_type not in ("epsilon", "v_prediction"):
            raise ValueError(
                f"prediction_type is {config.prediction_type!r}; in EDM's frame 'epsilon' or 'v_prediction'"
            )
        return VE(config.sigma_max), "x0", config.sigma_data, 1.0 if config.prediction_type == "epsilon" else -1.0
    table = getattr(scheduler, "alphas_cumprod", None)
    flow = getattr(config, "prediction_type", "") == "flow_prediction"
    if "FlowMatch" in type(scheduler).__name__ or (flow and getattr(config, "use_flow_sigmas", False)):
        return RectifiedFlow(), "velocity", None, 1.0
    if flow:
        raise ValueError("prediction_type is 'flow_prediction' without use_flow_sigmas=True: it has no times of flow")
    if table is None:
        raise ValueError(
            f"{type(scheduler).__name__} has no table alphas_cumprod and is none for flow matching: only such "
            "schedulers, and EDM's, can be read"
        )
    if config.prediction_type not in KINDS:
        raise ValueError(f"prediction_type is {config.prediction_type!r}; it can be {', '.join(KINDS)}")
    return Tabulated(_alphas(table, config.prediction_type)), KINDS[config.prediction_type], None, 1.0


def _alphas(table: Tensor, prediction: str) -> tuple[float, ...]:
    """ᾱ of a scheduler as they are, but for a last one of exactly 0 (zero terminal SNR), of which λ is infinite."""
    alphas = table.double()
    if float(alphas[-1]) == 0:
        if prediction == "epsilon":
            raise ValueError(
                "prediction_type is 'epsilon' where the last ᾱ is 0 (rescale_betas_zero_snr=True): pure noise says "
                "nothing of the image then; such networks predict 'v_prediction' or 'sample'"
            )
        alphas[-1] = min(2.0**-48, float(alphas[-2]) / 4)
    return tuple(alphas.tolist())
