"""Sliders: an adapter that moves what a model makes along one attribute, as far as its scale says.

    ε_{θ+sΔ}(x_t, c) ≈ ε_θ(x_t, c) + s η [ε_θ(x_t, c⁺) − ε_θ(x_t, c⁻)]

Concept Sliders (Gandikota et al. 2024), which paper 096 trains on a base model and moves to its few-step students
unchanged (part C). The ends c⁺ and c⁻ are two classes of the model, or two other models, such as exact ones of a larger
and a smaller ring. All predictions of a state are linear in each other, so that the network's own output stands for ε.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from workbench.diffusion.sampling.denoiser import Denoiser, NetworkDenoiser
from workbench.diffusion.sampling.predictions import write
from workbench.diffusion.sampling.sampling import sample
from workbench.models import lora
from workbench.records import Adapter, Provenance
from workbench.training import randomness
from workbench.training.interrupting import Interruptible

POOL, BATCH, START = 401, 402, 403
"""Purposes of the draws of a slider's training."""

End = int | Denoiser


def slider(
    base: NetworkDenoiser,
    plus: End,
    minus: End,
    *,
    condition: int | None = None,
    rank: int = 4,
    alpha: float = 1.0,
    strength: float = 1.0,
    scales: Sequence[float] = (1.0, -1.0),
    only: str | Sequence[str] = "*",
    without: str | Sequence[str] = (),
    examples: Tensor | None = None,
    steps: int = 300,
    batch: int = 256,
    lr: float = 5e-3,
    seed: int = 0,
    progress: bool = True,
    name: str = "",
) -> Adapter:
    """Train a slider on a base model.

    Parameters
    ----------
    base
        The model, which is left as it was.
    plus, minus
        The ends c⁺ and c⁻: classes of the base, or models of the same shape and schedule.
    condition
        The class c that slides; None: any, the model being asked without a class.
    rank, alpha, only, without
        Of the adapter; see `lora.attach`.
    strength
        η: how far scale 1 goes, in differences of the ends.
    scales
        At which s it is trained, one of them at each step; with −1 and 1 it slides both ways.
    examples
        x₀ whose noisy versions it is trained on, shape (n, ...). Default: 2,048 samples of the base.
    steps, batch, lr
        Of Adam.
    seed
        Of everything drawn.
    progress
        Show a progress bar.
    name
        What it changes, in words.

    Returns
    -------
    Adapter
        With its loss as ``curves["loss"]``. Interrupting keeps what was reached.

    Raises
    ------
    ValueError
        An end does not fit the base; see `lora.attach` for the rest.

    Examples
    --------
    >>> from workbench import models
    >>> from workbench.diffusion import RectifiedFlow, ring
    >>> network = models.build("denoiser-mlp", ((2,), 0), width=8, depth=1)
    >>> base = NetworkDenoiser(network, RectifiedFlow(), (2,))
    >>> larger = slider(base, ring(radius=1.2), ring(radius=0.8), rank=2, steps=3, progress=False, name="larger")
    >>> larger.summary()
    'adapter larger: rank 2 on 2 layers, 58 numbers'
    """
    started = time.perf_counter()
    far, near = (_end(base, end, which) for end, which in ((plus, "plus"), (minus, "minus")))
    if condition is not None and not 0 <= condition < base.classes:
        raise ValueError(f"condition is {condition}; this model has {base.classes} classes")
    weight = next(base.network.parameters())
    pool = _pool(base, condition, seed, weight) if examples is None else examples.to(weight)
    losses: list[float] = []
    with (
        Interruptible() as stop,
        lora.attach(
            base, rank=rank, alpha=alpha, only=only, without=without, seed=randomness.mix(seed, START, 0)
        ) as on,
    ):
        optimizer = torch.optim.Adam(on.parameters(), lr=lr)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
        for step in tqdm(range(steps), desc=name or "slider", disable=not progress, leave=False):
            if stop.requested:
                break
            x, t, asked = _batch(base, pool, condition, batch, seed, step)
            with torch.no_grad():
                on.scale = 0.0
                wanted = base.output(x, t, asked)
                shift = far(x, t) - near(x, t)
            on.scale = scales[step % len(scales)]
            loss = (base.output(x, t, asked) - wanted - on.scale * strength * shift).square().mean()
            if not bool(loss.isfinite()):
                raise ValueError(f"the slider's loss became {loss.item()} at step {step + 1}; a lower lr usually helps")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(float(loss.detach()))
        return Adapter(
            name=name,
            **on.factors(),
            curves={"loss": torch.tensor(losses)},
            settings={
                "strength": strength, "scales": list(scales), "steps": steps, "batch": batch, "lr": lr, "seed": seed,
                "condition": condition,
            },
            provenance=Provenance.capture(seed=seed, device=weight.device, started=started),
        )  # fmt: skip


