"""Are representative real images a quieter target than random ones, and is progress faster by them?

Paper 059, DREAM. Gradient matching of a small perceptron with random batches, with random batches from the same start
as DREAM, and with DREAM's; and how far a batch's gradient is from the gradient of its whole class.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from workbench import models
from workbench.condensation import DREAM, GradientMatching, InnerTraining, Random, RandomBatches, Run, Siamese, idc
from workbench.condensation.judging.teaching import Recipe
from workbench.condensation.making.batches import Batches, RealBatch, RepresentativeBatches
from workbench.condensation.making.networks import embedding
from workbench.condensation.methods.dc import matched, real_gradients
from workbench.data import Dataset
from workbench.records import Claim, DistilledSet
from workbench.studies.kit.claims import Estimate, asserted, estimate, reported
from workbench.studies.kit.distilling import JUDGED, Key, at_most, distil, first_of_each, judge, paired, rows
from workbench.studies.kit.study import Outcome, Setting, study
from workbench.training import fit

BATCH = 16
RANDOM, STARTED, OURS = "random batches", "random batches, k-means start", "DREAM"


@dataclass(frozen=True)
class Scale:
    """What a budget buys: a host of one image per class (its `ipc` is replaced by the sizes), and its judge.

    Attributes
    ----------
    host
        The method that DREAM is added to.
    network, options
        The architecture of the networks that judge.
    sizes
        Images per class.
    judges, judged
        How many networks learn from a set, and how.
    draws
        Batches by which the error of a batch's gradient is measured.
    """

    host: GradientMatching
    network: str
    options: dict[str, Any]
    sizes: tuple[int, ...]
    judges: int
    judged: Recipe = JUDGED
    examples: int | None = None
    draws: int = 8


MLP: dict[str, Any] = {"width": 64, "depth": 1}


@study(
    data_full="cifar10",
    seeds=(12, 5),
    small=Scale(
        host=GradientMatching(
            iterations=100, real_batch=BATCH, lr=0.01, training=InnerTraining(steps=5), network="mlp", options=MLP
        ),
        network="mlp",
        options=MLP,
        sizes=(1,),
        judges=3,
        examples=2000,
    ),
    full=Scale(
        host=idc(iterations=50_000),
        network="convnet",
        options={},
        sizes=(1, 10, 50),
        judges=5,
        judged=Recipe(epochs=1000, lr=0.01, batch_size=64, augment=Siamese("color+crop+cutout", mode="all"), points=1),
    ),
    deviates=(
        "small: the host is DC in an MLP that learns from the synthetic images between matches",
        "small: the images' learning rate is 0.01: at 0.03 accuracy peaks and falls again, with either kind of batch",
        "small: 100 iterations, one image per class, sets judged by 200 steps of Adam",
        "full: no CutMix, in the host's own training and in the judge's",
    ),
)
def run(s: Setting[Dataset, Scale]) -> Outcome:
    """Three arms, judged half-way and at the end; in full on IDC, the paper's host.

    Each class needs more than 16 training images.
    """
    scale, data = s.scale, at_most(s.data, s.scale.examples)
    network, options, last = scale.network, scale.options, scale.host.iterations
    table: list[dict[str, Any]] = []
    accuracy: dict[int, dict[Key, float]] = {at: {} for at in (last // 2, last)}
    kept: dict[str, DistilledSet] = {}
    for ipc in scale.sizes:
        s.tell(f"three arms at {ipc} images per class")
        sets = distil(_arms(replace(scale.host, ipc=ipc)), data, s.seeds, snapshots=11, device=s.device)
        kept |= first_of_each(sets)
        for at, found in accuracy.items():
            then = {key: one.at(at) if one.snapshots is not None else one for key, one in sets.items()}
            scores = judge(
                then,
                data,
                network=network,
                options=options,
                networks=scale.judges,
                recipe=scale.judged,
                device=s.device,
            )
            found.update(scores)
            table += rows(scores, sets, iteration=at)
    s.tell("errors of gradients")
    errors = {e: [errors_of(data, seed, e, scale.draws) for seed in s.seeds] for e in (0, 1, 5)}
    table += [
        {"method": name, "seed": seed, "epochs": epochs, **one[name]}
        for epochs, each in errors.items()
        for seed, one in zip(s.seeds, each, strict=True)
        for name in one
    ]
    return Outcome(
        table,
        claims=_claims(accuracy, errors),
        records=kept,
        settings={
            "network": network, "options": options, "real batch": scale.host.real_batch, "iterations": last,
        },
        notes="“seconds” include k-means. “error”, “variance” and “bias” are relative to the squared length of the "
        "class's gradient.",
    )  # fmt: skip


def errors_of(data: Dataset, seed: int, epochs: int, draws: int = 8) -> dict[str, dict[str, float]]:
    """How far the gradient of a batch is from that of its class, in a perceptron trained for some epochs on real data.

    Returns
    -------
    dict
        By kind of batch: mean ``error`` ‖g_B − g‖² / ‖g‖² over classes and draws, and its parts: ``variance`` over
        draws, and squared ``bias`` (the rest, an unbiased estimate, which can fall below 0).
    """
    network = models.build("mlp", data, seed=seed, width=64, depth=1)
    if epochs:
        fit(network, data, epochs=epochs, seed=seed, evaluate_every=0, progress=False)
    network.to(data.train.device).requires_grad_(False)
    run = Run(data.train, seed=seed, device=data.train.device)
    psi = embedding(network)
    full = _gradient(network, run, RandomBatches().draw(run, len(data.train), psi))
    kinds: dict[str, Batches] = {"random": RandomBatches(), "representative": RepresentativeBatches(interval=1)}
    found = {}
    for name, batches in kinds.items():
        drawn = []
        for run.iteration in range(draws):
            drawn.append(_gradient(network, run, batches.draw(run, BATCH, psi)))
        g = torch.stack(drawn)  # (draws, classes, weights)
        size = full.square().sum(1)
        error = ((g - full).square().sum(2) / size).mean().item()
        variance = (g.var(0).sum(1) / size).mean().item()
        found[name] = {"error": error, "variance": variance, "bias": error - variance}
    return found


def _arms(host: GradientMatching) -> dict[str, Any]:
    return {
        "random real": Random(ipc=host.ipc),
        RANDOM: host,
        STARTED: replace(host, initial="kmeans"),
        OURS: DREAM(host=host),
    }


def _gradient(network: nn.Module, run: Run, batch: RealBatch) -> Tensor:
    """∇ of each class's loss as one vector, (classes, weights)."""
    gradients = real_gradients(network, matched(network), run.split.inputs[batch.rows], batch)
    return torch.cat([value.flatten(1) for value in gradients.values()], 1)


