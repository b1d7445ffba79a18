"""Continuing a run: what a record must hold for it, and which runs it may continue."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from workbench.data import Split, fingerprint
from workbench.records import TrainingRecord
from workbench.training import plan
from workbench.training.history import History
from workbench.training.learner import Single, copied

MUST_AGREE = ("batch_size", "examples", "seed", "optimizer")


@dataclass(frozen=True)
class Identity:
    """What a fingerprint among a run's settings is of.

    Attributes
    ----------
    named
        The setting that calls the same thing by a name.
    other
        What a run with another fingerprint was made from, in words.
    differs
        What about it differs.
    """

    named: str
    other: str
    differs: str


def other_source(
    before: Mapping[str, Any], now: Mapping[str, Any], sources: Mapping[str, Identity]
) -> tuple[str, set[str]]:
    """What a run to be continued was made from that is not what there is now, in words; and the settings thus compared.

    A record of before there were fingerprints has none: there the name is all that can be compared.

    >>> data = {"train_fingerprint": Identity("data", "other data", "its images or labels differ from these")}
    >>> before, now = {"data": "cats", "train_fingerprint": "ab"}, {"data": "pets", "train_fingerprint": "ab"}
    >>> other_source(before, now, data) == ("", {"data", "train_fingerprint"})
    True
    >>> other_source(before, now | {"train_fingerprint": "cd"}, data)[0]
    'resume was made from other data: its images or labels differ from these (it was made from cats)'
    """
    known: set[str] = set()
    for key, identity in sources.items():
        held = before.get(key)
        if held is not None and held != now[key]:
            name = before.get(identity.named) or f"{identity.named} without a name"
            return f"resume was made from {identity.other}: {identity.differs} (it was made from {name})", known
        known |= {key, identity.named} if held else {key}
    return "", known


def identity(train: Split, test: Split | None) -> dict[str, str]:
    """By which a later run knows the data again: what they hold, not what they are called."""
    return {"train_fingerprint": fingerprint(train), "test_fingerprint": "" if test is None else fingerprint(test)}


def stopped(history: History, course: plan.Plan) -> str:
    """One line that says where an interrupted run stands."""
    return (
        f"Interrupted after step {history.step:,} of {course.steps:,}; everything up to there is kept. "
        "Pass the record as resume= to go on."
    )


def state(history: History, captured: Mapping[str, Any], member: int = 0) -> dict[str, Any]:
    """What continuing a run needs, apart from the network's state."""
    return {
        "step": history.step,
        "count": history.count,
        "sums": {key: value[member].item() for key, value in history.sums.items()},
        **{key: copied(value, "cpu") for key, value in captured.items() if key in ("optimizer", "loss", "scaler")},
    }


def resumable(resume: TrainingRecord, settings: Mapping[str, Any], device: torch.device) -> History:
    """The history of a run that is to be continued under `settings`.

    Raises
    ------
    ValueError
        The record has no checkpoint, or comes from a run with other settings.
    """
    kept = resume.checkpoint
    if not kept:
        raise ValueError("resume is a record without a checkpoint: only a record that fit made can be continued")
    for key in MUST_AGREE:
        if resume.settings.get(key) != settings[key]:
            raise ValueError(f"resume is a run with {key}={resume.settings.get(key)!r}, not {settings[key]!r}")
    for which in ("train", "test"):
        before, now = resume.settings.get(f"{which}_fingerprint"), settings[f"{which}_fingerprint"]
        if before and now and before != now:
            name = resume.settings.get("data") or "no name"
            raise ValueError(
                f"resume is a run on other data: the {which} examples or labels differ from those it was trained on "
                f"({name}): pass the same data"
            )
    if kept["step"] > settings["steps"]:
        raise ValueError(
            f"resume has done {kept['step']} steps, more than the {settings['steps']} asked for: "
            "epochs and steps count the whole run"
        )
    return History(
        members=1,
        step=kept["step"],
        count=kept["count"],
        sums={key: torch.tensor([value], dtype=torch.float64, device=device) for key, value in kept["sums"].items()},
        curves={key: list(value.double().view(-1, 1)) for key, value in resume.curves.items()},
        per_class=[] if resume.per_class_accuracy is None else list(resume.per_class_accuracy.double()[:, None]),
        snapshots=[
            [{key: stack[i] for key, stack in resume.snapshots.items()}] for i in range(len(resume.snapshot_epochs))
        ],
        snapshot_epochs=list(resume.snapshot_epochs),
    )


def continued(learner: Single, resume: TrainingRecord, settings: Mapping[str, Any]) -> History:
    """Set `learner` to where the run that `resume` records stopped."""
    history = resumable(resume, settings, learner.device)
    kept = resume.checkpoint
    learner.restore(
        {
            "model": resume.state,
            "optimizer": copied(kept["optimizer"]),
            "loss": kept.get("loss"),
            "scaler": kept.get("scaler"),
            "done": kept["step"],
        }
    )
    return history
