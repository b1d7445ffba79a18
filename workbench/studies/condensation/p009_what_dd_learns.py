"""What do distilled images hold: are they stand-ins for real data, or early training dynamics, image by image?

Paper 009. Sets of four methods (back-propagation through time, gradient, distribution and trajectory matching) and
random real images, under the paper's probes: recognition, mixing with real images, agreement with networks stopped
early and trained on subsets at matched accuracy, curvature, and exact leave-one-out influence.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from workbench.analysis.fidelity import wilson
from workbench.condensation import DD, MTT, DistributionMatching, Experts, GradientMatching, Random, condense
from workbench.condensation.methods.what_dd_learns import (
    predictions_along,
    stopped_early,
    taught_by,
    trained_on_subsets,
)
from workbench.data import Dataset
from workbench.records import Claim, DistilledSet, StudyResult
from workbench.studies.condensation import what_dd_learns_probes as probes
from workbench.studies.kit.claims import Estimate, asserted, estimate, reported
from workbench.studies.kit.setting import Setting

NETWORK, OPTIONS = "mlp", {"width": 64, "depth": 1}
METHODS = ("BPTT", "DC", "DM", "MTT")
IPC = 5
ADDED = 50
LONGER: dict[str, float] = {"small": 1, "full": 5}
"""What iterations and the number of networks trained on subsets are multiplied with."""
EXAMPLES = 2000
"""Training examples of the small budget, at most."""
EVERY = 2  # steps of real training between kept moments
CURVES = (0, 10, 20, 40, 80, 140, 200, 300)  # steps at which curvature is measured


def run(
    data: Any = None,
    *,
    root: Any = None,
    seeds: int | Sequence[int] | None = None,
    budget: str = "small",
    device: str = "auto",
) -> StudyResult:
    """Four sets of five images per class, each distilled once; all probes on an MLP of one hidden layer of 64 units.

    The repetitions are of the probing networks: weights, subsets, and which real images are mixed in. Arguments as for
    `workbench.studies.run`.
    """
    setting = Setting.of(data, root=root, seeds=seeds, budget=budget, device=device, seeds_small=6, seeds_full=20)
    setting = setting.at_most(EXAMPLES if budget == "small" else None)
    dataset, numbers = setting.data, setting.seeds
    longer = LONGER[budget]
    sets = distilled_sets(dataset, numbers[0], longer, device)
    learned = {
        added: taught_by(sets, dataset, NETWORK, numbers, real=added, options=OPTIONS, device=device)
        for added in (0, ADDED)
    }
    labels = dataset.test.labels.cpu()
    predicted = {
        (name, added): taught.logits.argmax(2) for added, each in learned.items() for name, taught in each.items()
    }
    accuracy = {key: (p == labels).double().mean(1) for key, p in predicted.items()}
    # Weights of their own: networks that started alike would agree for that reason alone.
    others = [1_000_000 + seed for seed in numbers]
    real = stopped_early(dataset, NETWORK, others, every=EVERY, options=OPTIONS, device=device)
    early = torch.cat([predictions_along(record, dataset.test.inputs).cpu() for record in real])
    sizes = [classes * len(dataset.classes) for classes in (2, 3, 4, 6, 8, 12, 16, 24)]
    sizes = [size for size in sizes if size <= len(dataset.train)]
    subsets = trained_on_subsets(
        dataset, NETWORK, sizes, max(1, round(8 * longer)), seed=numbers[0], options=OPTIONS, device=device
    )
    rows: list[probes.Row] = [
        {"probe": "accuracy", "set": name, "seed": seed, "real images added": added, "value": float(value)}
        for (name, added), values in accuracy.items()
        for seed, value in zip(numbers, values, strict=True)
    ]
    distilled = {name: sets[name] for name in METHODS}
    own = {name: predicted[name, 0] for name in METHODS}
    gaps, agreed = probes.agreement(own, early, subsets, labels, numbers)
    saturated, recognised = probes.recognition(sets, real, numbers, EVERY)
    flat, curved = probes.curvature(distilled, dataset, real, numbers, every=EVERY, steps=CURVES, at=200)
    influence, missed = probes.influence(distilled, dataset, NETWORK, OPTIONS, numbers[0])
    rows += [*agreed, *recognised, *curved, *missed]
    return setting.result(
        paper=9,
        title="What do distilled images hold: stand-ins for real data, or early training dynamics?",
        rows=rows,
        claims=(
            *_claims_on_mixing(accuracy),
            *_claims_on_dynamics(gaps, saturated, flat),
            *_claims_on_influence(influence),
        ),
        records=sets,
        settings={
            "network": f"{NETWORK}, {OPTIONS}",
            "ipc": IPC,
            "subset sizes": sizes,
            "real images added": ADDED,
            "accuracies": {name: float(accuracy[name, 0].mean()) for name in sets},
        },
        notes="The paper distils CIFAR-10 at ten images per class into a ConvNet and compares with 520 networks of "
        "subsets; here an MLP learns from five digits per class, and the families have at most a few hundred "
        "members, matched to within one point of accuracy. Each set is distilled once: intervals are over networks.",
    )


def distilled_sets(data: Dataset, seed: int, longer: float = 1, device: str = "auto") -> dict[str, DistilledSet]:
    """The four methods' sets and a random real one, of equal size.

    Parameters
    ----------
    data
        What to distil.
    seed
        Of all of them.
    longer
        Multiplies all iterations.
    """
    shared: dict[str, Any] = {"network": NETWORK, "options": OPTIONS}
    experts = Experts(count=8, epochs=8, lr=0.05, batch_size=128, **shared).train(
        data, seed=seed, device=device, progress=False
    )
    methods: dict[str, tuple[Any, int | None]] = {
        "BPTT": (DD(ipc=IPC, passes=15, weights="random", students=2, real_batch=256, initial="real", **shared), 100),
        "DC": (GradientMatching(ipc=IPC, real_batch=64, **shared), 200),
        "DM": (DistributionMatching(ipc=IPC, real_batch=64, **shared), 300),
        "MTT": (
            MTT(ipc=IPC, steps=15, latest=5, optimizer="adam", lr_images=0.05, step_size=0.05, experts=experts),
            150,
        ),
        "random real": (Random(ipc=IPC), None),
    }
    return {
        name: condense(
            data,
            method,
            iterations=None if iterations is None else max(1, round(longer * iterations)),
            snapshots=0 if iterations is None else 10,
            seed=seed,
            device=device,
            progress=False,
            name=name,
        )
        for name, (method, iterations) in methods.items()
    }


def _claims_on_mixing(accuracy: dict[tuple[str, int], Tensor]) -> list[Claim]:
    gain = {name: accuracy[name, ADDED] - accuracy[name, 0] for name in (*METHODS, "random real")}
    better = [
        asserted(
            f"Networks learn more from {name}'s images than from as many random real ones",
            estimate((accuracy[name, 0] - accuracy["random real", 0]).tolist()), ">", 0.0,
        )
        for name in METHODS
    ]  # fmt: skip
    return better + [
        reported(
            f"Adding {ADDED} real images helps {name}'s set less than as many random real ones",
            estimate((gain[name] - gain["random real"]).tolist()), "<", 0.0,
            note="Distilled images start higher, so part of this is that less is left to gain.",
        )
        for name in METHODS
    ]  # fmt: skip


def _claims_on_dynamics(
    gaps: dict[str, list[float]], shares: dict[str, list[float]], flat: dict[str, list[float]]
) -> list[Claim]:
    claims = []
    for name in METHODS:
        measured = estimate(gaps[name]) if gaps[name] else Estimate(float("nan"), (float("nan"),) * 2, 0)
        claim = asserted if name in ("BPTT", "MTT") else reported
        claims.append(
            claim(
                f"At matched accuracy, networks of {name}'s images predict more like early-stopped networks than like "
                "subset-trained ones (agreement)",
                measured, ">", 0.0,
                note="Only seeds count for which both families have members within one point of accuracy.",
            )
        )  # fmt: skip
    claims += [
        reported(
            f"Networks learning real data recognise {name}'s images early (share of the final accuracy after 100 of "
            "300 steps)",
            estimate(shares[name]), ">", 0.95,
        )
        for name in METHODS
    ]  # fmt: skip
    return claims + [
        (asserted if name in ("BPTT", "MTT") else reported)(
            f"After 200 real steps {name}'s images are flatter than real data (Hessian trace over its maximum)",
            estimate(flat[name]), "<", 0.0,
        )
        for name in METHODS
    ]  # fmt: skip


def _claims_on_influence(influence: dict[str, tuple[Tensor, Tensor, Tensor]]) -> list[Claim]:
    claims = []
    for name, (own, others, special) in influence.items():
        n = len(own)
        share = ((own > 0) & (own > others)).double()
        claims += [
            asserted(
                f"Left out, most of {name}'s images are missed by their own class, and more than by others (share)",
                Estimate(float(share.mean()), wilson(int(share.sum()), n), n), ">", 0.5,
                note="Repetitions are images.",
            ),
            reported(
                f"The influence of {name}'s images within their class goes with its sub-styles (η² above chance)",
                estimate(special.tolist()), ">", 0.0,
                note="Repetitions are images; styles are three k-means clusters of pixels per class.",
            ),
        ]  # fmt: skip
    return claims
