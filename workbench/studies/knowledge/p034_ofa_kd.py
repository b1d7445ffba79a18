"""Can a student learn from a teacher of another architecture, whose features look nothing like its own?

Paper 034, OFA-KD. CNN, transformer and mixer students learn from teachers of another kind: through soft labels, through
a hint on features, and through OFA's exit branches; first, how alike the three kinds' features are at all.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import combinations
from typing import Any

from torch import nn

from workbench import models
from workbench.analysis import cka
from workbench.data import Dataset
from workbench.knowledge import KL, OFA, CrossEntropy, Hint, Signal
from workbench.records import Record, SimilarityMap, StudyResult, TrainingRecord
from workbench.studies.kit.claims import Estimate, asserted, estimate, reported
from workbench.studies.kit.compare import Comparison, Length, compare
from workbench.studies.kit.setting import Setting
from workbench.training import Ensemble

EXAMPLES = 300
EXPONENT = 1.2
EXPONENTS = (1.0, 2.0)
"""Other exponents, tried on the first pair; in full, and 1.5, on all."""
STAGES = {"cnn": "stage*", "vit": "blocks.*", "mixer": "blocks.*"}
MIDDLE = {"cnn": "stage2", "vit": "blocks.1", "mixer": "blocks.1"}
PAIRS = (("vit", "cnn"), ("cnn", "vit"), ("cnn", "mixer"))
"""Teacher and student of each comparison."""
ALL_PAIRS = tuple((teacher, student) for teacher in STAGES for student in STAGES if teacher != student)


def run(
    data: Any = None,
    *,
    root: Any = None,
    seeds: int | Sequence[int] | None = None,
    budget: str = "small",
    device: str = "auto",
    pairs: Sequence[tuple[str, str]] | None = None,
) -> StudyResult:
    """Four methods on heterogeneous pairs of three-stage networks, students trained on 300 images.

    Parameters
    ----------
    data, root, seeds, budget, device
        As for `workbench.studies.run`; the data must be images.
    pairs
        (teacher, student) pairs out of ``"cnn"``, ``"vit"`` and ``"mixer"``; default three, in full all six.
    """
    setting = Setting.of(data, root=root, seeds=seeds, budget=budget, device=device, seeds_small=5, seeds_full=10)
    dataset = setting.data
    if len(dataset.shape) != 3:
        raise ValueError(f"data {dataset.name!r} has inputs of shape {dataset.shape}; this study needs images")
    chosen = tuple(pairs) if pairs is not None else PAIRS if budget == "small" else ALL_PAIRS
    length = Length(200, 4e-3) if budget == "small" else Length(1500, 4e-3)
    experts = {kind: _experts(kind, setting, steps=300 if budget == "small" else 1500) for kind in STAGES}
    alike, maps = _same_stage_cka(experts, dataset)
    rows: list[dict[str, Any]] = []
    tables: dict[str, Comparison] = {}
    for pair in chosen:
        teacher, student = pair
        exponents = (*EXPONENTS, 1.5) if budget == "full" else EXPONENTS if pair == chosen[0] else ()
        table = compare(
            _methods(teacher, student, exponents),
            dataset,
            teacher=experts[teacher][0].model,
            student=partial(build, student, dataset),
            seeds=setting.seeds,
            sizes=(min(EXAMPLES, len(dataset.train)),),
            lengths=(length,),
            labels_weight=0,
            batch_size=32,
            device=device,
        )
        tables[f"{teacher} → {student}"] = table
        rows += [{"pair": f"{teacher} → {student}", **row} for row in table.rows]
    exits = {
        f"OFA, {name}": record
        for name, table in tables.items()
        for (method, *_), record in table.records.items()
        if method == "OFA"
    }
    records: dict[str, Record] = {**maps, **exits}
    first = next(iter(tables))
    return setting.result(
        paper=34,
        title="Can a student learn from a teacher of another architecture, whose features look nothing like its own?",
        rows=rows,
        claims=(
            asserted(
                "Features at the same stage are less alike across architectures than across seeds of one (CKA)",
                alike, ">", 0.0,
            ),
            reported(
                "… by at least 0.1", alike, ">=", 0.1,
                "On 8×8 images all three kinds start from nearly the same patches.",
            ),
            reported(
                "OFA beats soft labels (accuracy, mean over heterogeneous pairs)",
                _over_pairs(tables, "OFA", "KD"), ">", 0.0,
                "Expected: 0.3 to 1.5 points; see the interval.",
            ),
            reported(
                "Soft labels beat a hint on features (accuracy, mean over heterogeneous pairs)",
                _over_pairs(tables, "KD", "hint"), ">=", 0.0,
            ),
            *(
                reported(
                    f"A hint on features is no better than soft labels, {name}",
                    table.paired("hint", "KD"), "<=", 0.0,
                )
                for name, table in tables.items()
                if set(name.split(" → ")) == {"cnn", "vit"}
            ),
            reported(
                f"An exponent within 1 to 1.5 is best (accuracy over that at 2), {first}",
                _best_of(tables[first], ("OFA, ε=1", "OFA"), "OFA, ε=2"), ">=", 0.0,
            ),
        ),
        teacher=experts[chosen[0][0]][0],
        records=records,
        settings={
            "length": str(length),
            "exponent": EXPONENT,
            "accuracy of networks trained on all": {kind: runs[0].accuracy for kind, runs in experts.items()},
        },
        notes="The paper trains four-stage networks of 5 to 90 million parameters on ImageNet and on CIFAR-100 at 224 "
        "pixels, for 300 epochs; here three-stage networks of 5,000 to 40,000 parameters learn 300 images of 8×8. "
        "Temperature 1 and label smoothing 0.1 as in the authors' code.",
    )  # fmt: skip


def build(kind: str, data: Dataset, seed: int) -> nn.Module:
    """A network of three stages: ``"cnn"``, ``"vit"`` or ``"mixer"``."""
    if kind not in STAGES:
        raise ValueError(f"kind is {kind!r}; it can be {', '.join(STAGES)}")
    if kind == "cnn":
        # batch norm: instance norm has nothing left to say about the 2×2 maps of a third stage
        return models.build("convnet", data, width=16, depth=3, norm="batch", seed=seed)
    small = min(data.shape[1:]) <= 16
    return models.build(kind, data, width=32, depth=3, seed=seed, **({"patch": 4} if small else {}))


def _methods(teacher: str, student: str, exponents: Sequence[float]) -> dict[str, Signal]:
    labels = CrossEntropy(smoothing=0.1)
    methods: dict[str, Signal] = {
        "labels only": labels,
        "KD": labels + KL(temperature=1),
        "hint": labels + Hint(MIDDLE[student], MIDDLE[teacher]),
        "OFA": labels + OFA(STAGES[student], exponents=EXPONENT, final_exponent=EXPONENT),
    }
    for exponent in exponents:
        methods[f"OFA, ε={exponent:g}"] = labels + OFA(STAGES[student], exponents=exponent, final_exponent=exponent)
    return methods


def _experts(kind: str, setting: Setting, steps: int) -> list[TrainingRecord]:
    """Networks of one kind trained on all training images, one per seed (and one more to pair the last with)."""
    seeds = [*setting.seeds, max(setting.seeds) + 1]
    networks = [build(kind, setting.data, seed + 1000) for seed in seeds]
    return Ensemble(networks).fit(
        setting.data,
        steps=steps,
        lr=3e-3,
        seeds=seeds,
        batch_size=32,
        augment="shift",
        device=setting.device,
        evaluate_every=0,
        progress=False,
        name=f"{kind} trained on all",
    )


def _same_stage_cka(
    experts: Mapping[str, list[TrainingRecord]], data: Dataset
) -> tuple[Estimate, dict[str, SimilarityMap]]:
    """Mean CKA at the same stage within a kind minus across kinds, paired by seed; and the first seed's maps."""
    pairs = [(kind, kind) for kind in experts] + list(combinations(experts, 2))
    gaps, maps = [], {}
    for index in range(len(next(iter(experts.values()))) - 1):
        values: dict[bool, list[float]] = {True: [], False: []}
        for a, b in pairs:
            found = cka(
                experts[a][index],
                experts[b][index + 1] if a == b else experts[b][index],
                data.test,
                layers_a=STAGES[a],
                layers_b=STAGES[b],
                batch_size=len(data.test),
                examples=0 if index else 200,
                progress=False,
            ).replace(name_a=a, name_b=f"another {b}" if a == b else b)
            values[a == b].append(found.values.diagonal().mean().item())
            if index == 0:
                maps[f"features of {a} and {found.name_b}"] = found
        gaps.append(sum(values[True]) / len(values[True]) - sum(values[False]) / len(values[False]))
    return estimate(gaps), maps


def _over_pairs(tables: Mapping[str, Comparison], left: str, right: str) -> Estimate:
    """Mean over pairs of ``left − right`` in accuracy, paired by seed."""
    by_seed: dict[int, list[float]] = {}
    for table in tables.values():
        a, b = ({key[0]: value for key, value in table.values(method).items()} for method in (left, right))
        for seed, value in a.items():
            by_seed.setdefault(seed, []).append(value - b[seed])
    return estimate([sum(group) / len(group) for group in by_seed.values()])


def _best_of(table: Comparison, left: Sequence[str], right: str) -> Estimate:
    """The best on average of several methods against another, paired by seed."""
    return table.paired(max(left, key=lambda method: table.mean(method).mean), right)
