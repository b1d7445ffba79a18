"""A teacher of all the data: how little does its student need, and how much weight should it have?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from workbench.data import Dataset, Split
from workbench.knowledge import KDPruning, LinearCase, pruned
from workbench.knowledge.methods.kd_pruning import at_random, el2n, forgetting, grand, herding, moderate
from workbench.models import observe
from workbench.records import Claim, TrainingRecord
from workbench.studies.kit.claims import Estimate, asserted, estimate, reported
from workbench.studies.kit.compare import Comparison, Length
from workbench.studies.kit.noise import with_label_noise
from workbench.studies.kit.recipes import FILLED, PUBLIC, Network
from workbench.studies.kit.runs import Runs
from workbench.studies.kit.study import Outcome, Setting, study
from workbench.training import Ensemble
from workbench.training.evaluating import logits_of

RANDOM, HARD = "random", "EL2N"
OTHERS = ("GraNd", "forgetting", "herding", "moderate")


@dataclass(frozen=True)
class Scale:
    """How large the comparison is: `fractions` rise; `scorers` networks are trained for `scoring` epochs each, which
    is short, to score the examples; `designs` of the linear case.
    """

    teacher: Network
    student: Network
    length: Length
    fractions: tuple[float, ...]
    alphas: tuple[float, ...]
    scorers: int
    scoring: int
    noise: float
    designs: int
    others: tuple[str, ...] = OTHERS


@study(
    seeds=(8, 3),
    small=Scale(
        teacher=Network("mlp", {"width": [64]}, {"epochs": 30, "lr": 1e-2}),
        student=Network("mlp", {"width": [32]}),
        length=Length(300, 4e-3, {"schedule": "constant"}),
        fractions=(0.05, 0.2, 1.0),
        alphas=(0.0, 0.25, 0.5, 0.75, 1.0),
        scorers=4,
        scoring=4,
        noise=0.2,
        designs=200,
    ),
    full=Scale(
        teacher=Network("resnet32", training={"epochs": 240, "lr": 0.05, **PUBLIC}),
        student=Network("resnet32"),
        length=Length(240 * 782, 0.05, PUBLIC),
        fractions=(0.1, 0.3, 0.5, 1.0),
        alphas=(0.0, 0.5, 1.0),
        scorers=10,
        scoring=20,
        noise=0.2,
        designs=200,
        others=("forgetting", "herding", "moderate"),
    ),
    data_full="cifar100",
    deviates=(
        "small: perceptrons, the student smaller than its teacher; equally many updates for every fraction of the data",
        "α is reported over a grid and not chosen; teachers of other widths are left out",
        "scores come from networks trained shortly on all the data, for all seeds alike; random subsets differ by seed",
        "with disturbed labels, one draw for all seeds; the teacher has learned the disturbed labels",
        f"full: CIFAR-100, one network that teaches itself; {FILLED}",
    ),
    cost="measured: 0.63 s of one CPU core, beside other work, for a step of 64 images (ResNet-32 teaching itself); "
    "187,680 steps, 31 settings and 3 seeds are about 130 days of a core; no GPU was measured",
)
def run(s: Setting[Dataset, Scale]) -> Outcome:
    """Fractions of the training split, kept by six scores, and the teacher's share of the loss."""
    scale, data = s.scale, s.data
    runs = Runs(data.test, s.seeds, device=s.device)
    teacher, scores = _scored(s, data)
    s.tell("a teacher is trained, and the examples are scored")
    least, most = scale.fractions[0], scale.fractions[-1]
    ends = scale.alphas[0], scale.alphas[-1]
    for f in scale.fractions:
        _train(runs, s, data.train, RANDOM, scores, teacher, f, scale.alphas)
        if f < 1:
            _train(runs, s, data.train, HARD, scores, teacher, f, ends)
    for name in scale.others:
        _train(runs, s, data.train, name, scores, teacher, least, ends)
    s.tell("students are judged")
    noisy = with_label_noise(data, scale.noise, seed=500)
    misled, disturbed = _scored(s, noisy)
    for name in (RANDOM, HARD):
        _train(runs, s, noisy.train, name, disturbed, misled, least, ends, scale.noise)
    table = runs.table
    linear, risks = _linear(scale.designs)
    return Outcome(
        [*runs.rows, *linear],
        [*_claims(table, scale, least, most), *risks],
        teacher=teacher,
        records=runs.records,
        settings={"length": str(scale.length), "teacher's accuracy, disturbed labels": misled.accuracy},
        notes="Rows with 'risk' are of the linear case in closed form; 'seed' is then the number of the design.",
    )


