"""`distill`: train one causal language model on what another says of sequences; `finetune`: on the sequences alone."""

import os
import time
from typing import Any

from torch import nn

from workbench.data import Dataset, TextSplit, fingerprint
from workbench.data.identity import module_fingerprint
from workbench.language.making.making import LanguageMaking, LanguageMethod, Pace
from workbench.language.making.run import LanguageRun
from workbench.language.methods.distillm import DistiLLM
from workbench.language.methods.sft import SFT
from workbench.records import TrainingRecord
from workbench.training import distributed
from workbench.training.checkpoints import kept_at, reopened
from workbench.training.making import carry_out
from workbench.training.settings import plain_settings


def distill(
    teacher: nn.Module | TrainingRecord | None,
    student: nn.Module,
    data: Dataset,
    method: LanguageMethod | None = None,
    *,
    epochs: int = 20,
    steps: int | None = None,
    batch: int = 32,
    lr: float = 5e-4,
    weight_decay: float = 1e-2,
    clip: float = 1.0,
    schedule: str = "cosine",
    warmup: int = 0,
    corpus: Dataset | TextSplit | None = None,
    corpus_weight: float = 1.0,
    seed: int = 0,
    device: str = "auto",
    name: str = "",
    progress: bool = True,
    resume: TrainingRecord | str | os.PathLike | None = None,
    checkpoint: str | os.PathLike | None = None,
    checkpoint_every: int | None = None,
) -> TrainingRecord:
    """Train `student` under `method` from `teacher`.

    Parameters
    ----------
    teacher
        Any causal language model over the data's vocabulary, or the record of one; None for `SFT`. Never trained.
    student
        Any causal language model, as `workbench.models.build("lm", data)` or a class of `transformers` makes it;
        trained in place.
    data
        Text: prompts and responses. Its test split is what is validated on after each epoch, and what `DistiLLM`'s
        scheduler hears of: it should not be what the model is judged on later.
    method
        Default `DistiLLM`.
    epochs, steps
        Length of training; `steps`, iterations, wins where it is given.
    batch
        Examples per iteration.
    lr, weight_decay, clip, schedule, warmup
        AdamW, the gradient's norm cut off at `clip`, the rate along `schedule` (as `workbench.training.fit` has it)
        after `warmup` iterations. Defaults: those of paper 094 for its smallest student, whose batches are 128.
    corpus
        Text whose every token is modelled beside, with weight `corpus_weight` (λ_LM); None: none.
    seed
        Of order, sampling and dropout.
    device
        As for `workbench.training.fit`.
    resume
        The record of an interrupted run with the same arguments, or the path of its file: it is continued to the same
        bits.
    checkpoint, checkpoint_every
        A file in which the run is kept while it is made, every so many iterations (by default a hundredth of the run).
        Go on with ``resume=`` that path.

    Returns
    -------
    TrainingRecord
        Curves by epoch: ``train_loss``, ``test_loss`` (mean cross-entropy of a response token), ``test_accuracy``
        (share of response tokens found likeliest, each from the right beginning), ``generated_tokens`` and what the
        method keeps.

    Raises
    ------
    LanguageError
        The loss became NaN or infinite; its `record` holds the state before. Or `resume` is of another run, on other
        data or from another teacher.
    ValueError
        Names the argument, what it was and what would do.

    Examples
    --------
    >>> import workbench as wb
    >>> data = wb.data.load("instructions", n_train=64, n_test=16)
    >>> teacher, student = (wb.models.build("lm", data, width=16, depth=depth) for depth in (2, 1))
    >>> record = distill(teacher, student, data, wb.language.KD(), epochs=2, progress=False)
    >>> record.epochs, record.model is student
    (2, True)
    """
    started = time.perf_counter()
    chosen: LanguageMethod = DistiLLM() if method is None else method
    network = teacher.model if isinstance(teacher, TrainingRecord) else teacher
    train, test = _text(data)
    _check(network, student, chosen, batch, lr, len(train))
    place = distributed.pick(device)
    network = None if network is None else network.to(place).eval()
    extra = corpus.train if isinstance(corpus, Dataset) else corpus
    if extra is not None and not isinstance(extra, TextSplit):
        raise ValueError(f"corpus={corpus!r} is no text: read one with workbench.data.text")
    pace = Pace(lr, weight_decay, clip, schedule, warmup)
    run = LanguageRun(
        student.to(place), network, train.to("cpu"), None if extra is None else extra.to("cpu"), seed, place, 0, batch
    )
    run.steps = run.epoch_steps * epochs if steps is None else steps
    if run.steps < 1:
        raise ValueError(f"epochs={epochs} and steps={steps}: at least one iteration is needed")
    fields: dict[str, Any] = {
        "name": name or chosen.short,
        "settings": {
            "method": chosen.short, **plain_settings(chosen), **plain_settings(pace), "steps": run.steps,
            "batch": batch,
            "corpus_weight": corpus_weight if extra is not None else 0.0, "data": data.name, "seed": seed,
            "data_fingerprint": fingerprint(data),
            "teacher_fingerprint": "" if network is None else module_fingerprint(network),
        },
    }  # fmt: skip
    saved = kept_at(checkpoint, checkpoint_every, run.steps, resuming=resume is not None)
    earlier = None if resume is None else reopened(resume, TrainingRecord)
    making = LanguageMaking(chosen, run, test, pace, corpus_weight, fields, started).start(earlier, run.steps)
    return carry_out(making, run.steps, fields["name"], saved, progress=progress)


def finetune(student: nn.Module, data: Dataset, **options: Any) -> TrainingRecord:
    """Train a model on the data's responses: `distill` with `SFT` and without a teacher. Options as there."""
    return distill(None, student, data, SFT(), **options)


def _text(data: Dataset) -> tuple[TextSplit, TextSplit]:
    if not isinstance(data.train, TextSplit) or not isinstance(data.test, TextSplit):
        raise ValueError(  # noqa: TRY004 - it is a Dataset, of another kind
            f"data={data!r} is no text: load 'instructions', a text file, or make some with workbench.data.from_pairs"
        )
    return data.train, data.test


def _check(
    teacher: nn.Module | None, student: nn.Module, method: LanguageMethod, batch: int, lr: float, examples: int
) -> None:
    if teacher is student:
        raise ValueError("student is the teacher itself and has nothing to learn from it: build a fresh one")
    if teacher is None and method.needs_teacher:
        raise ValueError(f"teacher is None, but {method.short} needs one")
    if not 1 <= batch <= examples:
        raise ValueError(f"batch is {batch}; it must be in 1..{examples}, the number of examples")
    if not lr > 0:
        raise ValueError(f"lr is {lr}; it must be positive")
