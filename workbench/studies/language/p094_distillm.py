"""Do skewed divergences and the student's own words, used again, make a better small language model?

Paper 094, DistiLLM: the divergences on the data from scratch, then whose words a fine-tuned student is taught on.
"""

import copy
import dataclasses
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from workbench import language, models
from workbench.data import Dataset, TextSplit, load
from workbench.language import GKD, KD, DistiLLM, ImitKD, Judgement
from workbench.language.making import divergences, sequences
from workbench.records import TrainingRecord
from workbench.studies.kit.claims import Estimate, asserted, estimate, reported
from workbench.studies.kit.study import Outcome, Setting, study
from workbench.training import sources

LOSSES = {"FKL": "forward", "RKL": "reverse", "SFKL": "skew", "SRKL": "skew reverse"}
DATA, OWN, MIXED, ADAPTIVE = "data only", "own words", "own words in half", "DistiLLM"
DEFAULT = "descriptions and instructions"
SMALL: dict[str, Any] = {"n_train": 2000, "n_test": 300}
FULL: dict[str, Any] = {"n_train": 5000, "n_test": 700, "letters": 6, "numbers": 100}
"""Of the instructions, by budget."""

MOST_JUDGED = 300
"""Pieces of a text of the user's own that students are judged on."""

HELD = 100
"""Examples of each student's own on which the scheduler's validation loss is taken."""

SHORT = "The card measured it after 300 iterations on another text; here the skewed one may still be behind."
COST = (
    "measured on one CPU core on 8 texts, extrapolated to the batch: a step of a teacher of 25 million "
    "parameters 16 s on prose and 8 s on questions, of which there are 6,000 each; 3.1 s of a student of 0.8 "
    "million, 60,000; 1.9 s of one of 3 million, 75,000: about 6 days, writing besides. No GPU was measured."
)

PAIR = ("SRKL", "RKL")
"""Compared on more seeds than the rest: on three of 100 and above the interval passes the card's margin, on six not."""

Found = dict[tuple[str, int], Judgement]


@dataclass(frozen=True)
class Scale:
    """What a budget buys.

    Attributes
    ----------
    teacher, reader, student
        Options of `workbench.models.build`: of the two teachers, of students from scratch, and of those after.
    teacher_steps, scratch_steps, tuning_steps, steps
        Iterations of the teacher, of each divergence from scratch, of the student's fine-tuning, and of each choice of
        words after it.
    examples
        That a student has; the teacher has all.
    batch, lr, scratch_lr
        Of students on instructions, after fine-tuning at half the rate; and the rate of those from scratch.
    start, capacity
        DistiLLM's.
    mixed
        Compare its share of the student's words with one of a half, as well.
    few
        Seeds of all but the pair of reverse divergences, at most; None: all.
    """

    teacher: dict[str, int]
    reader: dict[str, int]
    student: dict[str, int]
    teacher_steps: int
    scratch_steps: int
    tuning_steps: int
    steps: int
    examples: int
    batch: int = 32
    lr: float = 4e-3
    scratch_lr: float = 3e-3
    start: float = 0.5
    mixed: bool = True
    capacity: int = 160
    few: int | None = None


@dataclass(frozen=True)
class Texts:
    """What the two parts run on: prose for the divergences, questions with their answers for the choice of words."""

    prose: Dataset
    questions: Dataset

    @property
    def name(self) -> str:
        """Of both."""
        return " and ".join(dict.fromkeys((self.prose.name, self.questions.name)))


def texts(data: Any, root: Any, budget: str) -> Texts:
    """``"descriptions and instructions"``; or a `Dataset` of text or the path of a file or folder, for both parts.

    Raises
    ------
    ValueError
        It is no text.
    """
    if data == DEFAULT:
        sizes = SMALL if budget == "small" else FULL
        return Texts(load("descriptions"), load("instructions", **sizes))
    found = data if isinstance(data, Dataset) else load(data, root, seed=0)
    if not isinstance(found.train, TextSplit):
        raise ValueError(f"data {found.name!r} is no text; this study distils language models")  # noqa: TRY004
    found = Dataset(found.name, found.train, found.test.take(slice(0, MOST_JUDGED)))
    return Texts(found, found)


