"""Trained teachers of digits: made once, in about a minute, and kept in the cache folder."""

import hashlib
import json
from pathlib import Path

import torch

from workbench import models, records
from workbench.data import cache_dir, load
from workbench.diffusion.teachers.regress import Denoising, denoise
from workbench.records import DiffusionModel, RecordError
from workbench.training.settings import plain_settings

STEPS = {"unet": 1500, "dit": 2000}
"""Training iterations by network: about a minute each on two cores."""

OPTIONS: dict[str, dict[str, int]] = {"unet": {"width": 24}, "dit": {"width": 64, "depth": 3}}

BATCH = 64


def digits_teacher(
    network: str = "unet",
    *,
    steps: int | None = None,
    seed: int = 0,
    device: str | torch.device = "auto",
    progress: bool = True,
    cache: bool = True,
) -> DiffusionModel:
    """A network trained on the 8×8 digits, class-conditional and not; from the cache if it is there.

    Parameters
    ----------
    network
        ``"unet"`` or ``"dit"``.
    steps
        Training iterations; default: `STEPS`.
    seed
        Of weights and training.
    device
        Where to train.
    progress
        Show a progress bar while it trains.
    cache
        Look for it and keep it in `workbench.data.cache_dir`; an interrupted training is not kept there.

    Returns
    -------
    DiffusionModel
        Velocities on rectified flow; images from −1 to 1.

    Examples
    --------
    >>> made = digits_teacher("dit", steps=1, cache=False, progress=False)
    >>> made.name, made.classes[:3]
    ('digits DiT', ('0', '1', '2'))
    """
    if network not in STEPS:
        raise ValueError(f"network is {network!r}; it can be {', '.join(STEPS)}")
    wanted = STEPS[network] if steps is None else steps
    kept = _place(network, wanted, seed)
    if cache and kept.is_file():
        try:
            found = records.open(kept)
        except RecordError:
            kept.unlink(missing_ok=True)  # damaged: it is made again
        else:
            assert isinstance(found, DiffusionModel)
            return found
    name = {"unet": "digits U-Net", "dit": "digits DiT"}[network]
    digits = load("digits")
    built = models.build(network, digits, seed=seed, **OPTIONS[network])
    made = denoise(digits, built, steps=wanted, batch=BATCH, seed=seed, device=device, progress=progress, name=name)
    if cache and not made.interrupted:
        made.replace(checkpoint={}).save(kept)
    return made


def _place(network: str, steps: int, seed: int) -> Path:
    """The file of a teacher; another name for each way of making it."""
    told = {"network": network, "steps": steps, "seed": seed, **OPTIONS[network]}
    told |= plain_settings(Denoising(batch=BATCH, steps=steps))
    key = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:12]
    return cache_dir() / "teachers" / f"digits-{network}-{key}.safetensors"
