"""Do experts that keep to flat regions leave a student less lost where it is off their path?

Paper 028, FTD: experts trained by plain SGD and by GSAM, the images made from the trajectories of each in the same way
(with the same averaging), how sharp the loss is along the path, and where a student ends that starts beside it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from workbench.condensation import (
    FTD,
    GSAM,
    MTT,
    Experts,
    FlatNetwork,
    Trajectories,
    accumulated_error,
    condense,
    replay,
)
from workbench.condensation.trajectories.gsam import ascent_gap, top_eigenvalue
from workbench.data import Dataset, Split
from workbench.records import DistilledSet, Record
from workbench.studies.condensation import trajectory_matching
from workbench.studies.condensation.trajectory_matching import COST, judged
from workbench.studies.kit.claims import asserted, estimate, reported
from workbench.studies.kit.pools import by_seed
from workbench.studies.kit.study import Outcome, Setting, study

RADIUS = 0.1
"""ρ of the ascent step by which sharpness is measured (not adaptive)."""

BESIDE = 0.5
"""How far beside the expert's path a student starts, in units of weight."""


@dataclass(frozen=True)
class Scale:
    """What a budget buys: that of trajectory matching, the climbs of flat experts, and the averaging of the images."""

    base: trajectory_matching.Scale
    rules: Mapping[str, GSAM]
    decays: Mapping[int, float] = field(default_factory=lambda: {1: 0.9999, 10: 0.9995, 50: 0.999})


@study(
    data_full="cifar10",
    seeds=(3, 5),
    small=Scale(
        trajectory_matching.Scale(
            experts=Experts(
                count=8, epochs=30, lr=0.05, batch_size=64, network="mlp", options={"width": 64, "depth": 1}
            ),
            method={
                "iterations": 200,
                "steps": 20,
                "span": 2,
                "latest": 10,
                "step_size": 0.05,
                "optimizer": "adam",
                "lr_images": 0.02,
                "lr_step": 0.01,
                "recompute": False,
            },
            sizes=(1,),
            examples=2000,
            options={"mlp": {"width": 64, "depth": 1}},
        ),
        {"FTD": GSAM(rho=0.2, a=0.4, adaptive=False)},
        {1: 0.95},
    ),
    full=Scale(
        trajectory_matching.published(),
        {f"FTD, ρ = {rho:g}": GSAM(rho=rho, a=0.4, adaptive=True) for rho in (0.01, 0.005, 0.05, 0.1)},
    ),
    deviates=(
        "small: an MLP on 8 experts of 30 epochs at a rate of 0.05, one image per class, no augmentation, no whitening",
        "small: GSAM climbs by ρ = 0.2, not adaptive: adaptive ρ = 0.01 is next to plain SGD on weights as small",
        "small: images are averaged with a decay of 0.95 over 200 iterations, not 0.9999 over 5,000",
        "MTT's images are averaged too, so that only the experts differ",
        "log α is learned, not α",
    ),
    cost=COST + " Flat experts take two passes per batch, and there are four kinds.",
)
def run(s: Setting[Dataset, Scale]) -> Outcome:
    """Each seed has its own experts of each kind, with the same initial weights and batches, and its own images."""
    base, data = s.scale.base, s.scale.base.prepared(s.data)
    rows: list[dict[str, Any]] = []
    records: dict[str, Record] = {}
    drift: dict[str, Any] = {}
    for name, rule in {"MTT": None, **s.scale.rules}.items():
        s.tell(f"experts and images of {name}")
        for seed, experts in by_seed(replace(base.experts, rule=rule), data, s.seeds, device=s.device):
            for ipc in base.sizes:
                method = base.matching(ipc, experts, MTT if rule is None else FTD, decay=s.scale.decays[ipc])
                one = condense(data, method, seed=seed, device=s.device, snapshots=20, progress=False, name=name)
                row = {"method": name, "ipc": ipc, "seed": seed} | judged(one, data, base, seed, s.device)
                if ipc == base.sizes[0]:
                    row |= sharpness(experts, data.train, method.latest) | beside(experts, one, method)
                    drift[name] = followed(experts, one, method)
                rows.append(row)
                records[name if ipc == base.sizes[0] else f"{name}, ipc {ipc}"] = one
    flat = next(iter(s.scale.rules))

    def differences(column: str) -> list[float]:
        at = {(row["method"], row["seed"]): row[column] for row in rows if row["ipc"] == base.sizes[0]}
        return [at[flat, seed] - at["MTT", seed] for seed in s.seeds]

    def relative(column: str) -> list[float]:
        at = {(row["method"], row["seed"]): row[column] for row in rows if row["ipc"] == base.sizes[0]}
        return [at[flat, seed] / at["MTT", seed] - 1 for seed in s.seeds]

    return Outcome(
        rows,
        claims=(
            asserted(
                "Where flat experts end, an ascent step raises the loss less (relative change)",
                estimate(relative("rise at the end")), "<", 0.0,
            ),
            asserted("… and the largest curvature is lower", estimate(relative("curvature at the end")), "<", 0.0),
            reported(
                "On the way, where segments start, the largest curvature is lower too",
                estimate(relative("curvature on the way")), "<", 0.0,
            ),
            reported(
                "… and an ascent step raises the loss less",
                estimate(relative("rise on the way")), "<", 0.0,
                note="Flat experts learn more slowly: at the same epoch the slope, which the rise follows, is larger.",
            ),
            reported(
                "A student that starts beside the path makes no larger initialisation error for it (relative change)",
                estimate(relative("initialisation error")), "<=", 0.0,
                note="‖A_S(θ* + ε) − A_S(θ*)‖ / ‖ε‖, which the matching error does not enter.",
            ),
            reported(
                "… and ends no further from its target, compared with a start on the path (share of the segment)",
                estimate(differences("extra distance")), "<=", 0.0,
                note="A student that already misses its target by more gains less distance from the same offset: this "
                "measure flatters whichever experts are harder to match.",
            ),
            reported(
                "The images teach better for it (accuracy, both averaged)",
                estimate(differences("accuracy")), ">", 0.0,
                note="The gain needs a ConvNet and CIFAR (budget 'full'); on digits with an MLP it is not expected.",
            ),
            reported("… on another architecture too", estimate(differences("other network")), ">", 0.0),
        ),
        records=records,
        settings={
            **base.settings,
            "rules": {name: repr(rule) for name, rule in s.scale.rules.items()},
            "decay": {str(ipc): s.scale.decays[ipc] for ipc in base.sizes},
            "drift": drift,
        },
        notes=f"Columns: “rise” is L(θ + e) − L(θ) for ‖e‖ = {RADIUS:g} along the gradient and “curvature” the largest "
        "eigenvalue of the Hessian, both on training data, mean over experts; “on the way” at epochs that segments "
        f"start from. A student on the images starts on the path, or beside it by ε of length {BESIDE:g}: "
        "“initialisation error” is how much its displacement changes and “offset left” how far apart the two ends are, "
        "both as a share of ε; “extra distance” how much further from the target it ends for it and “matching error” "
        "how far it ends that starts on the path, both as a share of the distance from start to target. “drift” "
        "follows one student over successive segments.",
    )  # fmt: skip


