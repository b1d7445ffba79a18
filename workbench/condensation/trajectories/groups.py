"""Experts in training, kept in a folder: a checkpoint of each group, complete or under way."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workbench import records
from workbench.records import Checkpoint, TrainingRecord

ABOUT = "experts.json"


class GroupFolder:
    """The folder that `Experts.train` is given as ``checkpoint=`` or ``resume=``.

    Parameters
    ----------
    checkpoint, resume
        Where to keep and from where to go on; one of them, or the same folder twice.
    about
        What the experts are, as plain values.
    groups
        How many there will be.

    Raises
    ------
    ValueError
        The folder is of other experts or other data, holds an unfinished training that is not being continued, or
        holds none that could be.
    """

    def __init__(
        self,
        checkpoint: str | os.PathLike | None,
        resume: str | os.PathLike | None,
        about: Mapping[str, Any],
        groups: int,
    ) -> None:
        if checkpoint is not None and resume is not None and Path(checkpoint) != Path(resume):
            raise ValueError(
                f"checkpoint is {str(checkpoint)!r} and resume {str(resume)!r}: give the same folder for both"
            )
        self.path = Path(checkpoint if checkpoint is not None else resume)  # type: ignore[arg-type]
        told = json.loads(json.dumps(about, default=str))
        note = self.path / ABOUT
        if resume is not None:
            if not note.is_file():
                raise ValueError(f"resume is {str(self.path)!r}, which holds no experts in training")
            before = json.loads(note.read_text())
            changed = [key for key in told if before.get(key) != told[key] and key != "data"]
            if changed:
                key = changed[0]
                what = "other data" if key == "data_fingerprint" else f"{key}={before.get(key)!r}, not {told[key]!r}"
                raise ValueError(f"resume holds experts with {what}: continue with the same experts, data and seed")
            return
        if note.is_file() and not all(self.complete(number) for number in range(groups)):
            raise ValueError(
                f"checkpoint is {str(self.path)!r}, which holds an unfinished training: "
                f"pass resume={str(self.path)!r} to go on with it, or remove the folder"
            )
        self.path.mkdir(parents=True, exist_ok=True)
        for old in self.path.glob("group-*.safetensors"):
            old.unlink()
        note.write_text(json.dumps(told))

    def complete(self, number: int) -> list[TrainingRecord] | None:
        """The experts of a group that is done."""
        if not self.file(number).is_file():
            return None
        kept = records.open(self.file(number))
        if not isinstance(kept, Checkpoint) or kept.interrupted:
            return None
        return list(kept.state["members"])

    def arguments(self, number: int) -> dict[str, Any]:
        """What `Ensemble.fit` is given for a group that is not done: where it is kept, after every epoch."""
        file = self.file(number)
        return {"checkpoint": file, "checkpoint_every": 1, "resume": file if file.is_file() else None}

    def file(self, number: int) -> Path:
        return self.path / f"group-{number:04d}.safetensors"
