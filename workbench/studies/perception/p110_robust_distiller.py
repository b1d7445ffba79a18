"""Does a student that hears noise while its teacher hears the clean sound bear noise better, and as small?

Paper 110, RobustDistiller: who hears what while a speech encoder is distilled, judged by a linear probe on clean words.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from workbench import models, perception
from workbench.analysis import cka
from workbench.data import Dataset, SoundSplit, load
from workbench.perception import Contamination, DistilHuBERT, Enhancement, RobustDistiller
from workbench.perception.judging.probe import heard_by, moved
from workbench.records import TrainingRecord
from workbench.studies.kit.claims import Estimate, asserted, estimate, reported
from workbench.studies.kit.study import Outcome, Setting, study
from workbench.training import sources

TEACHER = "teacher"
CLEAN, BOTH, DENOISE, ENHANCED, ONLY = (
    "DistilHuBERT", "both hear noise", "student hears noise", "RobustDistiller", "enhancement only",
)  # fmt: skip
SNRS, RT60S = (20, 10, 5, 0), (0.2, 0.4, 0.6)
QUIET, HARD = "clean", ("5 dB", "0 dB", "RT60 0.6 s")
RATE = 8000
FRONT: dict[str, Any] = {"kernels": [10, 8, 4], "strides": [5, 4, 4]}
"""A frame each 80 samples: 10 ms at 8 kHz."""

SPREAD = "Students of so short a training differ by six points from seed to seed; three seeds do not settle it."

SPECTRUM: dict[str, Any] = {"n_fft": 256, "window": 200, "hop": 80}

Measured = dict[tuple[str, str, int], dict[str, float]]
"""By student, condition and seed."""


@dataclass(frozen=True)
class Scale:
    """What a budget buys.

    Attributes
    ----------
    network
        Options of `workbench.models.build` for teacher and student.
    depth, student
        Layers of the teacher and of the student.
    layers
        Of the teacher, that the student is told.
    teacher_steps, clusters, teacher_lr
        Of the teacher's masked prediction.
    steps, batch, lr
        Of each student.
    train, test
        Sounds, at most.
    mask
        Options of the enhancement's recurrent network.
    """

    network: dict[str, int] = field(default_factory=lambda: {"width": 48, "channels": 32})
    depth: int = 4
    student: int = 1
    layers: tuple[int, ...] = (2, 3, 4)
    teacher_steps: int = 300
    clusters: int = 50
    teacher_lr: float = 2e-3
    steps: int = 100
    batch: int = 8
    lr: float = 2e-3
    train: int = 320
    test: int = 100
    mask: dict[str, Any] = field(
        default_factory=lambda: {"cell": "gru", "layers": 1, "hidden": 32, "bidirectional": False}
    )


def sound(data: Any, root: Any, budget: str) -> Dataset:
    """``"words"``, a `Dataset` of sound at 8 kHz, or a folder or zip of WAV files, of which the first second is taken.

    Raises
    ------
    ValueError
        It is no sound, or at another rate.
    """
    if data == "words":
        sizes: dict[str, Any] = (
            {"n_train": 320, "n_test": 100} if budget == "small" else {"n_train": 6000, "n_test": 1000}
        )
        return load("words", **sizes)
    if isinstance(data, Dataset):
        found = data
    else:
        try:
            found = load(data, root, seed=0, rate=RATE, seconds=1.0)
        except ValueError as error:
            raise ValueError(f"data {data!r} is no sound that this study can read: {error}") from error
    if not isinstance(found.train, SoundSplit):
        raise ValueError(f"data {found.name!r} is no sound; this study distils speech encoders")  # noqa: TRY004
    if found.train.rate != RATE:
        raise ValueError(f"data {found.name!r} has {found.train.rate:,} samples per second; load it with rate={RATE}")
    return found


@study(
    seeds=(3, 5),
    data="words",
    source=sound,
    small=Scale(),
    full=Scale(
        {"width": 256, "channels": 256}, depth=6, student=2, layers=(2, 4, 6), teacher_steps=4000, clusters=100,
        teacher_lr=5e-4, steps=2000, batch=24, lr=2e-4, train=6000, test=1000, mask={},
    ),
    deviates=(
        "twenty synthetic words at 8 kHz with a frame each 10 ms, not LibriSpeech at 16 kHz; a teacher of our own",
        "noises are pink noise, hum and babble by seed, rooms are decaying noise: not MUSAN, UrbanSound8K, OpenSLR 28",
        (
            "small: encoders of 48 numbers per frame, 100 steps of 8 sounds at a rate of 2e-3, three seeds; the mask "
            "is a GRU"
        ),
        "a norm over each frame in the convolutions, as in the large encoders, where padding changes nothing",
        "one downstream task, words, by a closed-form linear probe on the mean frame",
        "every seed has the same teacher and data: intervals are over students, noises and rooms",
    ),
    cost="not measured: 4,000 steps of a teacher and 50,000 of students of 2 layers, 256 numbers wide",
)  # fmt: skip
def run(s: Setting[Dataset, Scale]) -> Outcome:
    """Five ways to distil one teacher, each student probed on clean sounds and tested in noise and rooms."""
    size = s.scale
    train, test = (_some(split, most) for split, most in ((s.data.train, size.train), (s.data.test, size.test)))
    data = Dataset(s.data.name, train, test)
    source = teacher(s, data)
    s.tell("the teacher")
    measured: Measured = {}
    records: dict[str, TrainingRecord] = {}
    for seed in s.seeds:
        clips = noises(train, seed)
        conditions = heard(test, noises(test, seed + 10_000), seed)
        _judge(TEACHER, seed, source.model, data, conditions, measured)
        for name, method in methods(size, clips).items():
            student = perception.student_of(source, size.student)
            record = perception.distill(
                source, student, data, method, steps=size.steps, batch_size=size.batch, lr=size.lr, seed=seed,
                device=s.device, name=f"{name} (student)", progress=False, evaluate_every=0,
            )  # fmt: skip
            _judge(name, seed, student, data, conditions, measured)
            records.setdefault(name, record)
        s.tell(f"seed {seed}")
    seen = cka(source.model, records[ENHANCED].model, test, layers_a="blocks.*", layers_b="blocks.*", progress=False)
    return Outcome(
        [
            {"student": name, "condition": condition, "seed": seed, **values}
            for (name, condition, seed), values in measured.items()
        ],
        claims=claims(measured, s.seeds),
        records={**records, "layers of teacher and student": seen},
        teacher=source,
        settings={name: value for name, value in dataclasses.asdict(size).items() if name not in ("network", "mask")},
    )


def methods(size: Scale, clips: Tensor) -> dict[str, DistilHuBERT | RobustDistiller]:
    """Who hears what."""
    noisy = Contamination(rate=RATE, clips=clips)
    none, asked = Enhancement(weight=0, **SPECTRUM), Enhancement(**SPECTRUM, **size.mask)
    common: dict[str, Any] = {"contamination": noisy, "hop": SPECTRUM["hop"]}
    return {
        CLEAN: DistilHuBERT(size.layers),
        BOTH: DistilHuBERT(size.layers, contamination=noisy),
        DENOISE: RobustDistiller(size.layers, enhancement=none, **common),
        ENHANCED: RobustDistiller(size.layers, enhancement=asked, **common),
        ONLY: RobustDistiller(size.layers, enhancement=asked, distillation=0, **common),
    }


def noises(split: SoundSplit, seed: int, each: int = 20) -> Tensor:
    """Clips of pink noise, hum and babble of the split's own voices, (3 · each, samples)."""
    g, samples = torch.Generator().manual_seed(seed), split.shape[0]
    return torch.cat(
        [
            perception.pink(each, samples, g),
            perception.hum(each, samples, split.rate, g),
            perception.babble(split.inputs.cpu(), each, g),
        ]
    )


