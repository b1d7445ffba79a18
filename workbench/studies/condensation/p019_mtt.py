"""Do images that lead a student along experts' trajectories teach more than real ones?

Paper 019, MTT: one image per class made from the trajectories of networks trained on all the data, against as many
random real images, class means and cluster centres; new networks are trained on each from scratch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from workbench.condensation import (
    MTT,
    Experts,
    Plane,
    Siamese,
    Trajectories,
    condense,
    evaluate,
    replay,
)
from workbench.data import Dataset
from workbench.records import DistilledSet, Record, StudyResult
from workbench.studies.kit.claims import asserted, estimate, reported
from workbench.studies.kit.pools import by_seed
from workbench.studies.kit.setting import Setting

BASELINES = {"random real": "real", "class means": "mean", "cluster centres": "kmeans"}


@dataclass(frozen=True)
class Scale:
    """What a budget buys."""

    experts: Experts
    method: dict[str, Any]
    sizes: tuple[int, ...]
    examples: int | None
    other: str
    evaluations: int = 3
    epochs: int = 300
    augment: Any = None
    options: dict[str, dict[str, Any]] = field(default_factory=dict)


SMALL = Scale(
    experts=Experts(count=8, epochs=12, lr=0.05, batch_size=64, network="mlp", options={"width": 64, "depth": 1}),
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
    other="convnet",
    options={"mlp": {"width": 64, "depth": 1}},
)
FULL = Scale(
    experts=Experts(count=100, epochs=50, augment=Siamese(), together=10),
    method={"iterations": 5000, "steps": 30, "span": 2, "latest": 20, "lr_images": 1000.0, "augment": Siamese()},
    sizes=(1, 10),
    examples=None,
    other="resnet20",
    evaluations=5,
    epochs=1000,
    augment=Siamese(),
)


def run(
    data: Any = None,
    *,
    root: Any = None,
    seeds: int | Sequence[int] | None = None,
    budget: str = "small",
    device: str = "auto",
) -> StudyResult:
    """Each seed has its own experts, images, and networks that are trained on them; the experts of all seeds are
    trained together.

    Arguments as for `workbench.studies.run`.
    """
    setting = Setting.of(data, root=root, seeds=seeds, budget=budget, device=device, seeds_small=3, seeds_full=5)
    scale = SMALL if budget == "small" else FULL
    dataset = setting.at_most(scale.examples).data
    rows: list[dict[str, Any]] = []
    full: list[float] = []
    plane: dict[str, Any] = {}
    records: dict[str, Record] = {}
    for seed, experts in by_seed(scale.experts, dataset, setting.seeds, device=device):
        assert experts.accuracy is not None
        full.append(float(experts.accuracy[:, -1].mean()))
        for ipc in scale.sizes:
            sets = made(dataset, MTT(ipc=ipc, experts=experts, **scale.method), seed, device)
            for name, one in sets.items():
                rows.append({"method": name, "ipc": ipc, "seed": seed} | judged(one, dataset, scale, seed, device))
                records[name if ipc == scale.sizes[0] else f"{name}, ipc {ipc}"] = one
            if ipc == scale.sizes[0]:
                plane = in_plane(experts, sets["MTT"], scale)

    def differences(over: str, column: str = "accuracy") -> list[float]:
        at = {(row["method"], row["seed"]): row[column] for row in rows if row["ipc"] == scale.sizes[0]}
        return [at["MTT", seed] - at[over, seed] for seed in setting.seeds]

    def values(column: str) -> list[float]:
        return [row[column] for row in rows if row["method"] == "MTT" and row["ipc"] == scale.sizes[0]]

    return setting.result(
        paper=19,
        title="Do images that lead a student along experts' trajectories teach more than real ones?",
        rows=rows,
        claims=(
            asserted(
                "A network trained on one MTT image per class beats one trained on as many random real ones (accuracy)",
                estimate(differences("random real")), ">", 0.15,
            ),
            asserted("The matching loss ends below 0.25", estimate(values("last loss")), "<", 0.25),
            asserted("… and has fallen on the way", estimate(values("fall of the loss")), ">", 0.1),
            reported("MTT beats the class means", estimate(differences("class means")), ">", 0.0),
            reported("… and the images nearest to cluster centres", estimate(differences("cluster centres")), ">", 0.0),
            reported(
                f"It beats random real images on another architecture too ({scale.other})",
                estimate(differences("random real", "other network")), ">", 0.0,
            ),
            reported(
                "It comes within 5 points of the experts, which saw all data",
                estimate([mine - whole for mine, whole in zip(values("accuracy"), full, strict=True)]), ">", -0.05,
            ),
        ),
        records=records,
        settings={
            "experts": scale.experts.settings,
            "accuracy of experts": full,
            **{name: value for name, value in scale.method.items() if name != "augment"},
            "plane": plane,
        },
        notes="The paper trains 200 experts and a ConvNet on ZCA-whitened CIFAR with augmentation, ipc 1 to 50; the "
        "small budget has an MLP, no augmentation and ipc 1. All sets are judged by the same training: SGD at 0.01 "
        "with momentum 0.9. “plane” holds an expert's trajectory and a student's steps from one of its epochs, before "
        "and after distillation, in the plane in which that expert moves most.",
    )  # fmt: skip


def made(data: Dataset, method: MTT, seed: int, device: str) -> dict[str, DistilledSet]:
    """The distilled set, and undistilled ones of the same size."""
    given: dict[str, Any] = {"seed": seed, "device": device, "progress": False}
    sets = {"MTT": condense(data, method, name="MTT", snapshots=20, **given)}
    for name, initial in BASELINES.items():
        one = condense(data, replace(method, initial=initial), iterations=0, snapshots=0, name=name, **given)
        sets[name] = one.replace(method=name)
    return sets


def judged(one: DistilledSet, data: Dataset, scale: Scale, seed: int, device: str) -> dict[str, float]:
    """Mean test accuracy of networks trained on the set, of the experts' architecture and of another; its loss."""
    score = evaluate(
        one,
        data,
        (scale.experts.network, scale.other),
        seeds=[1000 * (seed + 1) + k for k in range(scale.evaluations)],
        epochs=scale.epochs,
        augment=scale.augment,
        options=scale.options,
        references=False,
        points=1,
        device=device,
        progress=False,
    )
    found = {"accuracy": score.mean(0), "other network": score.mean(1)}
    if len(one.loss):
        part = max(1, len(one.loss) // 10)
        first, last = one.loss[:part].mean().item(), one.loss[-part:].mean().item()
        found |= {"last loss": last, "fall of the loss": first - last, "step size": float(one.step_size or 0.0)}
    return found


def in_plane(experts: Trajectories, one: DistilledSet, scale: Scale) -> dict[str, Any]:
    """An expert's path and a student's from one of its epochs, on the images before and after, as plain values."""
    plane = Plane.of(experts.take([0]))
    epoch = scale.method["latest"] // 2
    begin = experts.at(0, epoch)[None].to(one.images.dtype)
    students = {
        "student before": replay(
            one.at(0).replace(step_size=None),
            begin,
            steps=scale.method["steps"],
            step_size=scale.method.get("step_size", 0.01),
        ),
        "student after": replay(one, begin),
    }
    paths = {"expert": experts.of(0)} | {name: found.path[:, 0] for name, found in students.items()}
    return {
        "share": plane.share.tolist(),
        "start": epoch,
        "target": epoch + scale.method["span"],
        "paths": {name: plane.project(path).tolist() for name, path in paths.items()},
    }
