"""The claims of paper 055's study: what each determinant does to a student, and which one decides most."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from workbench.records import Claim, TrainingRecord
from workbench.studies.kit.claims import Estimate, asserted, estimate, rank_correlation, reported, resampled
from workbench.studies.kit.compare import Comparison

HARD, SMOOTH, SOFT, KD, LOGITS = "labels", "label smoothing", "soft labels, T=1", "soft labels, T=4", "logit matching"
HINT, THREE, ASSISTANT, SELF = "hint", "three teachers", "teacher assistant", "self-distillation"
STANDARD, BRIEF, LONG, SMOOTHED, NARROW = "as usual", "briefly", "three times as long", "on smoothed labels", "narrow"
NEAR = 0.005
"""How far below its teacher's accuracy a student may be that does as well."""


def _over(table: Comparison, one: str, other: str, **at: Any) -> Estimate:
    """Difference in accuracy paired by seed; the two may have seen different numbers of examples."""
    return table.paired(one, other, right_at={}, **at)


def on_techniques(techniques: Comparison, labels: Comparison, counts: Sequence[int]) -> list[Claim]:
    """At few labels, and what more of them do; `labels` holds the first count too."""
    few, many = counts[0], counts[-1]

    def gain(count: int) -> dict[int, float]:
        found = [labels.values(name, labels=count) for name in (KD, HARD)]
        by_seed = [{key[0]: value for key, value in one.items()} for one in found]
        return {seed: value - by_seed[1][seed] for seed, value in by_seed[0].items()}

    first, last = gain(few), gain(many)
    shrinks = estimate([first[seed] - last[seed] for seed in first])
    return [
        asserted(f"With {few} labels, soft labels on all inputs beat labels by 2 points",
                 _over(techniques, KD, HARD), ">=", 0.02),
        asserted("… and label smoothing, a teacher that knows nothing", _over(techniques, KD, SMOOTH), ">", 0.0),
        reported("Label smoothing beats labels", _over(techniques, SMOOTH, HARD), ">", 0.0),
        asserted(f"The gain of soft labels shrinks from {few} labels to {many}", shrinks, ">", 0.0),
        reported(f"With {many} labels soft labels still help", estimate(list(last.values())), ">", 0.0),
        *(
            reported(f"{name[0].upper()}{name[1:]}: better than {KD}", _over(techniques, name, KD), ">", 0.0)
            for name in (SOFT, LOGITS, HINT, THREE, ASSISTANT, SELF)
        ),
    ]  # fmt: skip


def on_balance(grid: Comparison, temperatures: Sequence[float], alpha: float) -> list[Claim]:
    """Whether soft labels are best at a temperature above 1."""
    accuracy = {T: grid.mean(f"T={T:g}, α={alpha:g}").mean for T in temperatures}
    warm = max((T for T in temperatures if T > 1), key=accuracy.__getitem__)
    best = grid.paired(f"T={warm:g}, α={alpha:g}", f"T=1, α={alpha:g}")
    return [
        reported("A temperature above 1 is best for the small student (the best of them against T = 1)", best, ">", 0.0,
                 "The best is chosen on the seeds it is measured on, which flatters it."),
        reported("T = 16 is nearer to logit matching than T = 1 is in accuracy",
                 _nearer(grid, alpha), "<", 0.0),
    ]  # fmt: skip


def _nearer(grid: Comparison, alpha: float) -> Estimate:
    limit, high, low = (grid.values(f"T={T:g}, α={alpha:g}") for T in (math.inf, 16, 1))
    return estimate([abs(high[key] - limit[key]) - abs(low[key] - limit[key]) for key in limit])


