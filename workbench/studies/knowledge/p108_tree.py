"""A network explained by one decision tree of a given depth: is the tree better for having been told its logits?"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from sklearn.ensemble import RandomForestClassifier

from workbench import data as datasets
from workbench.data import Dataset, joined
from workbench.knowledge import DistilledTree, raw_rows
from workbench.knowledge.methods.tree import Seen
from workbench.records import Claim, TrainingRecord
from workbench.studies.kit.claims import Estimate, asserted, estimate, exact, reported
from workbench.studies.kit.recipes import Network
from workbench.studies.kit.study import Outcome, Setting, study
from workbench.training import Ensemble

LABELS, LOGITS = "labels", "logits"
TREES: dict[str, dict[str, Any]] = {
    LABELS: {"teacher": "labels"},
    "T=1": {"targets": "probabilities"},
    "T=3": {"targets": "probabilities", "temperature": 3.0},
    LOGITS: {},
    "T=3, 4 more inputs each": {"targets": "probabilities", "temperature": 3.0, "extra": 4},
    "logits, 4 more inputs each": {"extra": 4},
}
SOFT = "T=3, 4 more inputs each"


@dataclass(frozen=True)
class Scale:
    """How large the comparison is."""

    teacher: Network
    depths: tuple[int, ...]
    tables: tuple[str, ...] = ()
    """Tables that are looked at beside the data, on the data's own default only."""
    trees: Mapping[str, dict[str, Any]] = field(default_factory=lambda: TREES)


@study(
    seeds=(8, 5),
    small=Scale(
        Network("mlp", {"width": [64]}, {"steps": 500, "lr": 4e-3}), depths=(4, 5, 6, 8, 10),
        tables=("breast_cancer", "wine"),
    ),
    full=Scale(Network("convnet", {"width": 32}, {"steps": 9380, "lr": 1e-3}), depths=(4, 5, 6, 8, 10, 12)),
    data_full="mnist",
    deviates=(
        "Connect-4 is left out, and on small tables the targets are not out of fold",
        "interpolated inputs that the network labels too are ours",
        "which of the paper's two routes, logits or soft labels, is its headline is not certain; both are shown",
    ),
    cost="measured on images of 28×28, seconds of one CPU core: a step of the network 0.19, a tree of depth 8 on 3,500 "
    "images 1.2, so about 15 on 35,000; 5 networks and 180 trees, a third of them on 5 times the inputs, are about "
    "5 hours of a core",
)  # fmt: skip
def run(s: Setting[Dataset, Scale]) -> Outcome:
    """Five kinds of targets, in half of the data, at equal depth; the forest as a ceiling."""
    halves = [halved(s.data, seed) for seed in s.seeds]
    teachers = _teachers(s, halves)
    s.tell("a network for each half is trained")
    rows = _trees(s, halves, teachers, s.scale.depths, s.scale.trees)
    if s.default:
        for name in s.scale.tables:
            table = datasets.load(name)
            each = [halved(table, seed) for seed in s.seeds]
            few = {kind: s.scale.trees[kind] for kind in (LABELS, LOGITS)}
            rows += _trees(s, each, _teachers(s, each), (2, 3), few)
    claims = _claims(rows, s.data.name, s.scale.depths)
    return Outcome(rows, claims, teacher=teachers[0], records={"taught": teachers[0]})


def halved(data: Dataset, seed: int) -> Dataset:
    """All examples anew in two halves."""
    whole = joined(data.train, data.test)
    order = torch.randperm(len(whole), generator=torch.Generator().manual_seed(seed))
    half = len(order) // 2
    return replace(data, train=whole.take(order[:half]), test=whole.take(order[half:]))


def _teachers(s: Setting[Dataset, Scale], halves: list[Dataset]) -> list[TrainingRecord]:
    network = s.scale.teacher if len(halves[0].shape) == 3 or s.scale.teacher.name == "mlp" else Network("mlp")
    made = [network(half, 1000 + seed) for half, seed in zip(halves, s.seeds, strict=True)]
    return Ensemble(made).fit(
        halves, seeds=s.seeds, progress=False, evaluate_every=0, device=s.device, **network.training
    )


def _trees(
    s: Setting[Dataset, Scale],
    halves: list[Dataset],
    teachers: list[TrainingRecord],
    depths: tuple[int, ...],
    kinds: Mapping[str, dict[str, Any]],
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for seed, half, teacher in zip(s.seeds, halves, teachers, strict=True):
        X, X_test = raw_rows(half.train), raw_rows(half.test)
        y, y_test = (split.labels.cpu().numpy() for split in (half.train, half.test))
        network = Seen(teacher.model.cpu(), half.train)
        said = np.asarray(network(X_test).argmax(1))
        told = {"data": half.name, "seed": seed}
        forest = RandomForestClassifier(100, random_state=seed).fit(X, y)
        rows.append(told | {"method": "random forest", "accuracy": float(forest.score(X_test, y_test))})
        rows.append(told | {"method": "network", "accuracy": float((said == y_test).mean())})
        for depth in depths:
            for kind, settings in kinds.items():
                tree = DistilledTree(**{"teacher": network} | settings, max_depth=depth, random_state=seed).fit(X, y)
                answers = tree.predict(X_test)
                rows.append(told | {
                    "method": kind, "depth": depth, "accuracy": float((answers == y_test).mean()),
                    "fidelity": float((answers == said).mean()), "leaves": int(tree.get_n_leaves()),
                })  # fmt: skip
    return rows


def _claims(rows: list[dict[str, Any]], data: str, depths: tuple[int, ...]) -> list[Claim]:
    own = [row for row in rows if row["data"] == data and "depth" in row]

    def gain(kind: str, among: tuple[int, ...], what: str = "accuracy") -> Estimate:
        of = {(row["method"], row["depth"], row["seed"]): row[what] for row in own}
        seeds = dict.fromkeys(row["seed"] for row in own)
        return estimate([np.mean([of[kind, d, k] - of[LABELS, d, k] for d in among]) for k in seeds])

    low, high = tuple(d for d in depths if d <= 6), tuple(d for d in depths if d >= 8)
    claims = []
    if low:
        per_seed = gain(LOGITS, low)
        claims += [
            reported("Told logits, a tree of depth 4 to 6 is better than one told labels, by 1.5 points", per_seed,
                     ">=", 0.015, "Which half of the data is seen moves the gain more than the gain is."),
            reported("… at depth 6 alone", gain(LOGITS, low[-1:]), ">", 0),
            reported("It follows its network more closely, too", gain(LOGITS, low, "fidelity"), ">", 0.0),
            asserted("Told probabilities at T=1 it gains no more than half a point", gain("T=1", low), "<=", 0.005),
        ]  # fmt: skip
    if high:
        claims += [
            asserted("At depths from 8 on a tree told logits alone is worse than one told labels", gain(LOGITS, high),
                     "<", 0),
            reported("Told T=3, with more inputs labelled by the network, it stays ahead at depths from 8 on",
                     gain(SOFT, high), ">", 0),
        ]  # fmt: skip
    leaves = [row["leaves"] / 2 ** row["depth"] for row in own if row["method"] == LOGITS and row["depth"] in low]
    return [*claims, reported("Share of the 2^depth leaves that a tree told logits uses, at its least",
                              exact(min(leaves, default=0.0)), ">=", 0.5)]  # fmt: skip
