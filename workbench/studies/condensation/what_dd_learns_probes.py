"""The measurements of the study of paper 009: each gives what its claims need, and rows for the table."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from workbench import models
from workbench.analysis import agreement_at_matched_accuracy, hessian_trace
from workbench.condensation import leave_one_out
from workbench.condensation.judging.usable import decoded
from workbench.condensation.methods.what_dd_learns import predictions_along
from workbench.data import Dataset
from workbench.records import DistilledSet, TrainingRecord

MATCHED = ("early-stopped", "subset-trained")
Row = dict[str, Any]


def agreement(
    predicted: dict[str, Tensor], early: Tensor, subsets: Tensor, labels: Tensor, seeds: Sequence[int]
) -> tuple[dict[str, list[float]], list[Row]]:
    """Agreement with early-stopped minus with subset-trained networks, by set: one number per seed that both match."""
    gaps: dict[str, list[float]] = {}
    rows = []
    for name, each in predicted.items():
        families = {
            "early-stopped": agreement_at_matched_accuracy(each, early, labels),
            "subset-trained": agreement_at_matched_accuracy(each, subsets, labels),
        }
        for family, found in families.items():
            for s, seed in enumerate(seeds):
                shared = {"set": name, "seed": seed, "family": family, "members": int(found.matches[s])}
                rows += [
                    {"probe": "agreement", "value": float(found.agreement[s]), **shared},
                    {"probe": "agreement when wrong", "value": float(found.when_wrong[s]), **shared},
                ]
        gap = families["early-stopped"].agreement - families["subset-trained"].agreement
        gaps[name] = gap[gap.isfinite()].tolist()
    return gaps, rows


def recognition(
    sets: dict[str, DistilledSet], real: Sequence[TrainingRecord], seeds: Sequence[int], every: int
) -> tuple[dict[str, list[float]], list[Row]]:
    """Accuracy on each set of networks that learn real data, and its share that is reached within a third of it."""
    shares: dict[str, list[float]] = {}
    rows = []
    for name, one in sets.items():
        shares[name] = []
        examples, _, _ = decoded(one)
        for seed, record in zip(seeds, real, strict=True):
            right = (predictions_along(record, examples.inputs) == examples.labels).double().mean(1)
            rows += [
                {"probe": "recognition", "set": name, "seed": seed, "step": every * k, "value": float(right[k])}
                for k in range(0, len(right), 5)
            ]
            shares[name].append(float(right[len(right) // 3] / right[-1].clamp_min(1e-9)))
    return shares, rows


def curvature(
    sets: dict[str, DistilledSet],
    data: Dataset,
    real: Sequence[TrainingRecord],
    seeds: Sequence[int],
    *,
    every: int,
    steps: Sequence[int],
    at: int,
) -> tuple[dict[str, list[float]], list[Row]]:
    """Hessian trace at step `at` of real training over its maximum along `steps`: on a set, minus that on real data."""
    few = data.train.subset(min(300, len(data.train)), seed=0)
    splits = {"real": few} | {name: decoded(one)[0].to(few.device) for name, one in sets.items()}
    rows: list[Row] = []
    relative: dict[str, list[float]] = {name: [] for name in splits}
    for seed, record in zip(seeds, real, strict=True):
        network = models.from_spec(record.spec or {}).to(few.inputs)
        for name, split in splits.items():
            traces = []
            for step in steps:
                state = {key: stack[step // every].to(few.device) for key, stack in record.snapshots.items()}
                traces.append(hessian_trace(network, split, probes=10, seed=seed, state=state)[0])
                rows.append({"probe": "curvature", "set": name, "seed": seed, "step": step, "value": traces[-1]})
            relative[name].append(traces[list(steps).index(at)] / max(traces))
    return {name: [a - b for a, b in zip(relative[name], relative["real"], strict=True)] for name in sets}, rows


def influence(
    sets: dict[str, DistilledSet], data: Dataset, network: str, options: dict[str, Any], seed: int
) -> tuple[dict[str, tuple[Tensor, Tensor, Tensor]], list[Row]]:
    """For every image of a set its mean influence on its own class and on the others, and how much of the influence on
    its own class goes with sub-styles of that class, above chance.
    """
    labels = data.test.labels.cpu()
    styles = sub_styles(data)
    one_hot = F.one_hot(labels, len(data.classes)).float()
    found, rows = {}, []
    for name, one in sets.items():
        examples, _, _ = decoded(one)
        built = models.build(network, data, seed=seed, **options)
        change, _ = leave_one_out(built, examples.to(data.device), data.test)
        per_class = change @ one_hot / one_hot.sum(0)
        hard = examples.labels.cpu()
        own = per_class.gather(1, hard[:, None])[:, 0]
        others = (per_class.sum(1) - own) / (len(data.classes) - 1)
        special = torch.tensor(
            [
                explained(change[i][labels == c], styles[c]) - chance(change[i][labels == c], styles[c])
                for i, c in enumerate(hard.tolist())
            ]
        )
        found[name] = own, others, special
        rows += [
            {
                "probe": "influence",
                "set": name,
                "image": i,
                "class": data.classes[int(hard[i])],
                "value": float(own[i]),
                "on other classes": float(others[i]),
                "explained by style": float(special[i]),
            }
            for i in range(len(hard))
        ]
    return found, rows


def sub_styles(data: Dataset, count: int = 3) -> list[Tensor]:
    """Style of each test example within its class: k-means clusters of its pixels, one tensor per class."""
    from sklearn.cluster import KMeans  # noqa: PLC0415 - scikit-learn takes a moment to load

    found = []
    for c in range(len(data.classes)):
        x = data.test.inputs[data.test.labels == c].flatten(1).cpu().double().numpy()
        clusters = KMeans(min(count, len(x)), n_init=4, random_state=0).fit(x)
        found.append(torch.from_numpy(clusters.labels_).long())
    return found


def explained(values: Tensor, groups: Tensor) -> float:
    """Share of the variance of values (n,) that lies between groups (n,), in 0..1 (η²).

    Examples
    --------
    >>> explained(torch.tensor([1.0, 1.0, 3.0, 3.0]), torch.tensor([0, 0, 1, 1]))
    1.0
    """
    values = values.double()
    count = torch.bincount(groups).double()
    means = torch.bincount(groups, values) / count.clamp_min(1)
    total = (values - values.mean()).square().sum()
    return float((count * (means - values.mean()).square()).sum() / total) if total > 0 else 0.0


def chance(values: Tensor, groups: Tensor) -> float:
    """What `explained` is on average where the groups mean nothing: (groups − 1) / (n − 1)."""
    return (len(groups.unique()) - 1) / max(1, len(values) - 1)