def _train(
    runs: Runs,
    s: Setting[Dataset, Scale],
    split: Split,
    name: str,
    scores: dict[str, Tensor],
    teacher: TrainingRecord,
    f: float,
    alphas: Sequence[float],
    noise: float = 0.0,
) -> None:
    """Students on the fraction that a score keeps; of random scores every seed has its own."""
    splits = [pruned(split, at_random(split, seed) if name == RANDOM else scores[name], f) for seed in s.seeds]
    for alpha in alphas:
        students = [s.scale.student(s.data, seed) for seed in s.seeds]
        runs.train(
            name, teacher.model, students, splits, KDPruning(alpha), s.scale.length, f=f, alpha=alpha, noise=noise
        )


def _scored(s: Setting[Dataset, Scale], data: Dataset) -> tuple[TrainingRecord, dict[str, Tensor]]:
    """A teacher of all the data, and every example's scores by networks that are trained shortly on it."""
    scale, split = s.scale, data.train.to("cpu")
    teacher = scale.teacher.trained(data, seed=1000, device=s.device)
    networks = [scale.student(data, 2000 + k) for k in range(scale.scorers)]
    records = Ensemble(networks).fit(
        data, epochs=scale.scoring, lr=scale.length.lr, seeds=range(scale.scorers), snapshots=1, evaluate_every=0,
        progress=False, device=s.device,
    )  # fmt: skip
    short = [record.model.cpu() for record in records]
    logits = torch.stack([logits_of(network, split.inputs) for network in short])
    right = torch.stack(
        [
            torch.stack(
                [logits_of(record.model_at(epoch).cpu(), split.inputs).argmax(1) == split.labels for record in records]
            )
            for epoch in records[0].snapshot_epochs[1:]
        ]
    )
    features = _features(short[0], split)
    found = {
        HARD: el2n(logits, split.labels),
        "forgetting": torch.stack([forgetting(right[:, k]).double() for k in range(scale.scorers)]).mean(0),
        "herding": herding(features),
        "moderate": moderate(features, split.labels),
    }
    if "GraNd" in scale.others:
        found["GraNd"] = grand(short, split)
    return teacher, found


@torch.no_grad()
def _features(network: nn.Module, split: Split) -> Tensor:
    layer = str(network.penultimate)
    return observe(network.eval(), layer)(split.inputs).features[layer].flatten(1)


RIDGES = (0.1, 1.0, 10.0)
SHARES = (0.2, 0.5, 1.0)


