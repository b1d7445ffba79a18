"""An evaluation under way, in a checkpoint: the networks that have been taught, by architecture and kind of set."""

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from workbench.condensation.judging.teaching import Taught
from workbench.records import Checkpoint
from workbench.training import doors
from workbench.training.checkpoints import Checkpoints, reopened

PARTS = ("accuracy", "confidence", "logits")


class Kept:
    """What an evaluation has reached, and where it is kept.

    Parameters
    ----------
    checkpoint, resume
        As the arguments of `evaluate`.
    settings
        Its other arguments as plain values, with fingerprints of the set and the data.
    stages
        The kinds of sets that are learned from together.
    architectures
        How many.

    Attributes
    ----------
    results
        Architecture → kind of set → networks.

    Raises
    ------
    ValueError
        `resume` is of another call, of another set, other data or other settings, or damaged.
    """

    def __init__(
        self,
        checkpoint: str | os.PathLike | None,
        resume: Checkpoint | str | os.PathLike | None,
        settings: Mapping[str, Any],
        stages: Sequence[tuple[str, ...]],
        architectures: int,
    ) -> None:
        self.settings: dict[str, Any] = json.loads(json.dumps(settings, default=repr))
        self.stages, self.total = tuple(stages), len(stages) * architectures
        self.results = {} if resume is None else self._of(reopened(resume, Checkpoint))
        self.checkpoints = Checkpoints(checkpoint, resuming=resume is not None)

    def has(self, architecture: str, names: Sequence[str]) -> bool:
        """These sets have been learned from by networks of this architecture."""
        return all(name in self.results.get(architecture, {}) for name in names)

    def save(self) -> None:
        """Keep what has been reached, if there is a file for it."""
        if self.checkpoints.path is not None:
            done = sum(self.has(architecture, names) for architecture in self.results for names in self.stages)
            state = {
                architecture: {
                    name: {"steps": list(one.steps), **{part: getattr(one, part).cpu() for part in PARTS}}
                    for name, one in found.items()
                }
                for architecture, found in self.results.items()
            }
            self.checkpoints.save(
                Checkpoint(what="evaluate", done=done, total=self.total, settings=self.settings, state=state)
            )

    def stopped(self) -> None:
        """Say how an interrupted evaluation goes on."""
        path = self.checkpoints.path
        how = "with checkpoint= a path it could have gone on" if path is None else f"resume={str(path)!r} goes on"
        print(f"evaluate: stopped; the networks that were not finished are lost, {how}")

    def _of(self, kept: Checkpoint) -> dict[str, dict[str, Taught]]:
        if kept.what != "evaluate":
            raise ValueError(f"resume is a checkpoint of {kept.what}; evaluate continues one of evaluate")
        for key, value in self.settings.items():
            if kept.settings.get(key) != value:
                what = {"set": "another distilled set", "data": "other data"}.get(key)
                what = what or f"{key}={kept.settings.get(key)!r}, not {value!r}"
                raise ValueError(f"resume is an evaluation with {what}: pass the same arguments, or leave resume out")
        try:
            return {
                architecture: {
                    name: Taught(list(one["steps"]), *(one[part] for part in PARTS)) for name, one in found.items()
                }
                for architecture, found in kept.state.items()
            }
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"resume is damaged: it lacks {error}") from None


def check(seeds: int | Sequence[int], counts: Mapping[str, Any], rates: Mapping[str, Any]) -> list[int]:
    """The seeds; refuses numbers that cannot be meant.

    Parameters
    ----------
    seeds
        How many, or which.
    counts
        Must be whole numbers from 1 on.
    rates
        ``lr`` and ``temperature`` must be positive, the others at least 0.
    """
    for name, value in counts.items():
        doors.whole(name, value, 1)
    for name, value in rates.items():
        positive = name in ("lr", "temperature")
        doors.number(name, value, above=0 if positive else None, least=None if positive else 0)
    if isinstance(seeds, Sequence):
        return [doors.whole("seeds", seed) for seed in seeds]
    return list(range(doors.whole("seeds", seeds, 1)))