def response(
    model: NetworkDenoiser,
    adapter: Adapter,
    attribute: Callable[[Tensor], Tensor],
    noise: Tensor,
    *,
    scales: Sequence[float] = (-2.0, -1.0, 0.0, 1.0, 2.0),
    **sampling: Any,
) -> Tensor:
    """What a slider does to a model, be it the one it was trained on or one that it is moved to.

    Parameters
    ----------
    model
        Its weights are as before afterwards.
    adapter
        The slider.
    attribute
        A number for each of some samples (n, ...) → (n,).
    noise
        The same at each scale, shape (n, ...).
    scales
        s.
    sampling
        As `sample` takes them: sampler, steps, condition, ….

    Returns
    -------
    Tensor
        The attribute's mean at each scale, float64, shape (scales,).
    """
    found = []
    with lora.apply(model, adapter) as on:
        for scale in scales:
            on.scale = scale
            found.append(attribute(sample(model, noise, **sampling)).double().mean().cpu())
    return torch.stack(found)


def _end(base: NetworkDenoiser, end: End, which: str) -> Callable[[Tensor, Tensor], Tensor]:
    """What an end of the slider says, in the terms of the base's network."""
    if isinstance(end, int):
        if not 0 <= end < base.classes:
            raise ValueError(f"{which} is class {end}; this model has {base.classes} classes")
        return lambda x, t: base.output(x, t, torch.full((len(x),), end, device=x.device))
    if tuple(end.shape) != tuple(base.shape) or end.schedule != base.schedule:
        raise ValueError(
            f"{which} is a model of {tuple(end.shape)} on {end.schedule}; the base is one of {tuple(base.shape)} on "
            f"{base.schedule}: Rescheduled(model, schedule) brings it there"
        )
    return lambda x, t: write(end(x, t), base.kind, t, base.schedule)


def _pool(base: NetworkDenoiser, condition: int | None, seed: int, weight: Tensor, count: int = 2_048) -> Tensor:
    generator = randomness.generator(seed, POOL)
    noise = torch.randn(count, *base.shape, generator=generator, dtype=weight.dtype).to(weight.device)
    asked = None if condition is None else torch.full((count,), condition, device=weight.device)
    return sample(base, noise, condition=asked)


def _batch(
    base: NetworkDenoiser, pool: Tensor, condition: int | None, batch: int, seed: int, step: int
) -> tuple[Tensor, Tensor, Tensor | None]:
    """States, times and classes of a training step."""
    generator = randomness.generator(seed, BATCH, step)
    rows = torch.randint(len(pool), (batch,), generator=generator)
    noise = torch.randn(batch, *base.shape, generator=generator, dtype=pool.dtype).to(pool.device)
    t = (1e-3 + (1 - 2e-3) * torch.rand(batch, generator=generator, dtype=pool.dtype)).to(pool.device)
    asked = None if condition is None else torch.full((batch,), condition, device=pool.device)
    return base.schedule.diffuse(pool[rows.to(pool.device)], noise, t), t, asked