def _linear(designs: int) -> tuple[list[dict[str, Any]], list[Claim]]:
    """The card's table of the linear case: d = 5, N = 40, 8 points for the student, σ = 0.7."""
    generator = torch.Generator().manual_seed(0)
    rows: list[dict[str, Any]] = []
    for design in range(designs):
        X = torch.randn(5, 40, generator=generator, dtype=torch.float64)
        theta = torch.randn(5, generator=generator, dtype=torch.float64)
        for ridge in RIDGES:
            fixed = {"method": "linear case", "seed": design, "ridge": ridge}
            alone = LinearCase(X, range(8), range(8), ridge).risk(0.0, theta, 0.7)
            rows.append(fixed | {"alpha": 0.0, "teacher's fraction": 0.0, "risk": alone})
            for share in SHARES:
                case = LinearCase(X, range(round(40 * share)), range(8), ridge)
                told = {"alpha": 1.0, "teacher's fraction": share, "risk": case.risk(1.0, theta, 0.7)}
                rows.append(fixed | told | {"best alpha": case.best(theta, 0.7)})

    def risks(ridge: float, share: float) -> list[float]:
        return [row["risk"] for row in rows if (row["ridge"], row["teacher's fraction"]) == (ridge, share)]

    def less(ridge: float, a: float, b: float) -> Estimate:
        return estimate([x - y for x, y in zip(risks(ridge, a), risks(ridge, b), strict=True)])

    claims = [
        asserted(f"Linear case, λ = {ridge:g}: a teacher of {a:.0%} of the data is better than one of {b:.0%}",
                 less(ridge, a, b), "<", 0.0)
        for ridge in RIDGES for a, b in ((0.5, 0.2), (1.0, 0.5))
    ]  # fmt: skip
    return rows, [
        *claims,
        asserted("… λ = 1: … and one of all the data better than none", less(1.0, 1.0, 0.0), "<", 0.0),
        asserted("… λ = 10: … and worse than none, since the student shrinks twice", less(10.0, 1.0, 0.0), ">", 0.0),
    ]


def _claims(table: Comparison, scale: Scale, least: float, most: float) -> list[Claim]:
    a, b = scale.alphas[0], scale.alphas[-1]

    def helps(name: str, f: float = least, noise: float = 0.0) -> Estimate:
        """The teacher's word alone against the labels alone."""
        return table.paired(name, name, f=f, noise=noise, alpha=b, right_at={"alpha": a})

    def best(f: float) -> Estimate:
        """Each seed's best α of random pruning."""
        found: dict[int, tuple[float, float]] = {}
        for alpha in scale.alphas:
            for key, value in table.values(RANDOM, f=f, alpha=alpha, noise=0.0).items():
                found[key[0]] = max(found.get(key[0], (-1.0, 0.0)), (value, alpha))
        return estimate([alpha for _, alpha in found.values()])

    middle = scale.fractions[-2]
    return [
        asserted(f"At f = {least:g} the teacher helps random pruning by 2 points", helps(RANDOM), ">=", 0.02),
        asserted(f"At f = {least:g} it helps EL2N, which keeps the hardest, by 2 points", helps(HARD), ">=", 0.02),
        *(reported(f"… and {name}", helps(name), ">=", 0.02) for name in scale.others),
        asserted(
            f"At f = {least:g}, with the teacher, random pruning beats EL2N",
            table.paired(RANDOM, HARD, f=least, alpha=b, noise=0.0), ">", 0.0,
        ),
        *(
            reported(
                f"… by 10 points, at f = {f:g}", table.paired(RANDOM, HARD, f=f, alpha=b, noise=0.0), ">=", 0.1,
                "The card's margin; there the hardest examples were kept from a smaller student.",
            )
            for f in dict.fromkeys((least, middle)) if f < 1
        ),
        reported(f"The best α at f = {least:g} is large", best(least), ">", 0.5),
        reported(f"… and at f = {most:g} small", best(most), "<", 0.5),
        reported(f"At f = {most:g} labels alone are better", helps(RANDOM, most), "<", 0.0),
        asserted(
            "The smaller f, the more the teacher helps (its gain at the smallest less that at the largest)",
            _change(table, least, most, a, b), ">", 0.0,
        ),
        asserted(
            f"With {scale.noise:.0%} wrong labels the teacher helps random pruning",
            helps(RANDOM, noise=scale.noise), ">", 0.0,
        ),
        asserted("… and EL2N, which keeps the wrong ones, by 40", helps(HARD, noise=scale.noise), ">=", 0.4),
    ]  # fmt: skip


def _change(table: Comparison, least: float, most: float, a: float, b: float) -> Estimate:
    def gains(f: float) -> dict[int, float]:
        with_teacher, without = (table.values(RANDOM, f=f, alpha=alpha, noise=0.0) for alpha in (b, a))
        return {key[0]: with_teacher[key] - without[key] for key in with_teacher}

    few, many = gains(least), gains(most)
    return estimate([few[seed] - many[seed] for seed in few])
