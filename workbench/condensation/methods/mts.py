"""Masked temperature scaling: calibrate a network with distilled images alone, by hiding part of each.

    T_r = argmin_T NLL(f(m ⊙ x) / T, y),   m_ij = 1[u_ij > r];    a test image is judged by f(x) / T_r, unmasked.

Zhu et al., “Rethinking Data Distillation: Do Not Overlook Calibration”, ICCV 2023 (paper 112). A network knows the
images it was trained on so well that a temperature fitted to them is far too small (TS, r = 0, ends at the bound of the
search); of masked ones it is less sure. The ratio must not be chosen on test images: `calibrate` reports all of them.
"""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from workbench.analysis.calibration import calibration
from workbench.analysis.temperature import BOUNDS, Temperature, fit_temperature, nll_curve
from workbench.condensation.judging.usable import decoded
from workbench.condensation.methods.mdt import masked
from workbench.data import Dataset, Split
from workbench.records import DistilledSet, TemperatureScaling
from workbench.training.evaluating import logits_of, placed

RATIOS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def masked_logits(
    network: nn.Module, images: Tensor, ratio: float, *, draws: int = 10, generator: torch.Generator
) -> Tensor:
    """Logits on the images under `draws` fresh masks each, shape (draws · n, classes); with ratio 0 one draw is all.

    Parameters
    ----------
    network
        A classifier.
    images
        Normalised, shape (n, c, h, w).
    ratio
        Share of the values that are hidden, in 0..1.
    draws
        Masks per image.
    generator
        Draws the masks.
    """
    if draws < 1:
        raise ValueError(f"draws is {draws}; at least one mask per image is needed")
    if ratio == 0:
        return logits_of(network, images)
    repeated = images.repeat(draws, *[1] * (images.ndim - 1))
    return logits_of(network, masked(repeated, ratio, generator))


def masked_temperature(
    network: nn.Module,
    distilled: DistilledSet,
    ratio: float = 0.5,
    *,
    draws: int = 10,
    bounds: tuple[float, float] = BOUNDS,
    seed: int = 0,
) -> Temperature:
    """The temperature that masked distilled images ask for; with ratio 0 this is temperature scaling on them.

    Parameters
    ----------
    network
        Trained on the set.
    distilled
        Its images are decoded by their `view`, then masked; of soft labels the most probable class counts.
    ratio, draws
        As for `masked_logits`.
    bounds
        Least and greatest temperature.
    seed
        Of the masks.

    Examples
    --------
    >>> import workbench as wb
    >>> data = wb.data.load("digits")
    >>> tiny = wb.condensation.condense(data, wb.condensation.DistributionMatching(ipc=1), iterations=0, progress=False)
    >>> network = wb.models.build("mlp", data)
    >>> split = wb.data.Split(tiny.images, tiny.labels, tiny.classes, tiny.mean, tiny.std)
    >>> learned = wb.training.fit(network, split, steps=50, lr=0.01, progress=False)
    >>> masked_temperature(network, tiny, 0.0).bound, masked_temperature(network, tiny, 0.7).value > 0.05
    ('lower', True)
    """
    split = decoded(distilled)[0]
    generator = torch.Generator().manual_seed(seed)
    inputs, labels = placed(split, network)
    logits = masked_logits(network, inputs, ratio, draws=draws, generator=generator)
    return fit_temperature(logits, labels.repeat(len(logits) // len(labels)), bounds=bounds)


def calibrate(
    networks: Sequence[nn.Module],
    distilled: DistilledSet,
    data: Dataset | Split,
    *,
    ratios: Sequence[float] = RATIOS,
    draws: int = 10,
    bounds: tuple[float, float] = BOUNDS,
    bins: int = 10,
    points: int = 41,
    seed: int = 0,
) -> TemperatureScaling:
    """Scale networks that were trained on a distilled set by every temperature there is to try, and judge each.

    Parameters
    ----------
    networks
        Trained on the set.
    distilled
        The set; no real image enters a temperature except the oracle's.
    data
        What judges: the test split of a `Dataset`, or a split.
    ratios
        Mask ratios to fit temperatures at.
    draws, bounds, seed
        As for `masked_temperature`; one seed for all networks and ratios.
    bins
        Equal-width bins of the expected calibration error.
    points
        Temperatures at which the NLL curves are taken, evenly spaced in log T between the bounds.

    Returns
    -------
    TemperatureScaling
        Raw, TS, MTS at each ratio, and the oracle that is fitted to the judging images.

    Raises
    ------
    ValueError
        There are no networks, or a ratio is outside 0..1.
    """
    if not networks:
        raise ValueError("networks is empty: at least one trained network is needed")
    wrong = [ratio for ratio in ratios if not 0 < ratio <= 1]
    if wrong:
        raise ValueError(f"ratios has {wrong[0]}; they must be in 0..1, and 0 is temperature scaling, which is there")
    split, test = decoded(distilled)[0], data.test if isinstance(data, Dataset) else data
    ways = {"TS": 0.0, **{f"MTS {ratio:g}": float(ratio) for ratio in ratios}}
    shown = [_shown(network, split, test, ways, draws, seed) for network in networks]
    fitted = [{way: fit_temperature(*what, bounds=bounds) for way, what in each.items()} for each in shown]
    names = ("raw", *ways, "oracle")
    for each in fitted:
        each["raw"] = Temperature(1.0, float("nan"))
    truth = test.labels.cpu()
    scaled = [[one["oracle"][0] / T[way].value for one, T in zip(shown, fitted, strict=True)] for way in names]
    judged = [[calibration(logits, truth, bins) for logits in each] for each in scaled]
    grid = torch.logspace(math.log10(bounds[0]), math.log10(bounds[1]), points, dtype=torch.float64)
    curves = [torch.stack([nll_curve(*one[way], grid) for one in shown]).mean(0) for way in names[1:]]
    largest = {"distilled": "TS", **{way: way for way in names[2:-1]}, "test": "oracle"}
    return TemperatureScaling(
        names=names,
        ratios=(float("nan"), *ways.values(), float("nan")),
        temperature=torch.tensor([[T[way].value for T in fitted] for way in names], dtype=torch.float64),
        bound=tuple(tuple(T[way].bound for T in fitted) for way in names),
        ece=torch.tensor([[one.ece for one in each] for each in judged], dtype=torch.float64),
        nll=torch.tensor([[one.nll for one in each] for each in judged], dtype=torch.float64),
        accuracy=torch.stack([(one["oracle"][0].argmax(1) == truth).double().mean() for one in shown]),
        reliability=tuple(calibration(torch.cat(each), truth.repeat(len(networks)), bins) for each in scaled),
        temperatures=grid,
        nll_curve=torch.stack([torch.full_like(grid, torch.nan), *curves]),
        max_logit={name: torch.stack([one[way][0].amax(1) for one in shown]) for name, way in largest.items()},
    )


def _shown(
    network: nn.Module, split: Split, test: Split, ways: Mapping[str, float], draws: int, seed: int
) -> dict[str, tuple[Tensor, Tensor]]:
    """What each way fits a network's temperature to: logits and labels, on the CPU."""
    images, labels = placed(split, network)
    found = {}
    for way, ratio in ways.items():
        generator = torch.Generator().manual_seed(seed)  # a larger ratio hides what a smaller one hides, and more
        logits = masked_logits(network, images, ratio, draws=draws, generator=generator)
        found[way] = logits.cpu(), labels.repeat(len(logits) // len(labels)).cpu()
    return found | {"oracle": (logits_of(network, placed(test, network)[0]).cpu(), test.labels.cpu())}
