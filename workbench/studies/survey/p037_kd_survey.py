"""The survey's families side by side: which kind of knowledge helps a student, and does the answer travel?"""

from collections.abc import Sequence
from typing import Any

from torch import nn

from workbench import models
from workbench.analysis import cka
from workbench.data import Dataset, Split
from workbench.knowledge import (
    CRD,
    FSP,
    KL,
    NST,
    Adversarial,
    AttentionTransfer,
    Committee,
    CrossEntropy,
    Hint,
    LogitRegression,
    Mutual,
    OwnTeacher,
    Peers,
    RKDAngle,
    RKDDistance,
    Signal,
    SimilarityPreserving,
    distill,
)
from workbench.records import Claim, StudyResult, TrainingRecord
from workbench.studies.kit.balance import balanced
from workbench.studies.kit.claims import Estimate, asserted, rank_correlation, reported, resampled
from workbench.studies.kit.compare import Comparison, Length, Method, compare
from workbench.studies.kit.setting import Setting
from workbench.training import fit

HINTON = 0.1 * CrossEntropy() + 0.9 * KL(4)
CE, KD = "cross-entropy", "KL, T=4"
SCHEMES = DML, OWN, THREE, ASSISTANT = "mutual learning", "own teacher", "three teachers", "teacher assistant"
CONV, DENSE, TINY = "convnet → convnet", "mlp → mlp", "mlp → tiny mlp"
ON_CONV, ON_DENSE = Length(300, 2e-2), Length(600, 1e-2)
SHORT, LONG = Length(400, 4e-3), Length(1200, 1e-2)
SIZE = 300
TEACHER_WIDTHS = (16, 64, 512)


def run(
    data: Any = None,
    *,
    root: Any = None,
    seeds: int | Sequence[int] | None = None,
    budget: str = "small",
    device: str = "auto",
) -> StudyResult:
    """Fifteen methods on two convolutional networks, eight on two perceptrons, then training length and teacher size.

    Arguments as for `workbench.studies.run`; the data are images, of which 300 are used to train the students.
    """
    setting = Setting.of(data, root=root, seeds=seeds, budget=budget, device=device, seeds_small=8, seeds_full=20)
    few = setting.seeds[:5] if budget == "small" else setting.seeds  # convolutions are what takes the time
    conv, teacher = _on_convnets(setting.data, few, device)
    dense, dense_teacher = _on_perceptrons(setting.data, setting.seeds, device)
    tiny = _on_a_tiny_student(setting.data, dense_teacher, setting.seeds, device)
    return setting.result(
        paper=37,
        title="Which kind of knowledge helps a student, and does the answer travel to another pair of networks?",
        rows=(conv + dense + tiny).rows,
        claims=[*_on_length(tiny), *_on_methods(conv, dense, few, setting.seeds), *_on_teacher_size(tiny)],
        teacher=teacher,
        records={name: record for (name, *_), record in conv.records.items()},
        settings={
            "pairs": [CONV, DENSE, TINY],
            "lengths": [str(length) for length in (ON_CONV, ON_DENSE, SHORT, LONG)],
            "examples": SIZE,
            "weights": "0.1 labels + 0.9 soft labels; every other signal weighted to the labels' gradient at the start",
        },
        notes="The survey has no result of its own. Methods whose comparison belongs to other papers (data-free, "
        "quantised, architecture search) or needs other data (cross-modal, lifelong) are not in this table.",
    )


def _on_convnets(data: Dataset, seeds: Sequence[int], device: str) -> tuple[Comparison, TrainingRecord]:
    teachers = [_trained("convnet", data, device, seed=1000 + k, width=32) for k in range(3)]
    middle = models.build("convnet", data, width=12, seed=1000)
    assistant = distill(teachers[0], middle, data, HINTON, **_teaching(device))
    student = _maker("convnet", data, width=4)

    def pair(seed: int) -> nn.Module:
        return Peers([student(seed), student(seed + 5000)])

    methods = {
        **_methods(teachers[0].model, student(1000), data, late=("stage2", "stage2"), maps=True),
        DML: Method(Mutual(), student=pair, deploy=Peers.first),
        OWN: OwnTeacher("stage1", "stage2"),
        THREE: Method(HINTON, teacher=Committee([record.model for record in teachers], temperature=4)),
        ASSISTANT: Method(HINTON, teacher=assistant.model),
    }
    return _compare(methods, data, teachers[0], student, seeds, device, ON_CONV, CONV), teachers[0]