def heard(split: SoundSplit, clips: Tensor, seed: int) -> dict[str, Tensor]:
    """The split's sounds, clean, in noise and in rooms; every condition has the same noises and rooms' phases."""
    x, g = split.inputs.cpu(), torch.Generator().manual_seed(seed)
    noise = clips[torch.randint(len(clips), (len(x),), generator=g)]
    found = {QUIET: x} | {f"{snr} dB": perception.mixed(x, noise, float(snr)) for snr in SNRS}
    for rt60 in RT60S:
        rooms = perception.room(torch.full((len(x),), rt60), split.rate, torch.Generator().manual_seed(seed))
        found[f"RT60 {rt60} s"] = perception.reverberated(x, rooms)
    return found


def claims(measured: Measured, seeds: Sequence[int]) -> list[Any]:
    """The card's claims."""

    def mean(name: str, conditions: Sequence[str], seed: int, metric: str) -> float:
        return sum(measured[name, condition, seed][metric] for condition in conditions) / len(conditions)

    def more(one: str, other: str, *conditions: str, metric: str = "accuracy") -> Estimate:
        return estimate([mean(one, conditions, k, metric) - mean(other, conditions, k, metric) for k in seeds])

    def farthest(one: str) -> Estimate:
        """The largest of its ratios of drift to DistilHuBERT's, over all signal-to-noise ratios."""
        pairs = [f"{snr} dB" for snr in SNRS]
        ratio = [[measured[one, at, k]["drift"] / measured[CLEAN, at, k]["drift"] for at in pairs] for k in seeds]
        return estimate([max(each) for each in ratio])

    return [
        reported("In hard conditions (5 and 0 dB, RT60 0.6 s) a student that hears noise beats DistilHuBERT in probe "
                 "accuracy", more(DENOISE, CLEAN, *HARD), ">", 0.0, SPREAD),
        reported("… by 3 points", more(DENOISE, CLEAN, *HARD), ">=", 0.03),
        reported("… and so at 5 dB alone", more(DENOISE, CLEAN, "5 dB"), ">=", 0.03),
        reported("… and so at RT60 0.6 s alone", more(DENOISE, CLEAN, "RT60 0.6 s"), ">=", 0.03),
        reported("… and is at least as good as a student whose teacher hears the noise too",
                 more(DENOISE, BOTH, *HARD), ">=", 0.0, SPREAD),
        reported("On clean sound it is within 2 points of DistilHuBERT", more(DENOISE, CLEAN, QUIET), ">=", -0.02),
        reported("Enhancement adds to it in hard conditions", more(ENHANCED, DENOISE, *HARD), ">=", 0.0),
        reported("RobustDistiller is within 5 points of its teacher on clean sound",
                 more(ENHANCED, TEACHER, QUIET), ">=", -0.05),
        reported("… and beats it at 0 dB", more(ENHANCED, TEACHER, "0 dB"), ">", 0.0),
        reported("Enhancement alone loses in hard conditions to both together", more(ONLY, ENHANCED, *HARD), "<", 0.0),
        asserted("A student that hears noise moves its features less than DistilHuBERT's at every SNR (the largest "
                 "ratio of distances)", farthest(DENOISE), "<", 1.0),
        asserted("… and so does RobustDistiller's", farthest(ENHANCED), "<", 1.0),
    ]  # fmt: skip


