"""Sampling beside diffusers' schedulers on one exact teacher; what recording costs; a few-step student of the ring."""

import time
from statistics import median
from typing import Any

import torch
from timing import seconds
from torch import Tensor

import workbench as wb
from workbench.diffusion import GaussianMixture, VPLinear, ring, sample
from workbench.diffusion.sampling.sampling import redraws
from workbench.diffusion.trajectories.targets import Tape

THREADS = 2
SEEDS, STEPS, DIMENSIONS = 1_000, 50, 64


def rows(quick: bool = False) -> list[dict]:
    torch.set_num_threads(THREADS)
    rounds = 3 if quick else 15
    found = []
    size = f"{SEEDS:,} seeds × {STEPS} steps × {DIMENSIONS}-D"
    for name, scheduler, ours in schedulers():
        apart, mine, theirs = beside(scheduler, ours, rounds)
        found += [
            row(
                f"{name}, {size} ring: difference to diffusers' samples, root mean square",
                float(apart.square().mean().sqrt()),
                "",
                at_most=1e-5,
            ),
            row(f"{name}, {size} ring: the largest of a coordinate", float(apart.abs().max()), ""),
            row(f"{name}, {size} ring: diffusers' time over ours", theirs / mine, "×"),
        ]
    plain, recorded = recording(rounds)
    found += [
        row(f"target trajectories, {size} ring, exact", recorded, "s", at_most=1.5),
        row(f"recording them, {size}: share added to sampling", recorded / plain - 1, "", at_most=0.1),
    ]
    taken, paired, distance, floor = student(quick)
    found += [
        row("ring8: a network fitted, then a 4-step student of it (TDD)", taken, "s", at_most=40.0),
        row("ring8: RMS distance of its samples to the exact ends of the same noise", paired, "", at_most=0.17),
        row("ring8: sliced Wasserstein distance of its samples", distance, ""),
        row("ring8: the same between two sets of the teacher's own", floor, ""),
    ]
    return found


def row(name: str, value: Any, unit: str, at_most: float | None = None) -> dict:
    return {
        "name": name,
        "value": value,
        "unit": unit,
        "target": "" if at_most is None else f"≤ {at_most:g}",
        "met": None if at_most is None else bool(value <= at_most),
    }


def schedulers() -> list[tuple[str, Any, str]]:
    """DDIM and DPM-Solver++(2M) of diffusers, on its linear betas, and the names of ours."""
    from diffusers import DDIMScheduler, DPMSolverMultistepScheduler

    linear = {"beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear"}
    # Its DDIM steps down by 1000 / steps wherever it is, so only its default spacing leads from one time to the next.
    ddim = DDIMScheduler(**linear, clip_sample=False, set_alpha_to_one=True)
    multistep = DPMSolverMultistepScheduler(
        **linear, algorithm_type="dpmsolver++", solver_order=2, final_sigmas_type="zero", timestep_spacing="linspace"
    )
    return [("DDIM", ddim, "ddim"), ("DPM-Solver++(2M)", multistep, "dpm-solver++")]


def teacher() -> GaussianMixture:
    return ring(dimensions=DIMENSIONS, schedule=VPLinear(most=20.5))  # reaches the noise of their last step


def noise() -> Tensor:
    return torch.randn(SEEDS, DIMENSIONS, generator=torch.Generator().manual_seed(0))


def beside(scheduler: Any, rule: str, rounds: int) -> tuple[Tensor, float, float]:
    """Differences of samples, and median seconds of ours and theirs, in turn, from the same noise.

    The differences are those in double precision: in single, x̂₀ from ε̂ loses three digits where α is small, as theirs
    must go and ours need not. Its DPM-Solver++ keeps the state in single precision whatever it is given.
    """
    model, start = teacher(), noise()
    scheduler.set_timesteps(STEPS)
    kept = scheduler.alphas_cumprod[scheduler.timesteps].double()
    times = model.schedule.time((kept / (1 - kept)).log() / 2)  # of the same noise level
    grid = torch.cat([times, torch.zeros(1, dtype=torch.float64)])
    scale = model.schedule.sigma(times[0])  # ours multiplies by σ, theirs takes the noise as it is

    def mine(model: GaussianMixture = model, start: Tensor = start) -> Tensor:
        return sample(model, start / scale.to(start), sampler=rule, steps=grid)

    @torch.no_grad()
    def theirs(model: GaussianMixture = model, x: Tensor = start) -> Tensor:
        scheduler.set_timesteps(STEPS)
        if x.dtype == torch.float64 and hasattr(scheduler, "sigmas"):  # which it rounds to single precision
            scheduler.sigmas = torch.cat([((1 - kept) / kept).sqrt(), torch.zeros(1, dtype=torch.float64)])
        for t, at in zip(scheduler.timesteps, times, strict=True):
            x = scheduler.step(model(x, at).noise, t, x).prev_sample
        return x

    wide = model.to(dtype=torch.float64), start.double()
    apart = mine(*wide) - theirs(*wide)
    taken = [(seconds(mine), seconds(theirs)) for _ in range(rounds)]
    return apart, median(pair[0] for pair in taken), median(pair[1] for pair in taken)


def recording(rounds: int) -> tuple[float, float]:
    """Median seconds of a run without a recorder, and of one with."""
    from workbench.training.grouping import keep_memory

    keep_memory()  # as `target_trajectories` does; both sides gain by it
    model, start = ring(dimensions=DIMENSIONS), noise()

    def plain() -> Tensor:
        return sample(model, start, steps=STEPS, generator=redraws(0))

    def recorded() -> dict[str, Tensor]:
        tape = Tape(STEPS)
        sample(model, start, steps=STEPS, generator=redraws(0), record=tape)
        return tape.recorded()

    plain(), recorded()
    taken = [(seconds(plain), seconds(recorded)) for _ in range(rounds)]
    return median(pair[0] for pair in taken), median(pair[1] for pair in taken)


def student(quick: bool) -> tuple[float, float, float, float]:
    """Seconds to train, RMS distance to the exact end from the same noise, SW₂ to the teacher, and of it to itself."""
    started = time.perf_counter()
    exact = ring()
    base = wb.diffusion.regress(exact, steps=100 if quick else 1_000, batch=512, progress=False)
    method = wb.diffusion.TDD(steps=150 if quick else 1_500)
    made = wb.diffusion.distill(exact, method, network=base, progress=False)
    taken = time.perf_counter() - started
    start = torch.randn(4_000, 2, generator=torch.Generator().manual_seed(0))
    used = wb.diffusion.usage(made)
    samples = sample(wb.diffusion.denoiser(made), start, **used)
    first = float(used["steps"][0])
    ends = wb.diffusion.flow(exact, first * start[:500], first)
    paired = float((samples[:500] - ends).square().sum(1).mean().sqrt())
    real, other = (exact.sample(4_000, torch.Generator().manual_seed(seed))[0] for seed in (1, 2))
    measure = wb.diffusion.sliced_wasserstein
    return taken, paired, measure(samples, real).value, measure(other, real).value


if __name__ == "__main__":
    for one in rows():
        print(one)
