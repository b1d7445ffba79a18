"""Can ten learned images and a few gradient steps replace a data set, and for which networks do they work?

Paper 021, dataset distillation: images made for one known initialisation and for any, against real images, class means
and cluster centres at the same number of steps; images that adapt trained networks to other data, and a poison.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from workbench import models
from workbench.condensation import DD, Experts, FlatNetwork, Trajectories, condense, replay
from workbench.data import Dataset, Split
from workbench.records import DistilledSet, Record
from workbench.studies.kit.claims import asserted, estimate, reported
from workbench.studies.kit.distilling import at_most
from workbench.studies.kit.study import Outcome, Setting, study

STEP_SIZES = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Of which each baseline gets the one that is best on training data."""

COST = (
    "by an iteration measured on one CPU core, extrapolated: LeNet on MNIST 0.13 s at three steps on ten "
    "images and 0.29 s at thirty on a hundred, so 1 and 2 hours a set of 23,600 iterations; the AlexNet on "
    "CIFAR-10 4.8 and 7.9 s, so 26 and 43 hours a set of 19,600. Eight sets a seed, 5 seeds: about 2 days and "
    "50 days. No GPU was measured."
)

OTHERS = 10
"""Networks that images are tried on."""


@dataclass(frozen=True)
class Scale:
    """What a budget buys; with S batches of images, each seen E times."""

    network: dict[str, Any]
    iterations: int
    real_batch: int
    lr: float
    schedules: tuple[tuple[int, int], ...]
    experts: int
    epochs: int
    students: int = 4
    lr_every: int = 100
    step_size: float = 0.1
    recompute: bool = False
    examples: int | None = None
    """Training examples, at most; None: all."""
    colour: dict[str, Any] | None = None
    """What is otherwise for images in colour, by name; None: nothing."""

    def of(self, data: Dataset) -> "Scale":
        """The scale for these data."""
        return replace(self, **self.colour) if self.colour and data.shape[0] == 3 else self


@study(
    seeds=(5, 5),
    small=Scale(
        network={"network": "mlp", "options": {"width": 64, "depth": 1}},
        iterations=200,
        real_batch=256,
        lr=0.02,
        schedules=((1, 1), (1, 3)),
        experts=8,
        epochs=10,
        examples=2000,
    ),
    full=Scale(
        network={"network": "lenet", "options": {}},
        iterations=400 * 59,
        real_batch=1024,
        lr=0.01,
        schedules=((1, 1), (1, 3), (10, 3)),
        experts=32,
        epochs=20,
        lr_every=40 * 59,
        step_size=0.02,
        recompute=True,
        colour={
            "network": {"network": "alexnet", "options": {}},
            "iterations": 400 * 49,
            "lr_every": 40 * 49,
            "step_size": 0.001,
        },
    ),
    data_full="mnist",
    deviates=(
        "small: digits of 8×8 pixels and an MLP of one hidden layer, not MNIST with LeNet or CIFAR-10 with AlexNet",
        "small: 200 iterations on batches of 256, not 400 epochs on batches of 1,024",
        "several steps of images start from real ones, not from noise: from noise 100 images need far more iterations",
    ),
    cost=COST,
)
def run(s: Setting[Dataset, Scale]) -> Outcome:
    """One image per class and step, steps and passes as in `Scale.schedules`; each seed draws its own images, networks
    and batches.
    """
    scale, dataset, device = s.scale.of(s.data), at_most(s.data, s.scale.examples), s.device
    poison = (3, 8) if len(dataset.classes) > 8 else (0, 1)
    rows: list[dict[str, Any]] = []
    records: dict[str, Record] = {}
    settings: dict[str, Any] = {"step sizes of baselines": list(STEP_SIZES), "poison": list(poison)}
    for seed in s.seeds:
        s.tell(f"seed {seed}")
        for steps, passes in scale.schedules:
            found, made = distilled(dataset, scale, steps, passes, seed, device)
            rows += found
            if (steps, passes) == (1, 3):
                records |= made
                settings["accuracy after each step"] = by_step(made, dataset.test, seed)
        found, turned, settings["confusion"] = on_trained(dataset, scale, poison, seed, device)
        rows += found
        records |= turned

    def difference(of: str, over: str, *, column: str = "accuracy", passes: int = 3) -> list[float]:
        at = {(row["method"], row["seed"]): row for row in rows if (row["steps"], row["passes"]) == (1, passes)}
        return [at[of, seed][column] - at[over, seed]["accuracy"] for seed in s.seeds]

    def values(method: str, column: str) -> list[float]:
        return [row[column] for row in rows if row["method"] == method]

    taken, taught = (dataset.classes[c] for c in poison)
    return Outcome(
        rows,
        claims=(
            asserted(
                "Three steps on one image per class made for any start beat as many on the class means (accuracy)",
                estimate(difference("DD, any start", "class means")), ">", 0.05,
            ),
            asserted(
                "… and on random real images",
                estimate(difference("DD, any start", "random real")), ">", 0.05,
            ),
            asserted(
                "Images made for one start lose accuracy on others",
                estimate(difference("DD, one start", "DD, one start", column="own start")), ">", 0.10,
            ),
            reported(
                "Made for one start, they are better there than images for any start are anywhere",
                estimate(difference("DD, one start", "DD, any start", column="own start")), ">", 0.0,
            ),
            reported(
                "Already a single step on images for any start beats one on the class means",
                estimate(difference("DD, any start", "class means", passes=1)), ">", 0.0,
            ),
            reported(
                "Networks trained on negatives of the images: three steps on distilled ones adapt them better than on "
                "random real ones",
                estimate(difference("DD, adapting", "random real, adapting")), ">", 0.05,
            ),
            reported(
                f"One step on poisoned images makes trained networks take most of class {taken!r} for {taught!r}",
                estimate(values("DD, poison", "taken")), ">", 0.5,
            ),
            reported(
                "… while they lose little on the other classes",
                estimate(values("DD, poison", "lost elsewhere")), "<", 0.1,
            ),
        ),
        records=records,
        settings={**settings, "iterations": scale.iterations, "network": scale.network},
        notes="Columns: “accuracy” is on networks that the images were not made "
        "with, “own start” on the one that they were; “taken” the share of the poisoned class that is taken for the "
        "other after the step, on networks that the poison was not made with; “lost elsewhere” the accuracy that the "
        "step costs on the other classes.",
    )  # fmt: skip