def _on_perceptrons(data: Dataset, seeds: Sequence[int], device: str) -> tuple[Comparison, TrainingRecord]:
    teacher = _trained("mlp", data, device, seed=1000, width=[128, 64])
    student = _maker("mlp", data, width=[16])
    methods = _methods(teacher.model, student(1000), data, late=("hidden.0", "hidden.1"), maps=False)
    return _compare(methods, data, teacher, student, seeds, device, ON_DENSE, DENSE), teacher


def _on_a_tiny_student(data: Dataset, teacher: TrainingRecord, seeds: Sequence[int], device: str) -> Comparison:
    """Training length and train size; then teachers of three widths."""
    main: dict[str, Signal | Method] = {CE: CrossEntropy(), KD: HINTON}
    grown = {width: _trained("mlp", data, device, seed=1000, width=[width]) for width in TEACHER_WIDTHS}
    sized: dict[str, Signal | Method] = {_of(width): Method(HINTON, record.model) for width, record in grown.items()}
    on: dict[str, Any] = {"seeds": seeds, "device": device, "schedule": "constant", "columns": {"pair": TINY}}
    on |= {"student": _maker("mlp", data, width=[12])}
    length_and_size = compare(main, data, teacher=teacher.model, sizes=(100, SIZE), lengths=(SHORT, LONG), **on)
    return length_and_size + compare(sized, data, teacher=None, sizes=(SIZE,), lengths=(SHORT,), **on)


def _compare(
    methods: dict[str, Signal | Method],
    data: Dataset,
    teacher: TrainingRecord,
    student: Any,
    seeds: Sequence[int],
    device: str,
    length: Length,
    pair: str,
) -> Comparison:
    return compare(
        methods,
        data,
        teacher=teacher.model,
        student=student,
        seeds=seeds,
        sizes=(SIZE,),
        lengths=(length,),
        measures={"cka": penultimate_cka},
        columns={"pair": pair},
        batch_size=32,
        device=device,
    )


def penultimate_cka(student: nn.Module, teacher: nn.Module | None, test: Split) -> float:
    """Linear CKA of the layers before the heads; NaN where the teacher is several networks."""
    if not hasattr(teacher, "penultimate"):
        return float("nan")
    assert isinstance(teacher, nn.Module)
    layers = {"layers_a": str(student.penultimate), "layers_b": str(teacher.penultimate)}
    return float(cka(student, teacher, test, **layers, examples=0, progress=False).values)  # type: ignore[arg-type]


def _methods(
    teacher: nn.Module, student: nn.Module, data: Dataset, *, late: tuple[str, str], maps: bool
) -> dict[str, Signal | Method]:
    """The offline methods that compare two single networks, each weighted for this pair."""
    signals: dict[str, Signal] = {
        "logit regression": LogitRegression(),
        "hint": Hint(*late),
        "adversarial": Adversarial(*late),
        "RKD": RKDDistance(*late) + 2 * RKDAngle(*late),
        "similarity preserving": SimilarityPreserving(*late),
        "contrastive": CRD(*late, dimensions=32),
    }
    if maps:  # these read how activity is spread over an image
        signals |= {
            "attention": AttentionTransfer(*late),
            "NST": NST(*late),
            "FSP": FSP(("stage1", "stage2"), ("stage1", "stage2")),
        }
    weighted = {name: balanced(signal, teacher, student, data) for name, signal in signals.items()}
    return {CE: CrossEntropy(), KD: HINTON, **weighted}