@study(
    seeds=(6, 5),
    data=DEFAULT,
    source=texts,
    small=Scale(
        {"width": 48, "depth": 2}, {"width": 24, "depth": 1}, {"width": 32, "depth": 1},
        teacher_steps=300, scratch_steps=250, tuning_steps=200, steps=120, examples=200, mixed=False, few=3,
    ),
    full=Scale(
        {"width": 512, "depth": 8, "heads": 8}, {"width": 128, "depth": 4}, {"width": 256, "depth": 4},
        teacher_steps=6000, scratch_steps=3000, tuning_steps=3000, steps=3000, examples=2000, batch=128, lr=1e-3,
        scratch_lr=1e-3, capacity=1000,
    ),
    deviates=(
        "characters instead of words, models of ten to a hundred thousand parameters (small)",
        "DistiLLM starts at φ = 0.5 instead of 0, where the falling validation loss of a short run would keep it",
        "the buffer holds 160 responses (small) instead of 1,000: as many as five batches, not eight",
        "no loss on a pre-training corpus (λ_LM = 0); learning rates of 2e-3 to 4e-3 instead of 5e-4",
        "small: no student on its own words in half of the steps",
        "without MiniLLM, whose policy gradient is paper 079's",
    ),
    cost=COST,
)  # fmt: skip
def run(s: Setting[Texts, Scale]) -> Outcome:
    """Four divergences on prose from scratch; four choices of words for a student fine-tuned on instructions."""
    size, prose, questions = s.scale, s.data.prose, s.data.questions
    common: dict[str, Any] = {"device": s.device, "progress": False}
    scratch: Found = {}
    ratio: list[float] = []
    reader = teacher(s, prose)
    few = s.seeds if size.few is None else s.seeds[: size.few]
    for seed in s.seeds:
        first = models.build("lm", prose, seed=seed, **size.reader)
        if seed in few:
            ratio.append(spread(reader.model, first, prose, seed))
        for name in LOSSES if seed in few else PAIR:
            divergence = LOSSES[name]
            student = copy.deepcopy(first)
            language.distill(
                reader, student, prose, KD(divergence), steps=size.scratch_steps, batch=16, lr=size.scratch_lr,
                warmup=10, seed=seed, **common,
            )  # fmt: skip
            scratch[name, seed] = language.judge(student, held_out(prose), reader.model)
    s.tell("four divergences from scratch")
    tuned: Found = {}
    written: dict[tuple[str, int], float] = {}
    records: dict[str, TrainingRecord] = {}
    answerer = teacher(s, questions)
    for seed in few:
        own = examples_of(questions, size.examples, seed)
        first = models.build("lm", own, seed=seed, **size.student)
        common |= {"batch": size.batch, "seed": seed}
        language.finetune(first, own, steps=size.tuning_steps, lr=size.lr, warmup=10, **common)
        tuned["fine-tuned", seed] = language.judge(first, held_out(questions), answerer.model)
        for name, method in ways(size).items():
            student = copy.deepcopy(first)
            record = language.distill(
                answerer, student, own, method, steps=size.steps, lr=size.lr / 2, name=f"{name} (student)", **common
            )
            tuned[name, seed] = language.judge(student, held_out(questions), answerer.model)
            written[name, seed] = float(record.curves.get("generated_tokens", torch.zeros(1)).sum())
            records.setdefault(name, record)
        s.tell(f"seed {seed}: whose words")
    return Outcome(
        [*rows("from scratch", scratch), *rows("after fine-tuning", tuned, written)],
        claims=claims(scratch, tuned, written, ratio, s.seeds, few),
        records=records,
        teacher=answerer,
        settings={name: value for name, value in dataclasses.asdict(size).items() if name != "teacher"},
    )


def ways(size: Scale) -> dict[str, Any]:
    """Whose words: the same divergence on all."""
    return {
        DATA: KD("skew reverse"),
        OWN: ImitKD("skew reverse"),
        **({MIXED: GKD(divergence="skew reverse")} if size.mixed else {}),
        ADAPTIVE: DistiLLM(start=size.start, capacity=size.capacity),
    }