def distilled(
    data: Dataset, scale: Scale, steps: int, passes: int, seed: int, device: str
) -> tuple[list[dict[str, Any]], dict[str, DistilledSet]]:
    """Test accuracy of the methods and the baselines after S · E steps, and the sets."""
    method = _method(scale, steps, passes)
    made = {
        name: condense(data, one, seed=seed, device=device, snapshots=20, progress=False, name=name)
        for name, one in {
            "DD, one start": replace(method, weights="fixed"),
            "DD, any start": replace(method, weights="random"),
        }.items()
    }
    rows = []
    for name, one in made.items():
        accuracy = replay(one, others(seed)).accuracy(data.test)[:, -1].mean().item()
        own = replay(one).accuracy(data.test)[0, -1].item() if one.start else float("nan")
        rows.append(_row(name, seed, steps, passes, accuracy) | {"own start": own})
    for name, initial in {"class means": "mean", "random real": "real", "cluster centres": "kmeans"}.items():
        one = _undistilled(data, replace(method, initial=initial), seed, name)
        accuracy = best(one, data, _weights(one, others(seed)), steps * passes)
        rows.append(_row(name, seed, steps, passes, accuracy))
        made[name] = one
    return rows, made


def on_trained(
    data: Dataset, scale: Scale, poison: tuple[int, int], seed: int, device: str
) -> tuple[list[dict[str, Any]], dict[str, Record], dict[str, Any]]:
    """What distilled images do to networks that were trained before: adapt them to other data, or poison them."""
    experts = Experts(count=2 * scale.experts, epochs=scale.epochs, lr=0.05, batch_size=64, **scale.network)
    negatives = replace(data, train=_negative(data.train), test=_negative(data.test))
    rows: list[dict[str, Any]] = []
    records: dict[str, Record] = {}
    for name, source, passes in (("DD, adapting", negatives, 3), ("DD, poison", data, 1)):
        trained = experts.train(source.train, seed=seed, device=device, progress=False)
        known, unknown = trained.take(range(scale.experts)), _last(trained, range(scale.experts, len(trained)))
        adapting = source is negatives
        method = replace(_method(scale, 1, passes), weights=known, poison=None if adapting else poison, initial="real")
        one = condense(data, method, seed=seed, device=device, snapshots=20, progress=False, name=name)
        records[name] = one
        after = replay(one, unknown)
        accuracy = after.accuracy(data.test).mean(0)
        row = _row(name, seed, 1, passes, accuracy[-1].item()) | {"accuracy before": accuracy[0].item()}
        if adapting:
            plain = _undistilled(data, method, seed, name)
            rows.append(_row("random real, adapting", seed, 1, passes, best(plain, data, unknown, passes)))
        else:
            confusion = {when: after.confusion(data.test, step) for when, step in (("before", 0), ("after", -1))}
            row |= {
                "taken": _share(confusion["after"], *poison),
                "lost elsewhere": _elsewhere(confusion["before"], poison[0])
                - _elsewhere(confusion["after"], poison[0]),
            }
        rows.append(row)
    return rows, records, {when: counts.tolist() for when, counts in confusion.items()}


