"""Does a copy of a network, taught by it, become better than it, and what of the teacher's answer does that?"""

from collections.abc import Sequence
from typing import Any

from torch import nn

from workbench import models
from workbench.data import Dataset
from workbench.knowledge import CWTM, DKPP, BornAgain, Committee, CrossEntropy, Signal, distill_many
from workbench.records import Claim, StudyResult, TrainingRecord
from workbench.studies.kit.claims import asserted, reported
from workbench.studies.kit.compare import Comparison, Length
from workbench.studies.kit.judge import Judge
from workbench.studies.kit.noise import with_label_noise
from workbench.studies.kit.setting import Setting

LENGTH, UNDER_TRAINED, FOUR_TIMES = Length(1200, 4e-3), Length(100, 4e-3), Length(4800, 4e-3)
EXAMPLES, NOISE, GENERATIONS = 300, 0.2, 3
CHAIN, FAMILY = "generation", "ensemble of generations"
STARTS, LONGER = "ensemble of starts", "labels, four times longer"
ONE_STEP: dict[str, Signal] = {"BAN+L": BornAgain() + CrossEntropy(), "CWTM": CWTM(), "DKPP": DKPP()}
Students = list[TrainingRecord]


def run(
    data: Any = None,
    *,
    root: Any = None,
    seeds: int | Sequence[int] | None = None,
    budget: str = "small",
    device: str = "auto",
) -> StudyResult:
    """Three generations of a perceptron, with a fifth of the labels wrong and with clean labels, and their controls.

    Arguments as for `workbench.studies.run`. Of the training examples 300 are used, drawn by seed.
    """
    setting = Setting.of(data, root=root, seeds=seeds, budget=budget, device=device, seeds_small=16, seeds_full=64)
    size = min(EXAMPLES, len(setting.data.train))
    clean = [setting.data.subset(size, seed=seed) for seed in setting.seeds]
    noisy = [with_label_noise(one, NOISE, seed) for one, seed in zip(clean, setting.seeds, strict=True)]
    runs = _Runs(setting, size)
    family = runs.generations(noisy, LENGTH, noise=NOISE)
    runs.one_step(noisy, family[0], noise=NOISE)
    starts = [family[0], *(runs.labels(noisy, LENGTH, start=start) for start in range(1, GENERATIONS + 1))]
    runs.ensemble(STARTS, starts, LENGTH, noise=NOISE)
    runs.judge(LONGER, runs.labels(noisy, FOUR_TIMES), FOUR_TIMES, noise=NOISE)
    runs.one_step(clean, runs.generations(clean, LENGTH, noise=0.0)[0], noise=0.0)
    runs.generations(clean, UNDER_TRAINED, noise=0.0)
    table = Comparison(tuple(runs.rows), {})
    return setting.result(
        paper=97,
        title="Does a copy of a network, taught by it, become better than it?",
        rows=table.rows,
        claims=_claims(table),
        teacher=family[0][0],
        records={f"generation {k}": students[0] for k, students in enumerate(family) if k},
        settings={"network": "mlp, 32 hidden units", "examples": size, "noise": NOISE, "length": str(LENGTH)},
        notes="The paper trains DenseNets on CIFAR and language models on Penn Treebank. Record 'teacher' is "
        "generation 0 of the first seed. Labels of the test split are never disturbed.",
    )


