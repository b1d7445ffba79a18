"""Any measure of similarity between all layers of two networks, behind one call."""

import dataclasses
import time
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from scipy.special import stdtrit
from torch import Tensor, nn
from tqdm.auto import tqdm

from workbench.analysis.batches import as_split, equal_batches
from workbench.analysis.cka import cka
from workbench.analysis.compact import compact
from workbench.analysis.features import layer_features, unusable
from workbench.analysis.maps import Gallery, similarity_map
from workbench.analysis.mutual_knn import MutualKNN
from workbench.analysis.networks import Side, moments, sides
from workbench.analysis.procrustes import Procrustes
from workbench.analysis.pwcca import PWCCA
from workbench.analysis.rsa import RSA
from workbench.analysis.svcca import SVCCA
from workbench.data import Dataset, Split
from workbench.records import Provenance, SimilarityMap, TrainingRecord

__all__ = ["Measure", "similarity"]

MEASURES: dict[str, type] = {each.name: each for each in (SVCCA, PWCCA, Procrustes, RSA, MutualKNN)}


class Measure(Protocol):
    """A similarity of two layers' features on the same examples.

    `prepare` does once per layer what all its pairs share; features are (n, d), float64. Unless it has
    ``rotation_free = False``, the measure gets them turned into at most n coordinates (`compact`). A NaN from
    `compare` is masked with the measure's ``undefined``, a few words that say when that happens.
    """

    name: str

    @property
    def least(self) -> int:
        """Fewest examples it is defined for."""

    def prepare(self, features: Tensor) -> Any: ...

    def compare(self, a: Any, b: Any) -> float: ...


def similarity(
    a: nn.Module | TrainingRecord,
    b: nn.Module | TrainingRecord,
    data: Split | Dataset | Tensor,
    measure: "str | Measure" = "cka",
    *,
    layers_a: str | Sequence[str] | None = None,
    layers_b: str | Sequence[str] | None = None,
    batch_size: int = 256,
    epochs: Sequence[int] | None = None,
    per_class: bool = False,
    interval: bool | int = False,
    examples: int = 200,
    seed: int | None = 0,
    progress: bool = True,
    **options: Any,
) -> SimilarityMap:
    """How alike the layers of two networks are, by a measure of choice.

    ``"cka"`` streams (`cka`). The others look at all examples at once, for which each layer is reduced to at most n
    coordinates per example: (La + Lb) · n² numbers are kept, so take hundreds to a few thousand examples. ``"pwcca"``
    keeps whole features.

    Parameters
    ----------
    a, b, data, layers_a, layers_b, batch_size, epochs, per_class, examples, progress
        As for `cka`. Within a class, measures see that class's examples only.
    measure
        ``"cka"``, ``"svcca"``, ``"pwcca"``, ``"procrustes"``, ``"rsa"``, ``"mknn"``, or an object with the
        methods of `Measure`.
    interval
        Number of random halves of the examples (True: 50) behind a 95 % interval. For ``"cka"``: its own, closed form.
        Half-sampling without replacement (the delete-half jackknife; Shao & Wu 1989): the standard deviation over
        halves is that of the value on all examples, also for measures that are no smooth function of the data.
        Bootstrap resamples would contain examples twice, which are each other's perfect neighbours and worsen the rank
        problem of CCA. The bias that all these measures have in n is not in the interval.
    seed
        Of the halves (for ``"cka"`` also of the batches).
    **options
        The measure's own settings: ``kernel``, ``debiased``, ``bandwidth`` (cka), ``variance`` (svcca, pwcca),
        ``symmetric`` (pwcca), ``k`` (mknn).

    Raises
    ------
    ValueError
        An unknown measure, or fewer examples than it needs.
    TypeError
        A setting that the measure does not have.

    Examples
    --------
    >>> import workbench as wb
    >>> data = wb.data.load("digits")
    >>> one, other = (wb.models.build("mlp", data, seed=seed) for seed in (0, 1))
    >>> similar = wb.analysis.similarity(one, other, data.test.subset(100), "mknn", k=5)
    >>> similar.measure, similar.options["k"], bool((similar.values > 0).all())
    ('mknn', 5, True)
    """
    common = {"layers_a": layers_a, "layers_b": layers_b, "batch_size": batch_size, "epochs": epochs}
    if measure == "cka":
        more = {"per_class": per_class, "interval": interval, "examples": examples, "seed": seed, "progress": progress}
        return cka(a, b, data, **common, **more, **options)  # type: ignore[arg-type]
    started = time.perf_counter()
    chosen = _measure(measure, options)
    split = as_split(data)
    first, second = sides(a, b, layers_a, layers_b, epochs, inputs=split.inputs[:2])
    halves = 50 if interval is True else int(interval)
    least = 2 * chosen.least if halves else chosen.least
    equal_batches(len(split), len(split), seed=None, least=least, needs=chosen.name)  # enough examples?
    _, pairs = moments(first, second)
    labels = split.labels.cpu()
    gallery = Gallery.of(first, second, split, torch.arange(len(split)), examples) if examples else None
    parts: dict[str, list[Any]] = {"values": [], "reasons": [], "intervals": [], "per_class": []}
    undefined: dict[str, str] = {}
    fixed_a: list[Tensor] | None = None
    fixed_b: list[Tensor] | None = None
    for e, (moment_a, moment_b) in enumerate(tqdm(pairs, desc=chosen.name, delay=1, disable=not progress)):
        points_a = fixed_a or _coordinates(first, moment_a, split, batch_size, chosen)
        points_b = fixed_b or _coordinates(second, moment_b, split, batch_size, chosen)
        fixed_a, fixed_b = (None if side.states else points for side, points in ((first, points_a), (second, points_b)))
        values, reasons = _compare(chosen, points_a, points_b)
        for i, j in values.isnan().nonzero().tolist():
            if i not in reasons[0] and j not in reasons[1]:
                key = f"{e},{i},{j}" if first.epochs or second.epochs else f"{i},{j}"
                undefined[key] = getattr(chosen, "undefined", f"{chosen.name} is undefined here")
        parts["values"].append(values)
        parts["reasons"].append(reasons)
        if gallery is not None:
            gallery.add(e, (_grams(points_a, gallery.kept), _grams(points_b, gallery.kept)))
        if halves:
            parts["intervals"].append(_half_sampled(chosen, points_a, points_b, values, halves, seed or 0))
        if per_class:
            members = [(labels == c).nonzero().flatten() for c in range(len(split.classes))]
            parts["per_class"].append([_within(chosen, points_a, points_b, rows) for rows in members])
    settings: dict[str, Any] = {}
    if dataclasses.is_dataclass(chosen) and not isinstance(chosen, type):
        settings = dataclasses.asdict(chosen)
    found = similarity_map(
        first,
        second,
        split,
        values=parts["values"],
        reasons=parts["reasons"],
        intervals=parts["intervals"] or None,
        per_class=parts["per_class"] or None,
        gallery=gallery,
        measure=chosen.name,
        options=settings | ({"halves": halves} if halves else {}),
        provenance=Provenance.capture(seed=seed or 0, device=first.device, started=started),
    )
    return found.replace(masked=found.masked | undefined)


