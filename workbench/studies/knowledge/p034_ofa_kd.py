"""Can a student learn from a teacher of another architecture, whose features look nothing like its own?

Paper 034, OFA-KD. CNN, transformer and mixer students learn from teachers of another kind: through soft labels, through
a hint on features, and through OFA's exit branches; first, how alike the three kinds' features are at all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Any

from workbench.analysis import cka
from workbench.data import Dataset
from workbench.knowledge import KL, OFA, CrossEntropy, Hint, Signal
from workbench.records import Claim, Record, SimilarityMap, TrainingRecord
from workbench.studies.kit.claims import Estimate, asserted, estimate, reported
from workbench.studies.kit.compare import Comparison, Length, compare
from workbench.studies.kit.recipes import Network
from workbench.studies.kit.study import Outcome, Setting, study
from workbench.training import Ensemble

EXPONENT = 1.2


@dataclass(frozen=True)
class Kind:
    """An architecture: the network, the stages that get exits, the one that a hint reads, and how a student of it
    learns.
    """

    network: Network
    stages: str | tuple[str, ...]
    middle: str
    length: Length


@dataclass(frozen=True)
class Scale:
    """How large everything is; other exponents are tried on the first pair, or on all."""

    kinds: Mapping[str, Kind]
    pairs: tuple[tuple[str, str], ...]
    examples: int | None
    exponents: tuple[float, ...] = (1.0, 2.0)
    exponents_everywhere: bool = False


TAUGHT = Length(120, 4e-3, {"batch_size": 32})
TEACHING: dict[str, Any] = {"steps": 300, "lr": 3e-3, "batch_size": 32, "augment": "shift"}
TOKENS = {"width": 32, "depth": 3, "patch": 4}
WARM: dict[str, Any] = {"batch_size": 128, "warmup": 3 * 391, "augment": "shift+flip"}
SGD = WARM | {"optimizer": "sgd", "weight_decay": 2e-3}
ADAMW = WARM | {"optimizer": "adamw", "weight_decay": 0.05}
LONG = 300 * 391
QUARTERS = ("blocks.2", "blocks.5", "blocks.8", "blocks.11")
DEIT = {"width": 192, "depth": 12, "heads": 3, "patch": 4}


@study(
    seeds=(5, 3),
    small=Scale(
        {
            # batch norm: instance norm has nothing left to say about the 2×2 maps of a third stage
            "cnn": Kind(
                Network("convnet", {"width": 16, "depth": 3, "norm": "batch"}, TEACHING), "stage*", "stage2", TAUGHT
            ),
            "vit": Kind(Network("vit", TOKENS, TEACHING), "blocks.*", "blocks.1", TAUGHT),
            "mixer": Kind(Network("mixer", TOKENS, TEACHING), "blocks.*", "blocks.1", TAUGHT),
        },
        pairs=(("vit", "cnn"), ("cnn", "vit"), ("cnn", "mixer")),
        examples=300,
    ),
    full=Scale(
        {
            "cnn": Kind(
                Network("resnet18", {}, {"steps": LONG, "lr": 0.05, **SGD}), "layer*", "layer2", Length(LONG, 0.05, SGD)
            ),
            "vit": Kind(
                Network("vit", DEIT, {"steps": LONG, "lr": 5e-4, **ADAMW}),
                QUARTERS, "blocks.5", Length(LONG, 5e-4, ADAMW),
            ),
            "mixer": Kind(
                Network("mixer", {"width": 256, "depth": 12, "patch": 4}, {"steps": LONG, "lr": 5e-4, **ADAMW}),
                QUARTERS, "blocks.5", Length(LONG, 5e-4, ADAMW),
            ),
        },
        pairs=(("vit", "cnn"), ("mixer", "cnn"), ("cnn", "vit"), ("cnn", "mixer"), ("vit", "mixer"), ("mixer", "vit")),
        examples=None,
        exponents=(1.0, 1.5, 2.0),
        exponents_everywhere=True,
    ),
    data_full="cifar100",
    deviates=(
        "small: three-stage networks of 5,000 to 40,000 parameters learn 300 images",
        "full: CIFAR-100 at its own 32 pixels instead of 224, so ResNet-18 has the stem for CIFAR and tokens are 4×4",
        "full: teachers of their students' size, trained on CIFAR-100 alone; without DKD, DIST, CC, RKD and CRD",
    ),
    cost="measured on 16 images, extrapolated to 128: a step takes one CPU core 4.5 s (DeiT-Ti teaching "
        "ResNet-18), 4.0 s (the other way round) and 3.6 s (DeiT-Ti teaching a mixer); 117,300 steps, 7 methods, "
        "6 pairs and 3 seeds are about 700 days of a core; no GPU was measured",
)  # fmt: skip
def run(s: Setting[Dataset, Scale]) -> Outcome:
    """Four methods on pairs of different architecture: three-stage networks on 300 images, in full the paper's kinds
    on CIFAR-100. The data must be images.
    """
    scale, data = s.scale, s.data
    if len(data.shape) != 3:
        raise ValueError(f"data {data.name!r} has inputs of shape {data.shape}; this study needs images")
    experts = {name: _experts(kind, s, name) for name, kind in scale.kinds.items()}
    s.tell("experts of each kind are trained")
    alike, maps = _same_stage_cka(experts, scale.kinds, data, examples=1000)
    rows: list[dict[str, Any]] = []
    tables: dict[str, Comparison] = {}
    for number, (teacher, student) in enumerate(scale.pairs):
        learner = scale.kinds[student]
        exponents = scale.exponents if scale.exponents_everywhere or number == 0 else ()
        table = compare(
            _methods(scale.kinds[teacher], learner, exponents),
            data,
            teacher=experts[teacher][0].model,
            student=partial(learner.network, data),
            seeds=s.seeds,
            sizes=(min(scale.examples or len(data.train), len(data.train)),),
            lengths=(learner.length,),
            labels_weight=0,
            device=s.device,
        )
        tables[f"{teacher} → {student}"] = table
        rows += [{"pair": f"{teacher} → {student}", **row} for row in table.rows]
        s.tell(f"{teacher} → {student}")
    exits = {
        f"OFA, {name}": record
        for name, table in tables.items()
        for (method, *_), record in table.records.items()
        if method == "OFA"
    }
    records: dict[str, Record] = {**maps, **exits}
    return Outcome(
        rows,
        claims=_claims(tables, alike),
        teacher=experts[scale.pairs[0][0]][0],
        records=records,
        settings={
            "lengths": {name: str(kind.length) for name, kind in scale.kinds.items()},
            "exponent": EXPONENT,
            "accuracy of networks trained on all": {kind: runs[0].accuracy for kind, runs in experts.items()},
        },
        notes="Temperature 1 and label smoothing 0.1 as in the authors' code.",
    )


def _claims(tables: Mapping[str, Comparison], alike: Estimate) -> list[Claim]:
    first = next(iter(tables))
    return [
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
            reported(f"A hint on features is no better than soft labels, {name}", table.paired("hint", "KD"), "<=", 0.0)
            for name, table in tables.items()
            if set(name.split(" → ")) == {"cnn", "vit"}
        ),
        reported(
            f"An exponent within 1 to 1.5 is best (accuracy over that at 2), {first}",
            _best_of(tables[first], ("OFA, ε=1", "OFA"), "OFA, ε=2"), ">=", 0.0,
        ),
    ]  # fmt: skip


def _methods(teacher: Kind, student: Kind, exponents: Sequence[float]) -> dict[str, Signal]:
    labels = CrossEntropy(smoothing=0.1)
    methods: dict[str, Signal] = {
        "labels only": labels,
        "KD": labels + KL(temperature=1),
        "hint": labels + Hint(student.middle, teacher.middle),
        "OFA": labels + OFA(student.stages, exponents=EXPONENT, final_exponent=EXPONENT),
    }
    for exponent in exponents:
        methods[f"OFA, ε={exponent:g}"] = labels + OFA(student.stages, exponents=exponent, final_exponent=exponent)
    return methods


def _experts(kind: Kind, s: Setting[Dataset, Scale], name: str) -> list[TrainingRecord]:
    """Networks of one kind trained on all training images, one per seed (and one more to pair the last with)."""
    seeds = [*s.seeds, max(s.seeds) + 1]
    networks = [kind.network(s.data, seed + 1000) for seed in seeds]
    return Ensemble(networks).fit(
        s.data,
        seeds=seeds,
        device=s.device,
        evaluate_every=0,
        progress=False,
        name=f"{name} trained on all",
        **kind.network.training,
    )


def _same_stage_cka(
    experts: Mapping[str, list[TrainingRecord]], kinds: Mapping[str, Kind], data: Dataset, examples: int
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
                layers_a=kinds[a].stages,
                layers_b=kinds[b].stages,
                batch_size=min(examples, len(data.test)),
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
