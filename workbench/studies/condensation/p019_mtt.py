"""Do images that lead a student along experts' trajectories teach more than real ones?

Paper 019, MTT: one image per class made from the trajectories of networks trained on all the data, against as many
random real images, class means and cluster centres; new networks are trained on each from scratch.
"""

from dataclasses import replace
from typing import Any

from workbench.condensation import MTT, Experts, Plane, Trajectories, condense, replay
from workbench.data import Dataset
from workbench.records import DistilledSet, Record
from workbench.studies.condensation.trajectory_matching import COST, Scale, judged, published
from workbench.studies.kit.claims import asserted, estimate, reported
from workbench.studies.kit.pools import by_seed
from workbench.studies.kit.study import Outcome, Setting, study

BASELINES = {"random real": "real", "class means": "mean", "cluster centres": "kmeans"}


@study(
    data_full="cifar10",
    seeds=(6, 5),
    small=Scale(
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
        options={"mlp": {"width": 64, "depth": 1}},
    ),
    full=published(),
    deviates=(
        "small: an MLP, and 8 experts of 12 epochs at a rate of 0.05, not ConvNet-3 and 100 of 50 epochs at 0.01",
        "small: one image per class, no augmentation, no ZCA whitening; Adam moves the images, not SGD with momentum",
        "small: sets are judged by SGD at 0.01, not at the learned step size",
        "log α is learned, not α",
    ),
    cost=COST,
)
def run(s: Setting[Dataset, Scale]) -> Outcome:
    """Each seed has its own experts, images, and networks that are trained on them; the experts of all seeds are
    trained together.
    """
    scale, data = s.scale, s.scale.prepared(s.data)
    rows: list[dict[str, Any]] = []
    full: list[float] = []
    plane: dict[str, Any] = {}
    records: dict[str, Record] = {}
    s.tell(f"experts of {len(s.seeds)} seeds")
    for seed, experts in by_seed(scale.experts, data, s.seeds, device=s.device):
        assert experts.accuracy is not None
        full.append(float(experts.accuracy[:, -1].mean()))
        for ipc in scale.sizes:
            s.tell(f"seed {seed}: {ipc} images per class")
            method = scale.matching(ipc, experts)
            sets = made(data, method, seed, s.device)
            for name, one in sets.items():
                rows.append({"method": name, "ipc": ipc, "seed": seed} | judged(one, data, scale, seed, s.device))
                records[name if ipc == scale.sizes[0] else f"{name}, ipc {ipc}"] = one
            if ipc == scale.sizes[0]:
                plane = in_plane(experts, sets["MTT"], method)

    def differences(over: str, column: str = "accuracy") -> list[float]:
        at = {(row["method"], row["seed"]): row[column] for row in rows if row["ipc"] == scale.sizes[0]}
        return [at["MTT", seed] - at[over, seed] for seed in s.seeds]

    def values(column: str) -> list[float]:
        return [row[column] for row in rows if row["method"] == "MTT" and row["ipc"] == scale.sizes[0]]

    return Outcome(
        rows,
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
        settings={**scale.settings, "accuracy of experts": full, "plane": plane},
        notes="“plane” holds an expert's trajectory and a student's steps from one of its epochs, before and after "
        "distillation, in the plane in which that expert moves most.",
    )  # fmt: skip


def made(data: Dataset, method: MTT, seed: int, device: str) -> dict[str, DistilledSet]:
    """The distilled set, and undistilled ones of the same size."""
    given: dict[str, Any] = {"seed": seed, "device": device, "progress": False}
    sets = {"MTT": condense(data, method, name="MTT", snapshots=20, **given)}
    for name, initial in BASELINES.items():
        one = condense(data, replace(method, initial=initial), iterations=0, snapshots=0, name=name, **given)
        sets[name] = one.replace(method=name)
    return sets


def in_plane(experts: Trajectories, one: DistilledSet, method: MTT) -> dict[str, Any]:
    """An expert's path and a student's from one of its epochs, on the images before and after, as plain values."""
    plane = Plane.of(experts.take([0]))
    epoch = method.latest // 2
    begin = experts.at(0, epoch)[None].to(one.images.dtype)
    students = {
        "student before": replay(
            one.at(0).replace(step_size=None), begin, steps=method.steps, step_size=method.step_size
        ),
        "student after": replay(one, begin),
    }
    paths = {"expert": experts.of(0)} | {name: found.path[:, 0] for name, found in students.items()}
    return {
        "share": plane.share.tolist(),
        "start": epoch,
        "target": epoch + method.span,
        "paths": {name: plane.project(path).tolist() for name, path in paths.items()},
    }