def _trained(name: str, data: Dataset, device: str, *, seed: int, width: Any) -> TrainingRecord:
    return fit(models.build(name, data, width=width, seed=seed), data, **_teaching(device, seed))


def _teaching(device: str, seed: int = 1000) -> dict[str, Any]:
    return {"epochs": 15, "lr": 3e-3, "seed": seed, "device": device, "evaluate_every": 0, "progress": False}


def _maker(name: str, data: Dataset, *, width: Any) -> Any:
    return lambda seed: models.build(name, data, width=width, seed=seed)


def _of(width: int) -> str:
    return f"{KD}, teacher of {width}"


def _on_length(tiny: Comparison) -> list[Claim]:
    long, short = {"steps": LONG.steps, "lr": LONG.lr}, {"steps": SHORT.steps, "lr": SHORT.lr}

    def gain(size: int, at: dict[str, Any]) -> Estimate:
        return tiny.paired(KD, CE, size=size, right_at=None, **at)

    return [
        asserted("Trained long, soft labels beat labels from 100 examples", gain(100, long), ">=", 0.03),
        asserted("Trained long, soft labels beat labels from 300 examples", gain(SIZE, long), ">=", 0.005),
        reported(
            "Trained short, soft labels beat labels from 300 examples",
            gain(SIZE, short),
            ">",
            0,
            "At too short a length soft labels can be behind: the budget is an axis of the comparison.",
        ),
    ]


def _on_methods(conv: Comparison, dense: Comparison, few: Sequence[int], seeds: Sequence[int]) -> list[Claim]:
    def means(table: Comparison, names: Sequence[str], drawn: Sequence[int], metric: str = "accuracy") -> list[float]:
        values = {name: {key[0]: v for key, v in table.values(name, metric).items()} for name in names}
        return [sum(values[name][seed] for seed in drawn) / len(drawn) for name in names]

    def rank(table: Comparison, drawn: Sequence[int]) -> Estimate:
        """The place of soft labels, 1 the best, among methods that learn from the same single teacher."""
        names = [name for name in table.methods if name not in SCHEMES]
        return resampled(lambda s: 1.0 + sum(m > means(table, [KD], s)[0] for m in means(table, names, s)), drawn)

    others = [name for name in dense.methods if name not in (CE, KD)]
    travels = resampled(lambda s: rank_correlation(means(conv, others, s), means(dense, others, s)), few)
    judged = [name for name in conv.methods if name not in (THREE, ASSISTANT)]  # all by the same teacher
    together = resampled(lambda s: rank_correlation(means(conv, judged, s), means(conv, judged, s, "agreement")), few)
    return [
        reported(
            f"Soft labels are among the best three methods, {CONV}",
            rank(conv, few),
            "<=",
            3,
            "Five seeds do not settle a rank among eleven methods that lie within two points.",
        ),
        asserted(f"Soft labels are among the best three methods, {DENSE}", rank(dense, seeds), "<=", 3),
        asserted(
            "No order of feature and relation methods holds on both pairs (rank correlation of accuracies)",
            travels,
            "<",
            1,
        ),
        asserted("Methods that agree more with the teacher are more accurate (rank correlation)", together, ">", 0),
        reported("… but the two orders are not the same (rank correlation)", together, "<", 1),
        reported("Three teachers teach more than one", conv.paired(THREE, KD), ">", 0),
        reported("An assistant helps over the gap", conv.paired(ASSISTANT, KD), ">", 0),
        reported("Mutual learning beats learning alone", conv.paired(DML, CE), ">", 0),
        reported("Being one's own teacher beats learning from labels", conv.paired(OWN, CE), ">", 0),
    ]


def _on_teacher_size(tiny: Comparison) -> list[Claim]:
    _, medium, large = TEACHER_WIDTHS
    return [
        reported(
            f"A teacher of {large} units teaches more than one of {medium}",
            tiny.paired(_of(large), _of(medium)),
            ">",
            0,
            "The survey's capacity gap: a larger teacher is not always the better one; the sign is not settled.",
        )
    ]
