"""Do images that are always seen beside their mirror images store one side only, and teach more?

Paper 086, FYI, on trajectory matching: on digits of which every other one is mirrored, where left and right are equally
likely as they are in photographs; and on digits as they are, where a mirrored 2 is no 2.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from workbench.condensation import (
    FYI,
    MTT,
    DistributionMatching,
    Experts,
    GradientMatching,
    Siamese,
    Trajectories,
    asymmetry,
    condense,
    evaluate_mirrored,
)
from workbench.condensation.making.method import Matching
from workbench.data import Dataset, Split, mirrored
from workbench.records import DistilledSet, Record
from workbench.studies.condensation.trajectory_matching import COST, PUBLISHED
from workbench.studies.kit.claims import Estimate, asserted, estimate, reported
from workbench.studies.kit.distilling import at_most
from workbench.studies.kit.pools import by_seed
from workbench.studies.kit.study import Outcome, Setting, study

TESTS = ("copies", "plain", "random flip")
SYMMETRIC = ("0", "1", "8")
UNMIRRORED = Siamese("color+crop+cutout+scale+rotate")
"""DSA without its flips, in hosts and in FYI alike: on plain hosts they would be half of FYI."""


@dataclass(frozen=True)
class Scale:
    """What a budget buys."""

    experts: Experts
    method: Mapping[str, Any]
    sizes: tuple[int, ...]
    examples: int | None
    hosts: tuple[str, ...]
    evaluations: int
    epochs: int
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    by_size: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    """Further arguments of `MTT`, by images per class."""
    controls: int = 3
    """Seeds for the data on which FYI should not help."""


@study(
    seeds=(5, 5),
    small=Scale(
        experts=Experts(count=10, epochs=10, lr=0.05, batch_size=64, network="mlp", options={"width": 64, "depth": 1}),
        method={
            "iterations": 150,
            "steps": 12,
            "span": 2,
            "latest": 8,
            "step_size": 0.05,
            "lr_images": 3.0,
            "lr_step": 0.01,
            "recompute": False,
        },
        sizes=(1,),
        examples=2000,
        hosts=("MTT",),
        evaluations=5,
        epochs=300,
        options={"mlp": {"width": 64, "depth": 1}},
    ),
    full=Scale(
        experts=Experts(count=100, epochs=50, augment=UNMIRRORED, together=10),
        method={"iterations": 5000, "augment": UNMIRRORED},
        by_size=PUBLISHED,
        sizes=(1, 10, 50),
        examples=None,
        hosts=("MTT", "DC", "DM"),
        evaluations=5,
        epochs=1000,
        controls=5,
    ),
    deviates=(
        "mirrored digits, each flipped with probability ½ in both splits, stand for photographs",
        "small: an MLP on 10 experts of 10 epochs, one image per class, no augmentation; MTT is the only host",
        "DSA's own flips are left out of hosts and of FYI, where the public code keeps them in both",
        "sets are judged without DSA; no ZCA whitening",
    ),
    cost=COST + " MTT with and without FYI, on two or three kinds of data; DM 2.6 s per iteration besides.",
)
def run(s: Setting[Dataset, Scale]) -> Outcome:
    """Hosts with and without FYI on mirrored data, on the data as they are and, of digits, on those that are their own
    mirror images; each set is tested with mirror images, without, and with random flips.

    Each seed has its own experts and images.
    """
    scale, dataset, device = s.scale, at_most(s.data, s.scale.examples), s.device
    rows: list[dict[str, Any]] = []
    records: dict[str, Record] = {}
    each = kinds(dataset)
    numbers = {kind: s.seeds if kind == "mirrored" else s.seeds[: scale.controls] for kind in each}
    for kind, these in each.items():
        s.tell(f"data {kind}")
        for seed, experts in by_seed(scale.experts, these, numbers[kind], device=device):
            for ipc in scale.sizes:
                for name, host in hosts(scale, ipc, experts).items():
                    for method in (host, FYI(host)):
                        made = condense(these, method, seed=seed, device=device, snapshots=20, progress=False)
                        about = {"data": kind, "host": name, "fyi": isinstance(method, FYI), "ipc": ipc, "seed": seed}
                        tests = TESTS if kind == "mirrored" else TESTS[:2]
                        rows += [about | row for row in tested(made, these, scale, tests, seed, device)]
                        title = f"{made.name}, {kind}"
                        records[title if ipc == scale.sizes[0] else f"{title}, ipc {ipc}"] = made
    main = scale.sizes[0], scale.hosts[0]

    def gain(kind: str, over: str, mine: str = "copies") -> Estimate:
        """FYI (tested as `mine`) − host (tested as `over`), paired by seed."""
        return estimate(
            [
                value(rows, kind, main, seed, fyi=True, test=mine) - value(rows, kind, main, seed, fyi=False, test=over)
                for seed in numbers[kind]
            ]
        )

    def tilt(*, fyi: bool) -> list[float]:
        return [value(rows, "mirrored", main, seed, fyi=fyi, column="asymmetry") for seed in s.seeds]

    one_side = estimate(
        [
            value(rows, "mirrored", main, seed, fyi=True, test="copies")
            - value(rows, "mirrored", main, seed, fyi=True, test="plain")
            for seed in s.seeds
        ]
    )
    claims = [
        asserted(
            "On mirrored data FYI teaches more than its host does (accuracy; MTT, one image per class)",
            gain("mirrored", "plain"), ">", 0.0,
        ),
        reported("… and than its host's images beside their mirror images", gain("mirrored", "copies"), ">", 0.0),
        reported("… by half a point at least", gain("mirrored", "copies"), ">", 0.005),
        reported("… and than its host's images, randomly flipped", gain("mirrored", "random flip"), ">", 0.0),
        asserted(
            "FYI's images are more than twice as asymmetric as its host's (ratio)",
            estimate([a / b for a, b in zip(tilt(fyi=True), tilt(fyi=False), strict=True)]), ">", 2.0,
        ),
        asserted(
            "They hold one side: without their mirror images they teach far less (accuracy lost)", one_side, ">", 0.1
        ),
        reported(
            "Negative control: on the data as they are FYI gains nothing",
            gain("as they are", "plain"), "<=", 0.0,
            note="A mirrored 2, 3 or 7 is none, so that FYI teaches what no test image shows.",
        ),
    ]  # fmt: skip
    if "symmetric classes" in each:
        claims.append(reported("On digits that are their own mirror images it is neutral (accuracy, 0 1 8)",
                               gain("symmetric classes", "plain"), ">=", -0.005))  # fmt: skip
    return Outcome(
        rows,
        claims=claims,
        records=records,
        settings={
            "experts": scale.experts.settings,
            **{name: value for name, value in scale.method.items() if name != "augment"},
            "tests": list(TESTS),
        },
        notes="Images are stored without their mirror images. A set's accuracy is the mean of new networks trained on "
        "it; asymmetry is the mean of ‖x − flip(x)‖ / ‖x‖.",
    )


def kinds(data: Dataset) -> dict[str, Dataset]:
    """Mirrored at random, as they are and, of digits, those that look alike in a mirror."""
    found = {"mirrored": mirrored(data), "as they are": data}
    if set(SYMMETRIC) < set(data.classes):
        kept = [data.classes.index(name) for name in SYMMETRIC]
        found["symmetric classes"] = Dataset(
            f"{data.name} {' '.join(SYMMETRIC)}", _of(data.train, kept), _of(data.test, kept)
        )
    return found


def hosts(scale: Scale, ipc: int, experts: Trajectories) -> dict[str, Matching]:
    """The methods that FYI is added to."""
    every: dict[str, Matching] = {
        "MTT": MTT(ipc=ipc, experts=experts, **{**scale.method, **scale.by_size.get(ipc, {})}),
        "DC": GradientMatching(ipc=ipc, augment=UNMIRRORED),
        "DM": DistributionMatching(ipc=ipc, augment=UNMIRRORED),
    }
    return {name: every[name] for name in scale.hosts}


def tested(
    made: DistilledSet, data: Dataset, scale: Scale, tests: Sequence[str], seed: int, device: str
) -> list[dict[str, Any]]:
    """One row per test: mean accuracy of new networks, and the set's asymmetry, objective and seconds."""
    found = evaluate_mirrored(
        made,
        data,
        scale.experts.network,
        [1000 * (seed + 1) + k for k in range(scale.evaluations)],
        scale.epochs,
        tests=tests,
        step_size=made.step_size is not None,
        options=scale.options,
        references=False,
        points=1,
        device=device,
        progress=False,
    )
    last = made.loss[-max(1, len(made.loss) // 10) :].mean().item()
    about = {"asymmetry": asymmetry(made.images), "last loss": last, "seconds": made.provenance.wall_time}
    return [{"test": test, "accuracy": one.mean(0), **about} for test, one in found.items()]


def value(
    rows: Sequence[dict[str, Any]],
    kind: str,
    main: tuple[int, str],
    seed: int,
    *,
    fyi: bool,
    test: str = "plain",
    column: str = "accuracy",
) -> float:
    """The one number of a set."""
    wanted = {"data": kind, "ipc": main[0], "host": main[1], "seed": seed, "fyi": fyi, "test": test}
    (row,) = (row for row in rows if all(row[key] == it for key, it in wanted.items()))
    return float(row[column])


def _of(split: Split, classes: list[int]) -> Split:
    """The examples of some classes, which are numbered anew."""
    number = torch.full((len(split.classes),), -1)
    number[classes] = torch.arange(len(classes))
    labels = number.to(split.labels.device)[split.labels]
    kept = split.take(labels >= 0)
    return replace(kept, labels=labels[labels >= 0], classes=tuple(split.classes[c] for c in classes))
