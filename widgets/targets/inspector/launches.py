"""Launches: trajectories from noise that a reader chose, or drew, by every model that is here."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import traitlets
from torch import Tensor

from widgets.core.arrays import Arrays
from widgets.core.checks import require_known
from widgets.targets.content import is_images, pictures, with_samples
from workbench.diffusion import Denoiser
from workbench.diffusion.trajectories.again import Choice, again
from workbench.diffusion.trajectories.levels import shrink
from workbench.diffusion.trajectories.plane import SeedPlane
from workbench.records import TargetTrajectories

MOST_LAUNCHES = 12
FARTHEST = 1e3
LAST_SEED = 2**31 - 1


def checked_launches(value: Any, shape: Sequence[int], classes: Sequence[str]) -> list[dict[str, Any]]:
    """Launches from the browser or an option.

    Each is ``{"noise": [x, y]}`` for examples of two numbers, or ``{"seed": number}``; with ``"class"``, a name, where
    the models have classes.
    """
    if not isinstance(value, list | tuple) or len(value) > MOST_LAUNCHES:
        raise traitlets.TraitError(f"launched is {value!r}; a list of at most {MOST_LAUNCHES} launches is needed")
    return [_checked(item, shape, classes) for item in value]


def _checked(item: Any, shape: Sequence[int], classes: Sequence[str]) -> dict[str, Any]:
    keys = set(item) if isinstance(item, Mapping) else set()
    if not keys <= {"noise", "seed", "class"} or len(keys & {"noise", "seed"}) != 1:
        raise traitlets.TraitError(f"launched has {item!r}; each has 'noise' or 'seed', and may have 'class'")
    found: dict[str, Any] = {}
    if "noise" in keys:
        if tuple(shape) != (2,):
            raise traitlets.TraitError(
                f"launched has {item!r}, but examples have shape {tuple(shape)}: launch from a seed, {{'seed': 0}}"
            )
        found["noise"] = _place(item["noise"])
    else:
        seed = item["seed"]
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= LAST_SEED:
            raise traitlets.TraitError(f"launched has the seed {seed!r}; it can be 0 to {LAST_SEED}")
        found["seed"] = seed
    if item.get("class") is not None:
        if not classes:
            raise traitlets.TraitError(f"launched asks for the class {item['class']!r}, but the models have no classes")
        require_known("class", [item["class"]], list(classes))
        found["class"] = item["class"]
    return found


def _place(noise: Any) -> list[float]:
    numbers = isinstance(noise, list | tuple) and all(
        isinstance(part, int | float) and not isinstance(part, bool) and abs(part) <= FARTHEST for part in noise
    )
    if not numbers or len(noise) != 2:  # a NaN fails as well
        raise traitlets.TraitError(f"launched has the noise {noise!r}; two numbers within ±{FARTHEST:g} are needed")
    return [float(part) for part in noise]


def noise_of(launch: Mapping[str, Any], shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """The noise of a launch, standard normal, (*shape)."""
    if "noise" in launch:
        return torch.tensor(launch["noise"], dtype=dtype)
    generator = torch.Generator().manual_seed(launch["seed"])
    return torch.randn(tuple(shape), generator=generator, dtype=dtype)


def flown(
    launches: Sequence[Mapping[str, Any]],
    runs: Mapping[str, TargetTrajectories],
    models: Mapping[str, Denoiser],
    made: Mapping[str, tuple[Choice, float]],
    known: Mapping[Any, TargetTrajectories],
    watch: Callable[[float], None] | None = None,
) -> dict[Any, TargetTrajectories]:
    """Every launch by every model, one by one: what one draws on its way then does not hang on the others.

    Parameters
    ----------
    launches
        Where from; as `checked_launches` returns them.
    runs, models, made
        By run name; `runs` as they were given, `made` how they are sampled now and under which scale of an adapter.
    known
        What was flown before; it is not flown again.
    watch
        Told which share is made.

    Returns
    -------
    dict
        A run of one seed by `key`.
    """
    wanted = {key(item, name, made[name]): (item, name) for item in launches for name in models}
    found = {}
    for k, (at, (item, name)) in enumerate(wanted.items()):
        if at in known:
            found[at] = known[at]
            continue
        told = watch and (lambda share, done=k: watch((done + share) / len(wanted)))  # type: ignore[misc]
        run, (choice, _) = runs[name], made[name]
        noise = noise_of(item, run.samples.shape[1:], run.noise.dtype)[None]
        label = run.classes.index(item["class"]) if item.get("class") in run.classes else -1
        asked = None if run.condition is None else torch.tensor([label])
        found[at] = again(run, models[name], choice, noise=noise, condition=asked, watch=told)
    return found


def key(launch: Mapping[str, Any], run: str, made: tuple[Choice, float]) -> Any:
    """What tells one flight from another."""
    return (*sorted((name, str(value)) for name, value in launch.items()), run, made)


def launches_content(
    launches: Sequence[Mapping[str, Any]],
    runs: Mapping[str, TargetTrajectories],
    names: Sequence[str],
    made: Mapping[str, tuple[Choice, float]],
    known: Mapping[Any, TargetTrajectories],
    plane: SeedPlane,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Launches as they travel.

    ``{"launches": [{"noise": [x, y] or None, "seed", "class", "runs": [{"run", "states", "targets", "pictures",
    "apart"}]}]}``; places float32 (steps + 1, 2), the sample last; pictures of x̂₀ uint8; `apart`: how far the sample
    is from that of the first run.
    """
    arrays = Arrays()
    found = []
    for item in launches:
        flights = {name: known[key(item, name, made[name])] for name in names}
        first = next(iter(flights.values())).samples
        found.append(
            {name: item.get(name) for name in ("noise", "seed", "class")}
            | {"runs": [_flight(name, runs[name], flight, first, plane, arrays) for name, flight in flights.items()]}
        )
    return {"launches": found}, arrays.packed


def _flight(
    name: str, run: TargetTrajectories, flight: TargetTrajectories, first: Tensor, plane: SeedPlane, arrays: Arrays
) -> dict[str, Any]:
    states, targets = with_samples(flight.states, flight.samples), with_samples(flight.targets, flight.samples)
    drawn = states * shrink(flight).to(states).view(-1, *[1] * (states.ndim - 1))
    return {
        "run": name,
        "states": arrays.add(plane.project(drawn)[:, 0], "float32"),
        "targets": arrays.add(plane.project(targets)[:, 0], "float32"),
        "pictures": arrays.add(pictures(run, targets)[:, 0], "uint8") if is_images(run) else None,
        "apart": float((flight.samples - first).double().norm()),
    }