def sharpness(experts: Trajectories, train: Split, latest: int, examples: int = 1000) -> dict[str, float]:
    """How sharp the loss is where segments of the experts' paths start and where the paths end."""
    few = train.subset(min(examples, len(train))).to("cpu")
    network = FlatNetwork(experts.network().to(few.inputs.dtype))

    def loss(weights: Tensor) -> Tensor:
        logits = network(weights, few.inputs)
        labels = few.labels.expand(len(weights), -1)
        return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view(labels.shape).mean(1)

    found = {}
    for where, epochs in {"on the way": (1, latest // 2, latest - 1), "at the end": (experts.epochs,)}.items():
        points = torch.stack([experts.at(k, epoch) for epoch in sorted(set(epochs)) for k in range(len(experts))])
        found[f"rise {where}"] = ascent_gap(loss, points, RADIUS).mean().item()
        found[f"curvature {where}"] = top_eigenvalue(loss, points, iterations=12).mean().item()
    return found


def beside(experts: Trajectories, images: DistilledSet, method: MTT, draws: int = 4) -> dict[str, float]:
    """Where students end that start on an expert's path and beside it."""
    generator = torch.Generator().manual_seed(0)
    span, latest = method.span, method.latest
    starts, targets = [], []
    for expert in range(len(experts)):
        for epoch in range(0, latest, max(1, latest // 3)):
            starts.append(experts.at(expert, epoch))
            targets.append(experts.at(expert, epoch + span))
    start, target = torch.stack(starts), torch.stack(targets)
    length = (start - target).norm(dim=1)
    offsets = torch.randn(draws, *start.shape, generator=generator)
    offsets = BESIDE * offsets / offsets.norm(dim=2, keepdim=True)
    on_path = replay(images, start).path[-1]
    off_path = replay(images, (start + offsets).flatten(0, 1)).path[-1].view_as(offsets)
    matching = (on_path - target).norm(dim=1)
    return {
        "matching error": (matching / length).mean().item(),
        "extra distance": (((off_path - target).norm(dim=2) - matching) / length).mean().item(),
        "offset left": ((off_path - on_path).norm(dim=2) / BESIDE).mean().item(),
        "initialisation error": ((off_path - on_path - offsets).norm(dim=2) / BESIDE).mean().item(),
    }


def followed(experts: Trajectories, images: DistilledSet, method: MTT) -> list[dict[str, float]]:
    """The error of one student over successive segments of one expert's path, split as in the paper."""
    path = experts.of(0).to(images.images.dtype)
    errors = accumulated_error(lambda w: replay(images, w[None]).path[-1, 0], path, span=method.span)
    return [{str(key): float(value) for key, value in row.items()} for row in errors.to_frame().to_dict("records")]