def teacher(s: Setting[Dataset, Scale], data: Dataset) -> TrainingRecord:
    """Pre-trained on the clean sounds; made once per machine."""
    size = s.scale
    options = {**size.network, "depth": size.depth, **FRONT}
    training: dict[str, Any] = {
        "clusters": size.clusters, "steps": size.teacher_steps, "batch_size": 16, "lr": size.teacher_lr,
        "warmup": size.teacher_steps // 10, "optimizer": "adamw", "seed": 1000,
    }  # fmt: skip

    def make() -> TrainingRecord:
        s.tell(f"a teacher is pre-trained on {data.name}")
        network = models.build("speech", data, seed=1000, **options)
        return perception.pretrain(network, data, device=s.device, progress=False, name=TEACHER, **training)

    return sources.source(
        make, what="speech teacher", recipe={"options": options, **training}, data=data, device=s.device
    )


def _some(split: Any, most: int) -> SoundSplit:
    found: SoundSplit = split if len(split) <= most else split.subset(most, seed=0)
    return found


def _judge(
    name: str, seed: int, encoder: nn.Module, data: Dataset, conditions: dict[str, Tensor], measured: Measured
) -> None:
    """Probe on the clean training sounds, then accuracy and drift in every condition."""
    perception.probe(encoder, data.train)
    clean = heard_by(encoder, conditions[QUIET])
    labels = data.test.labels.cpu()
    for condition, waves in conditions.items():
        said = clean if condition == QUIET else heard_by(encoder, waves)
        measured[name, condition, seed] = {
            "accuracy": float((said.logits.argmax(1).cpu() == labels).double().mean()),
            "drift": float(moved(clean, said).nanmean()),
        }