def best(images: DistilledSet, data: Dataset, starts: Tensor, steps: int) -> float:
    """Test accuracy after steps of plain descent on the images, with the step size that is best on training data."""
    train = data.train.subset(min(len(data.train), 2000))
    paths = [replay(images, starts, steps=steps, step_size=size) for size in STEP_SIZES]
    chosen = max(paths, key=lambda path: path.accuracy(train)[:, -1].mean().item())
    return chosen.accuracy(data.test)[:, -1].mean().item()


def by_step(made: dict[str, DistilledSet], test: Split, seed: int) -> dict[str, Any]:
    """Test accuracy after 0, 1, … steps on the known and on other starts, and the learned step sizes."""
    curves = {
        f"{name}, on others": replay(one, others(seed)) for name, one in made.items() if one.step_size is not None
    }
    curves |= {f"{name}, on its own": replay(one) for name, one in made.items() if one.start}
    return {
        name: {"accuracy": path.accuracy(test).mean(0).tolist(), "step size": path.step_size.tolist()}
        for name, path in curves.items()
    }


def others(seed: int) -> list[int]:
    """Seeds of initial weights that no image was made with."""
    return [1_000_003 * (seed + 1) + k for k in range(OTHERS)]


def _method(scale: Scale, steps: int, passes: int) -> DD:
    return DD(
        ipc=steps,
        steps=steps,
        passes=passes,
        iterations=scale.iterations,
        real_batch=scale.real_batch,
        lr=scale.lr,
        lr_every=scale.lr_every,
        step_size=scale.step_size,
        initial="noise" if steps == 1 else "real",
        students=scale.students,
        recompute=scale.recompute,
        **scale.network,
    )


def _undistilled(data: Dataset, method: DD, seed: int, name: str) -> DistilledSet:
    """The images that the method would start from, as a set of its own."""
    one = condense(data, method, iterations=0, snapshots=0, seed=seed, device="cpu", progress=False, name=name)
    return one.replace(method=name, step_size=None, start={})


def _weights(images: DistilledSet, seeds: Sequence[int]) -> Tensor:
    assert images.spec is not None
    return FlatNetwork(models.from_spec(images.spec)).fresh(seeds)


def _last(trained: Trajectories, experts: Sequence[int]) -> Tensor:
    return torch.stack([trained.at(expert, trained.epochs) for expert in experts])


def _negative(split: Split) -> Split:
    """The same images with light and dark exchanged."""
    return replace(split, inputs=(1 - 2 * split.mean) / split.std - split.inputs)


def _row(method: str, seed: int, steps: int, passes: int, accuracy: float) -> dict[str, Any]:
    return {"method": method, "seed": seed, "steps": steps, "passes": passes, "accuracy": accuracy}


def _share(confusion: Tensor, true: int, predicted: int) -> float:
    return (confusion[true, predicted] / confusion[true].sum()).item()


def _elsewhere(confusion: Tensor, without: int) -> float:
    """Accuracy on all classes but one."""
    rows = [c for c in range(len(confusion)) if c != without]
    return (confusion.diagonal()[rows].sum() / confusion[rows].sum()).item()