def claims(
    scratch: Found,
    tuned: Found,
    written: dict[tuple[str, int], float],
    ratio: list[float],
    seeds: Sequence[int],
    few: Sequence[int],
) -> list[Any]:
    """The card's claims."""

    def less(found: Found, one: str, other: str, metric: str) -> Estimate:
        known = seeds if (one, other) == PAIR else few
        return estimate([getattr(found[one, k], metric) - getattr(found[other, k], metric) for k in known])

    tokens = [written[ADAPTIVE, k] / written[OWN, k] for k in few]
    return [
        asserted("From scratch the skewed reverse KL is better than the plain one in cross-entropy, by 0.1 nat",
                 less(scratch, "SRKL", "RKL", "loss"), "<=", -0.1),
        reported("… and lower in reverse KL to the teacher", less(scratch, "SRKL", "RKL", "reverse_kl"), "<", 0.0),
        reported("… and overlaps the teacher more", less(scratch, "SRKL", "RKL", "overlap"), ">", 0.0),
        reported("The skewed forward KL is within 0.1 nat of the plain one in cross-entropy",
                 less(scratch, "SFKL", "FKL", "loss"), "<=", 0.1, SHORT),
        reported("… and not worse in reverse KL", less(scratch, "SFKL", "FKL", "reverse_kl"), "<=", 0.0, SHORT),
        asserted("At initialisation the gradient norm varies less over batches under skewed KL than under KL "
                 "(ratio of standard deviations)", estimate(ratio), "<", 1.0),
        reported("After fine-tuning the student's own words give more right answers than the data",
                 less(tuned, OWN, DATA, "exact"), ">", 0.0),
        reported("… and so do they in DistiLLM", less(tuned, ADAPTIVE, DATA, "exact"), ">", 0.0),
        reported("… the model is nearer to its teacher (reverse KL) for its own words",
                 less(tuned, OWN, DATA, "reverse_kl"), "<", 0.0),
        reported("… and so it is in DistiLLM", less(tuned, ADAPTIVE, DATA, "reverse_kl"), "<", 0.0),
        reported("DistiLLM is within 2 points of a student that always learns from its own words",
                 less(tuned, ADAPTIVE, OWN, "exact"), ">=", -0.02),
        asserted("… with at most half of the tokens written", estimate(tokens), "<=", 0.5),
    ]  # fmt: skip


def rows(part: str, found: Found, written: dict[tuple[str, int], float] | None = None) -> list[dict[str, Any]]:
    """One row per student."""
    return [
        {"part": part, "student": name, "seed": seed, **dataclasses.asdict(judged)}
        | ({} if written is None else {"tokens written": written.get((name, seed), 0.0)})
        for (name, seed), judged in found.items()
    ]


def spread(
    teacher: nn.Module, student: nn.Module, data: Dataset, seed: int, batch: int = 16, batches: int = 20
) -> float:
    """Standard deviation of the gradient's norm over batches, under skewed KL relative to KL."""
    norms: dict[str, list[float]] = {"skew": [], "forward": []}
    device = next(teacher.parameters()).device
    network = copy.deepcopy(student).to(device)
    parameters = list(network.parameters())
    generator = torch.Generator().manual_seed(seed)
    split = held_out(data, train=True)
    for _ in range(batches):
        some = sequences.of(split, torch.randperm(len(split), generator=generator)[:batch], device)
        with torch.no_grad():
            told = sequences.response_logits(teacher, some)
        said = sequences.response_logits(network, some)
        for name, each in norms.items():
            value = divergences.mean(name, said, told, some.padding)
            gradients = torch.autograd.grad(value, parameters, retain_graph=True)
            each.append(float(torch.stack([one.norm() for one in gradients]).norm()))
    return statistics.stdev(norms["skew"]) / statistics.stdev(norms["forward"])


def held_out(data: Dataset, *, train: bool = False) -> TextSplit:
    """What students are judged on (none of those fine-tuned has heard of it), or what they learn from."""
    split = data.train if train else data.test
    assert isinstance(split, TextSplit)  # `texts` has refused anything else
    return split


def examples_of(data: Dataset, examples: int, seed: int) -> Dataset:
    """The examples of one student, and others on which its training is validated."""
    held = min(HELD, len(data.train) // 4)
    picked = data.train.subset(min(examples + held, len(data.train)), seed)
    order = torch.randperm(len(picked), generator=torch.Generator().manual_seed(seed))
    return Dataset(f"{data.name}, a student's own", picked.take(order[held:]), picked.take(order[:held]))


def teacher(s: Setting[Texts, Scale], data: Dataset) -> TrainingRecord:
    """Fine-tuned on all examples; made once per machine."""
    size = s.scale

    def make() -> TrainingRecord:
        s.tell(f"a teacher is trained on {data.name}")
        network = models.build("lm", data, seed=1000, **size.teacher)
        return language.finetune(
            network, data, steps=size.teacher_steps, batch=2 * size.batch, lr=size.lr, warmup=20, seed=1000,
            device=s.device, progress=False, name="teacher",
        )  # fmt: skip

    recipe = {"options": size.teacher, "steps": size.teacher_steps, "batch": 2 * size.batch, "lr": size.lr,
              "vocabulary": "".join(held_out(data).vocabulary.tokens)}  # fmt: skip
    return sources.source(make, what="lm teacher", recipe=recipe, data=data, device=s.device)
