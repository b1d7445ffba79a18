"""The loop of a method that is made iteration by iteration: progress, stopping, and what is kept when one breaks."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from tqdm.auto import tqdm

from workbench.training.interrupting import Interruptible


class NotFiniteError(ArithmeticError):
    """Something became NaN or infinite; says what."""


class Iterated(Protocol):
    """A method under way."""

    @property
    def done(self) -> int:
        """Iterations completed."""

    def advance(self) -> float:
        """One iteration; returns its loss, or raises `NotFiniteError`."""


def iterate(
    making: Iterated,
    last: int,
    title: str,
    *,
    broken: Callable[[str], Exception],
    every: int = 10,
    progress: bool = True,
    watch: Callable[[int, float], None] | None = None,
    keep: Callable[[int], None] | None = None,
) -> bool:
    """All iterations up to `last`, or until a stop is asked for; True if the run was torn out of the middle of one.

    Parameters
    ----------
    making, last, title
        What runs, how far, and what it is called.
    broken
        Makes the error to raise, from what became NaN or infinite and when.
    every
        How often the progress bar tells the loss.
    progress, watch
        Show a bar; called after each iteration with its number (from 1) and its loss. Raising KeyboardInterrupt there
        ends the run after that iteration, as an interrupt does.
    keep
        Called after each iteration with its number: writes a checkpoint when one is due (see `Checkpoints.reached`).
    """
    bar = tqdm(total=last, initial=making.done, desc=title, disable=not progress, leave=False, unit="it")
    with Interruptible() as stop, bar:
        while making.done < last and not stop.requested:
            inside = True
            try:
                value = making.advance()
                inside = False
                bar.update()
                if progress and (making.done % every == 0 or making.done == last):
                    bar.set_postfix(loss=f"{value:.4g}", refresh=False)
                if keep is not None:
                    keep(making.done)
                if watch is not None:
                    watch(making.done, value)
            except NotFiniteError as error:
                what = f"{title}: the {error} became NaN or infinite at iteration {making.done + 1:,} of {last:,}"
                raise broken(what) from None
            except KeyboardInterrupt:  # a second one, or one that is no signal
                return inside
    return False


def changed_setting(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The first setting of those now that a run to be continued was made with otherwise, in words; empty: none.

    >>> changed_setting({"lr": 0.1, "batch": 5}, {"lr": 0.2})
    'resume was made with lr=0.1, now it is 0.2'
    """
    for key in sorted(now):
        if before.get(key) != now[key]:
            return f"resume was made with {key}={before.get(key)!r}, now it is {now[key]!r}"
    return ""