def _measure(measure: "str | Measure", options: dict[str, Any]) -> Measure:
    if not isinstance(measure, str):
        if options:
            raise TypeError(f"{', '.join(options)} can only be set when measure is a name; here it is an object")
        return measure
    if measure not in MEASURES:
        raise ValueError(f"measure={measure!r}; it can be cka, {', '.join(MEASURES)}")
    known = [field.name for field in dataclasses.fields(MEASURES[measure])]
    unknown = [name for name in options if name not in known]
    if unknown:
        raise TypeError(f"{measure} has no setting {unknown[0]!r}; it has {', '.join(known) or 'none'}")
    chosen: Measure = MEASURES[measure](**options)
    return chosen


def _coordinates(side: Side, moment: int, split: Split, batch_size: int, measure: Measure) -> list[Tensor]:
    """Each layer's features of all examples, (n, d) float64, compacted if the measure allows."""
    change = compact if getattr(measure, "rotation_free", True) else Tensor.double
    return [change(features) for features in layer_features(side, split, batch_size, moment)]


def _compare(
    measure: Measure, a: Sequence[Tensor], b: Sequence[Tensor]
) -> tuple[Tensor, tuple[dict[int, str], dict[int, str]]]:
    reasons = tuple({i: why for i, points in enumerate(each) if (why := unusable(points))} for each in (a, b))
    ready = [
        [None if i in why else measure.prepare(points) for i, points in enumerate(each)]
        for each, why in zip((a, b), reasons, strict=True)
    ]
    values = [
        [torch.nan if one is None or other is None else measure.compare(one, other) for other in ready[1]]
        for one in ready[0]
    ]
    return torch.tensor(values, dtype=torch.float64), (reasons[0], reasons[1])


def _within(measure: Measure, a: Sequence[Tensor], b: Sequence[Tensor], rows: Tensor) -> Tensor:
    if len(rows) < measure.least:
        return torch.full((len(a), len(b)), torch.nan, dtype=torch.float64)
    return _compare(measure, [points[rows] for points in a], [points[rows] for points in b])[0]


def _half_sampled(
    measure: Measure, a: Sequence[Tensor], b: Sequence[Tensor], values: Tensor, halves: int, seed: int
) -> Tensor:
    n = len(a[0])
    size = n // 2
    make = torch.Generator().manual_seed(seed)
    drawn = torch.stack([_within(measure, a, b, torch.randperm(n, generator=make)[:size]) for _ in range(halves)])
    reach = stdtrit(max(halves - 1, 1), 0.975) * drawn.std(0) * (size / (n - size)) ** 0.5
    return torch.stack([values - reach, values + reach], -1).clamp(-1 if measure.name == "rsa" else 0, 1)


def _grams(points: Sequence[Tensor], rows: Tensor) -> Tensor:
    return torch.stack([each[rows] @ each[rows].mT for each in points])
