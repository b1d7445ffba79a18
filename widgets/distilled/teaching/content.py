"""What a distilled set teaches, as it travels to the browser: scores with intervals, curves, what images change."""

from collections.abc import Sequence
from typing import Any

import torch
from scipy.special import stdtrit
from torch import Tensor

from widgets.core.arrays import Arrays
from workbench.records import Calibration, DistilledEvaluation
from workbench.records.evaluation import t_interval

SOURCES = {"distilled": "distilled images", "random": "random real images", "full": "all real data"}


def evaluation_content(found: DistilledEvaluation, arrays: Arrays) -> dict[str, Any]:
    """One evaluation; every mean over the seeds comes with its 95 % interval (None for a single seed)."""
    accuracy = {"distilled": found.accuracy, "random": found.random_accuracy, "full": found.full_accuracy}
    return {
        "name": found.name,
        "networks": list(found.networks),
        "seeds": list(found.seeds),
        "images": found.images,
        "interrupted": found.interrupted,
        "scores": {
            name: [estimate(values[k]) for k in range(len(found.networks))]
            for name, values in accuracy.items()
            if values is not None
        },
        "ece": [estimate(found.ece[k]) for k in range(len(found.networks))],
        "agreement": {
            name: [estimate(values[k]) for k in range(len(found.networks))] for name, values in found.agreement.items()
        },
        "curves": [
            {
                "name": name,
                "label": label,
                "steps": list(found.curve_steps[name]),
                "accuracy": [_band(found.curves[name][k], arrays) for k in range(len(found.networks))],
                "confidence": [_band(found.confidence[name][k], arrays) for k in range(len(found.networks))]
                if name in found.confidence
                else None,
            }
            for name, label in SOURCES.items()
            if name in found.curves and found.curve_steps[name]
        ],
        "per_class": arrays.add(found.per_class.mean(1), "float32"),
        "confusion": arrays.add(found.confusion, "int32"),
        "calibration": [bins_content(item, arrays) for item in found.calibration],
    }


def bins_content(found: Calibration, arrays: Arrays) -> dict[str, Any]:
    """A reliability diagram: per bin mean confidence, accuracy, its 95 % Wilson interval and the number of examples."""
    return {
        "confidence": arrays.add(found.confidence, "float32"),
        "accuracy": arrays.add(found.accuracy, "float32"),
        "interval": arrays.add(wilson(found.accuracy * found.count, found.count), "float32"),
        "count": arrays.add(found.count, "int32"),
        "nll": float(found.nll),
    }


def without_content(
    rows: Sequence[int], before: DistilledEvaluation, after: DistilledEvaluation, arrays: Arrays
) -> dict[str, Any]:
    """What was learned without the images at `rows`, and the change; or the reason why none can be told."""
    alike = same_protocol([before, after])
    return {
        "rows": list(rows),
        "evaluation": evaluation_content(after, arrays),
        "change": change_content(before, after, arrays) if alike else None,
        "reason": ""
        if alike
        else "The two were trained in different ways: their difference is not that of the images.",
    }


def change_content(before: DistilledEvaluation, after: DistilledEvaluation, arrays: Arrays) -> dict[str, Any]:
    """What leaving images out changed: accuracy after minus before, paired over seeds, overall and per class.

    `change` has a row per network and a column per class, after the overall change: mean, and the ends of its 95 %
    interval over paired seeds. `noise` says how far two means over as many seeds lie apart when only the seeds differ.

    Raises
    ------
    ValueError
        The two were not trained with the same networks and seeds, so that nothing can be paired.
    """
    if (before.networks, before.seeds, before.classes) != (after.networks, after.seeds, after.classes):
        raise ValueError(
            f"before: {', '.join(before.networks)} with seeds {list(before.seeds)}; after: {', '.join(after.networks)} "
            f"with seeds {list(after.seeds)}; the change is paired over seeds, so both must be the same"
        )
    first = torch.cat([before.accuracy[..., None], before.per_class], -1).double()
    second = torch.cat([after.accuracy[..., None], after.per_class], -1).double()
    mean, low, high = paired(first, second)
    return {
        "mean": arrays.add(mean, "float32"),
        "low": arrays.add(low, "float32"),
        "high": arrays.add(high, "float32"),
        "noise": arrays.add(seed_noise(first), "float32"),
        "seeds": len(before.seeds),
    }


def paired(before: Tensor, after: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean change over seeds and its 95 % Student t interval, from scores (networks, seeds, m): each (networks, m).

    The interval is NaN for a single seed.

    Examples
    --------
    >>> before = torch.tensor([[[0.5], [0.6], [0.7]]], dtype=torch.float64)
    >>> mean, low, high = paired(before, before - 0.1)
    >>> round(mean.item(), 3), round(low.item(), 3), round(high.item(), 3)
    (-0.1, -0.1, -0.1)
    """
    change = after - before
    mean, seeds = change.mean(1), change.shape[1]
    if seeds < 2:
        return mean, torch.full_like(mean, torch.nan), torch.full_like(mean, torch.nan)
    half = float(stdtrit(seeds - 1, 0.975)) * change.std(1) / seeds**0.5
    return mean, mean - half, mean + half


def seed_noise(scores: Tensor) -> Tensor:
    """How far apart two means over S unpaired seeds lie by chance alone, (networks, m), from scores (networks, S, m).

    The half-width of the 95 % interval of their difference, t·s·√(2/S) with S−1 degrees of freedom; NaN for one seed.
    """
    seeds = scores.shape[1]
    if seeds < 2:
        return torch.full_like(scores.mean(1), torch.nan)
    return float(stdtrit(seeds - 1, 0.975)) * scores.std(1) * (2 / seeds) ** 0.5


def estimate(values: Tensor) -> dict[str, float | None]:
    """Mean over seeds (S,) and its 95 % interval; ends are None where a single seed leaves them open."""
    low, high = t_interval(values)
    if len(values) < 2:
        return {"mean": float(values.mean()), "low": None, "high": None}
    return {"mean": float(values.mean()), "low": low, "high": high}


def wilson(successes: Tensor, count: Tensor) -> Tensor:
    """95 % Wilson interval of a share, shape (..., 2); NaN where there is nothing to count.

    Examples
    --------
    >>> [round(end, 3) for end in wilson(torch.tensor(8.0), torch.tensor(10)).tolist()]
    [0.49, 0.943]
    """
    z, n = 1.959964, count.double()
    share = successes.double() / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * (share * (1 - share) / n + z**2 / (4 * n**2)).sqrt()
    ends = torch.stack([centre - half, centre + half], -1)
    return torch.where((n > 0)[..., None], ends, torch.nan)


def _band(curves: Tensor, arrays: Arrays) -> str:
    """Mean, low and high of curves (seeds, points), packed as (3, points); NaN ends for a single seed."""
    mean, low, high = paired(torch.zeros_like(curves)[None].double(), curves[None].double())
    return arrays.add(torch.cat([mean, low, high]), "float32")


COUNTS = ("steps", "examples")
"""Settings that follow from how many images there are."""


def same_protocol(known: Sequence[DistilledEvaluation]) -> bool:
    """They were trained alike, networks, seeds and settings: their difference is that of the images."""

    def protocol(item: DistilledEvaluation) -> tuple[Any, ...]:
        settings = {key: value for key, value in item.settings.items() if key not in COUNTS}
        return item.networks, item.seeds, item.classes, settings

    return all(protocol(item) == protocol(known[0]) for item in known[1:])