def on_size(capacity: Comparison, teacher: float, sizes: Sequence[str], seeds: Sequence[int]) -> list[Claim]:
    """How small a student can be that does as well as its teacher."""

    def at(name: str, student: str, seed: int, metric: str = "accuracy") -> float:
        return next(iter(capacity.values(name, metric, student=student, seed=seed).values()))

    def place(name: str, seed: int) -> int:
        """Of the smallest student as good as the teacher, in the list of sizes; behind its end where none is."""
        good = [at(name, student, seed) >= teacher - NEAR for student in sizes]
        return good.index(True) if any(good) else len(good)

    smallest, largest = sizes[0], sizes[-1]
    return [
        *(
            reported(f"With all labels the largest student, {largest}, does as well as its teacher ({name})",
                     estimate([at(name, largest, k) - teacher for k in seeds]), ">=", -NEAR)
            for name in (HARD, SOFT, KD)
        ),
        *(
            reported(f"The smallest student as good as its teacher is smaller with {name} than with labels (place in "
                     "the list of sizes)", estimate([place(name, k) - place(HARD, k) for k in seeds]), "<", 0.0)
            for name in (SOFT, KD)
        ),
        *(
            reported(f"With all labels, {name} help the smallest student",
                     capacity.paired(name, HARD, student=smallest), ">", 0.0)
            for name in (SOFT, KD)
        ),
        reported("An assistant helps the smallest student",
                 capacity.paired(ASSISTANT, KD, student=smallest), ">=", 0.0),
        reported("Soft labels at T = 1 make the largest student agree more with its teacher",
                 capacity.paired(SOFT, HARD, "agreement", student=largest), ">", 0.0),
    ]  # fmt: skip


def on_teachers(quality: Comparison, taught: Mapping[str, TrainingRecord], seeds: Sequence[int]) -> list[Claim]:
    """Whether a better teacher teaches better."""
    students = {name: {key[0]: value for key, value in quality.values(name).items()} for name in taught}

    def order(drawn: Sequence[int]) -> float:
        return rank_correlation(
            [taught[name].accuracy for name in taught],
            [sum(students[name][seed] for seed in drawn) / len(drawn) for name in taught],
        )

    return [
        asserted("A briefly trained teacher teaches less", quality.paired(BRIEF, STANDARD), "<", 0.0),
        reported("A teacher trained three times as long teaches more", quality.paired(LONG, STANDARD), ">", 0.0),
        reported("A teacher on smoothed labels teaches less", quality.paired(SMOOTHED, STANDARD), "<", 0.0),
        reported("A narrow teacher teaches less", quality.paired(NARROW, STANDARD), "<", 0.0),
        reported("A better teacher need not teach better (rank correlation of accuracies)",
                 resampled(order, seeds), "<", 1.0),
    ]  # fmt: skip


def on_what_decides(grid: Comparison, capacity: Comparison, quality: Comparison, seeds: Sequence[int]) -> list[Claim]:
    """How far a student's accuracy goes over what was tried of each determinant, seed by seed."""

    def reach(table: Comparison, seed: int, **at: Any) -> float:
        found = [
            row["accuracy"] for row in table.rows
            if row["seed"] == seed and all(row[key] == value for key, value in at.items())
        ]  # fmt: skip
        return float(max(found) - min(found))

    by_size = [reach(capacity, seed, method=KD) for seed in seeds]
    by_teacher, by_loss = ([reach(table, seed) for seed in seeds] for table in (quality, grid))
    return [
        reported("Over what was tried, the student's size decides more than its teacher",
                 estimate([a - b for a, b in zip(by_size, by_teacher, strict=True)]), ">", 0.0),
        reported("… and more than temperature and balance",
                 estimate([a - b for a, b in zip(by_size, by_loss, strict=True)]), ">", 0.0),
    ]  # fmt: skip


def on_text(rows: Sequence[Mapping[str, Any]], seeds: Sequence[int]) -> list[Claim]:
    """Whether the answer is the same for language models."""
    loss = {(row["method"], row["student"], row["seed"]): row["nll"] for row in rows}
    return [
        reported(f"On text, a larger model's predictions help a small one ({student}, nats)",
                 estimate([loss[SOFT, student, k] - loss[HARD, student, k] for k in seeds]), "<", 0.0)
        for student in dict.fromkeys(row["student"] for row in rows)
    ]  # fmt: skip