class _Runs:
    """Trains one network per seed at a time and keeps a row for each."""

    def __init__(self, setting: Setting, size: int) -> None:
        self.setting, self.size = setting, size
        self.rows: list[dict[str, Any]] = []
        self._judge = Judge(setting.data.test)

    def labels(self, data: list[Dataset], length: Length, start: int = 0) -> Students:
        """Networks trained on labels alone, from another start each."""
        return self._train(None, data, CrossEntropy(), length, start)

    def generations(self, data: list[Dataset], length: Length, *, noise: float) -> list[Students]:
        """The chain, its members and its ensemble judged."""
        family: list[Students] = []
        for k in range(GENERATIONS + 1):
            teachers = [record.model for record in family[-1]] if family else None
            family.append(self._train(teachers, data, BornAgain() if family else CrossEntropy(), length, k))
            self.judge(f"{CHAIN} {k}", family[-1], length, noise=noise)
        self.ensemble(FAMILY, family, length, noise=noise)
        return family

    def one_step(self, data: list[Dataset], teachers: Students, *, noise: float) -> None:
        """The other losses, from generation 0 to 1 with BAN's own starts."""
        for name, signal in ONE_STEP.items():
            told = self._train([record.model for record in teachers], data, signal, LENGTH, 1)
            self.judge(name, told, LENGTH, noise=noise)

    def ensemble(self, name: str, members: list[Students], length: Length, *, noise: float) -> None:
        """Committees of one member of each list, seed by seed."""
        committees = [Committee([record.model for record in group]) for group in zip(*members, strict=True)]
        self._keep(name, committees, length, noise)

    def judge(self, name: str, students: Students, length: Length, *, noise: float) -> None:
        """A row per seed."""
        self._keep(name, [record.model for record in students], length, noise)

    def _keep(self, name: str, networks: Sequence[nn.Module], length: Length, noise: float) -> None:
        fixed = {"method": name, "noise": noise, "size": self.size, "steps": length.steps, "lr": length.lr}
        for seed, network in zip(self.setting.seeds, networks, strict=True):
            self.rows.append({**fixed, "seed": seed, **self._judge(network, None)})

    def _train(
        self, teachers: list[nn.Module] | None, data: list[Dataset], signal: Signal, length: Length, start: int
    ) -> Students:
        # Every start has its own weights and batch order: with the teacher's, a copy could only repeat it.
        seeds = [seed + 1000 * start for seed in self.setting.seeds]
        students = [models.build("mlp", self.setting.data, width=[32], seed=seed) for seed in seeds]
        return distill_many(
            teachers,
            students,
            data,
            signal,
            seeds=seeds,
            steps=length.steps,
            lr=length.lr,
            device=self.setting.device,
            evaluate_every=0,
            progress=False,
        )


def _claims(table: Comparison) -> list[Claim]:
    noisy: dict[str, Any] = {"noise": NOISE, "steps": LENGTH.steps}
    clean: dict[str, Any] = {"noise": 0.0, "steps": LENGTH.steps}
    short: dict[str, Any] = {"noise": 0.0, "steps": UNDER_TRAINED.steps}
    first, last = f"{CHAIN} 0", f"{CHAIN} {GENERATIONS}"
    falls = [
        (asserted if k == 0 else reported)(
            f"With a fifth of the labels wrong, NLL falls from generation {k} to {k + 1}",
            table.paired(f"{CHAIN} {k + 1}", f"{CHAIN} {k}", "nll", **noisy),
            "<",
            0,
            "" if k == 0 else "The later steps are smaller than the scatter of single starts.",
        )
        for k in range(GENERATIONS)
    ]
    falls.append(
        asserted(
            "With noise, NLL falls from the first to the last generation",
            table.paired(last, first, "nll", **noisy),
            "<",
            0,
        )
    )
    wins = [
        asserted(
            f"With noise, the ensemble of generations beats generation {k}",
            table.paired(FAMILY, f"{CHAIN} {k}", **noisy),
            ">",
            0,
        )
        for k in range(GENERATIONS + 1)
    ]
    others = [
        reported(f"{condition}, {name} beats the label baseline", table.paired(name, first, **at), ">", 0)
        for condition, at in (("With noise", noisy), ("With clean labels", clean))
        for name in ONE_STEP
    ]
    return [
        *falls,
        asserted(
            "With noise, accuracy rises from the first to the last generation",
            table.paired(last, first, **noisy),
            ">",
            0,
        ),
        *wins,
        asserted(
            "With clean labels, NLL falls from the first to the last generation",
            table.paired(last, first, "nll", **clean),
            "<",
            0,
        ),
        reported(
            "With clean labels, accuracy rises from the first to the last generation",
            table.paired(last, first, **clean),
            ">",
            0,
        ),
        reported(
            f"Under-trained ({UNDER_TRAINED.steps} steps), the last generation is better than the first",
            table.paired(last, first, **short),
            ">",
            0,
            "A teacher must have fitted its labels: taught by one that has not, each generation gets worse.",
        ),
        *others,
        reported(
            "With noise, the last generation beats labels trained four times longer",
            table.paired(last, LONGER, right_at={"steps": FOUR_TIMES.steps}, **noisy),
            ">",
            0,
        ),
        reported(
            "With noise, the ensemble of generations beats as many networks trained on labels",
            table.paired(FAMILY, STARTS, **noisy),
            ">",
            0,
            "The fair control for an ensemble is another ensemble.",
        ),
    ]