def _claims(accuracy: dict[int, dict[Key, float]], errors: dict[int, list[dict[str, dict[str, float]]]]) -> list[Claim]:
    half, last = accuracy

    def ratio(epochs: int) -> Estimate:
        return estimate([one["representative"]["error"] / one["random"]["error"] for one in errors[epochs]])

    nearer = "The gradient of 16 representative images is nearer to the class's than that of 16 random ones"
    large = "The paper's more than 8 times fewer iterations are on CIFAR-10: `--data cifar10 --budget full` on a GPU."
    return [
        asserted(f"{nearer} (ratio of mean squared errors, fresh network)", ratio(0), "<=", 0.8),
        reported("… after 1 epoch of training", ratio(1), "<=", 0.8),
        reported("… after 5 epochs of training", ratio(5), "<=", 0.8),
        reported(
            "… and has a bias: its picks count small clusters as much as large ones (squared bias, fresh network)",
            estimate([one["representative"]["bias"] for one in errors[0]]),
            ">",
            0.0,
            "In units of the squared length of the class's gradient; a random batch has none.",
        ),
        asserted(
            f"After {half} iterations DREAM is at least as accurate as random batches (one image per class)",
            paired(accuracy[half], OURS, RANDOM, 1),
            ">=",
            0.0,
            large,
        ),
        reported(f"… after {last} iterations", paired(accuracy[last], OURS, RANDOM, 1), ">=", 0.0),
        *(
            reported(
                f"… and as random batches from the same k-means start, after {at}",
                paired(accuracy[at], OURS, STARTED, 1),
                ">=",
                0.0,
                "Tells the effect of the batches from that of the start.",
            )
            for at in (half, last)
        ),
    ]
