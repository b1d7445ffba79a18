"""Few labels, one teacher: does its ranking of the classes teach more than its probabilities?"""

from collections.abc import Sequence
from typing import Any

from torch import nn

from workbench import data as datasets
from workbench import models
from workbench.data import Dataset, Split
from workbench.knowledge import DIST, KL, PLD, CrossEntropy, ListMLE, PListMLE, Signal
from workbench.records import Claim, StudyResult, TrainingRecord
from workbench.studies.kit.claims import asserted, reported
from workbench.studies.kit.compare import Comparison, Length, compare
from workbench.studies.kit.setting import Setting
from workbench.training import fit
from workbench.training.evaluating import logits_of

SHORT, LONG = Length(400, 4e-3), Length(1200, 1e-2)
METHODS: dict[str, Signal] = {
    "cross-entropy": CrossEntropy(),
    "label smoothing": CrossEntropy(smoothing=0.1),
    "KL, T=4": 0.1 * CrossEntropy() + 0.9 * KL(4),
    "DIST": CrossEntropy() + DIST(beta=2, gamma=2, temperature=4),
    "ListMLE": ListMLE(),
    "p-ListMLE": PListMLE(),
    "PLD, τ=1": PLD(1),
    "PLD, τ=2": PLD(2),
    "PLD, τ=4": PLD(4),
}
RIVALS = {name: METHODS[name] for name in ("cross-entropy", "KL, T=4", "ListMLE", "PLD, τ=4")}


def run(
    data: Any = None,
    *,
    root: Any = None,
    seeds: int | Sequence[int] | None = None,
    budget: str = "small",
    device: str = "auto",
) -> StudyResult:
    """Nine signals at three train sizes and two training lengths, for a student of 12 hidden units.

    Arguments as for `workbench.studies.run`; the data need at least 100 training examples. On the default data, also a
    hundred classes of two-digit images.
    """
    setting = Setting.of(data, root=root, seeds=seeds, budget=budget, device=device, seeds_small=8, seeds_full=20)
    teacher = _teacher(setting.data, device)
    options = {"seeds": setting.seeds, "device": device, "schedule": "constant", "measures": {"kendall": kendall}}
    on = {"teacher": teacher.model, "student": _student(setting.data, 12), **options}
    table = compare(METHODS, setting.data, sizes=(60, 200, 600), lengths=(SHORT,), **on)
    long = RIVALS if budget == "small" else METHODS
    table += compare(long, setting.data, sizes=(100, 300), lengths=(LONG,), **on)
    rows = [{"data": setting.data.name, **row} for row in table.rows]
    claims = _claims(table)
    if data is None:
        pairs = datasets.load("digit-pairs", n_train=3000, n_test=1000)
        on = {"teacher": _teacher(pairs, device).model, "student": _student(pairs, 32), **options}
        hundred = compare(RIVALS, pairs, sizes=(1000,), lengths=(SHORT,), **on)
        rows += [{"data": pairs.name, **row} for row in hundred.rows]
        claims += _claims_on_pairs(hundred)
    return setting.result(
        paper=92,
        title="Few labels, one teacher: does its ranking of the classes teach more than its probabilities?",
        rows=rows,
        claims=claims,
        teacher=teacher,
        records=table.records,
        settings={"teacher": "mlp, 256 hidden units, 30 epochs", "student": "mlp, 12 hidden units"},
        notes="The paper trains CNNs on CIFAR-100 and ImageNet for 100 to 250 epochs; here a tiny perceptron learns "
        "from 60 to 600 images at a constant learning rate.",
    )


def kendall(student: nn.Module, teacher: nn.Module | None, test: Split) -> float:
    """Mean over examples of Kendall's τ between the student's and the teacher's ranking of the classes."""
    assert teacher is not None
    s, t = (logits_of(network, test.inputs) for network in (student, teacher))
    classes = s.shape[1]
    agreement = ((s[:, :, None] - s[:, None]).sign() * (t[:, :, None] - t[:, None]).sign()).sum((1, 2))
    return float((agreement / (classes * (classes - 1))).mean())


def _teacher(data: Dataset, device: str) -> TrainingRecord:
    network = models.build("mlp", data, width=[256], seed=1000)
    return fit(network, data, epochs=30, device=device, seed=1000, evaluate_every=0, progress=False, name="teacher")


def _student(data: Dataset, width: int) -> Any:
    return lambda seed: models.build("mlp", data, width=[width], seed=seed)


def _claims(table: Comparison) -> list[Claim]:
    pld, ce = "PLD, τ=4", "cross-entropy"
    short: dict[str, Any] = {"steps": SHORT.steps}
    long: dict[str, Any] = {"steps": LONG.steps}
    claims = [
        asserted("PLD (τ=4) beats cross-entropy at 60 labels", table.paired(pld, ce, size=60, **short), ">=", 0.02)
    ]
    if 200 in table.sizes:
        at_200 = table.paired(pld, ce, size=200, **short)
        claims.append(asserted("PLD (τ=4) beats cross-entropy at 200 labels", at_200, ">=", 0.01))
    return [
        *claims,
        asserted(
            "PLD (τ=4) is at least as good as ListMLE, trained short", table.paired(pld, "ListMLE", **short), ">=", 0
        ),
        asserted(
            "A PLD (τ=4) student ranks the classes more like its teacher than one of cross-entropy (Kendall's τ)",
            table.paired(pld, ce, "kendall", **short),
            ">",
            0,
        ),
        reported(
            "PLD (τ=4) beats KL (T=4), trained short",
            table.paired(pld, "KL, T=4", **short),
            ">",
            0,
            "The paper's +1 point is at ImageNet scale.",
        ),
        reported(
            "PLD (τ=4) beats KL (T=4), trained long",
            table.paired(pld, "KL, T=4", **long),
            ">",
            0,
            "Training length decides: given more steps, KL overtakes.",
        ),
        reported(
            "PLD at the ImageNet setting (τ=1) beats cross-entropy at 60 labels",
            table.paired("PLD, τ=1", ce, size=60, **short),
            ">",
            0,
            "A nearly one-hot teacher makes PLD (τ=1) almost cross-entropy.",
        ),
    ]


def _claims_on_pairs(table: Comparison) -> list[Claim]:
    return [
        reported(f"With a hundred classes PLD (τ=4) beats {rival}", table.paired("PLD, τ=4", rival), ">", 0)
        for rival in ("cross-entropy", "ListMLE", "KL, T=4")
    ]
