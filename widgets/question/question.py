"""A question with a few answers to choose from, each of which says why it is right or wrong."""

from collections.abc import Mapping
from typing import Any

import anywidget
import traitlets

from widgets.core.modules import compose, styles


class Question(anywidget.AnyWidget):
    """One question for a reader: choose, and read what your choice says about what you think.

    Needs no kernel to answer once it is on the page.

    Parameters
    ----------
    text
        The question; text, never markup.
    answers
        Answer → what to tell who chooses it.
    right
        The right answer, one of `answers`.
    shows
        As for `settle`, where the record is there before the question.

    Raises
    ------
    ValueError
        Fewer than two answers, one without a word to who chooses it, `right` is none of them, or `shows` has other
        answers or bears out more than one.

    Examples
    --------
    >>> asked = Question(
    ...     "Is CKA changed by a rotation of the features?",
    ...     {"no": "Right: rotations keep all distances.", "yes": "No: Gram matrices do not see a rotation."},
    ...     right="no",
    ... )
    >>> asked.chosen = "yes"
    >>> asked.solved
    False
    """

    _esm = compose("question/question.js")
    _css = styles("parts/base.css", "question/question.css")

    text = traitlets.Unicode(help="The question.").tag(sync=True)
    answers = traitlets.List(traitlets.Unicode(), help="What can be chosen.").tag(sync=True)
    feedback = traitlets.List(traitlets.Unicode(), help="What each choice is told.").tag(sync=True)
    right = traitlets.Int(help="Which answer is right.").tag(sync=True)
    choice = traitlets.Int(None, allow_none=True, help="Which answer is chosen; None before.").tag(sync=True)

    def __init__(
        self, text: str, answers: Mapping[str, str], right: str, *, shows: Mapping[str, bool] | None = None
    ) -> None:
        if len(answers) < 2:
            raise ValueError(f"a question needs two answers or more; this one has {len(answers)}")
        if silent := [answer for answer, told in answers.items() if not told.strip()]:
            raise ValueError(f"{silent[0]!r} has no feedback: say why it is right or wrong")
        if right not in answers:
            raise ValueError(f"right is {right!r}; it must be one of {', '.join(map(repr, answers))}")
        names = list(answers)
        super().__init__(text=text, answers=names, feedback=list(answers.values()), right=names.index(right))
        self.expected, self.borne_out = right, None
        self._told = list(answers.values())
        if shows is not None:
            self.settle(shows)

    def settle(self, shows: Mapping[str, bool]) -> None:
        """Let the record that the question speaks of decide which answer is right.

        Where it bears out another than the one that was called right, or none, the right answer follows it and the
        feedback says so first: what a lesson calls right is what its own run shows.

        Parameters
        ----------
        shows
            Answer → whether the record bears it out; those left out are not. At most one is.

        Raises
        ------
        ValueError
            An answer is none of the question's, or several are borne out.

        Examples
        --------
        >>> asked = Question("With more steps the loss …", {"falls": "Yes.", "rises": "No."}, right="falls")
        >>> loss = [2.3, 0.4]
        >>> asked.settle({"falls": loss[-1] < loss[0], "rises": loss[-1] > loss[0]})
        >>> asked.borne_out
        True
        """
        shown = _shown(self.answers, shows)
        self.borne_out = shown == self.expected
        told = self._told
        if not self.borne_out:
            said = "none of the answers" if shown is None else f"“{shown}”"
            told = [f"Usually: “{self.expected}”. The record of this run shows {said}. {one}" for one in told]
        with self.hold_sync():
            self.feedback, self.right = told, -1 if shown is None else self.answers.index(shown)

    expected: str
    """What was called right."""

    borne_out: bool | None
    """Whether the record shows it; None: no record has been asked."""

    @property
    def chosen(self) -> str | None:
        """The answer that is chosen; None before."""
        return None if self.choice is None else self.answers[self.choice]

    @chosen.setter
    def chosen(self, answer: str | None) -> None:
        if answer is not None and answer not in self.answers:
            raise ValueError(f"{answer!r} is no answer; there are {', '.join(map(repr, self.answers))}")
        self.choice = None if answer is None else self.answers.index(answer)

    @property
    def solved(self) -> bool:
        """The right answer is chosen."""
        return self.choice == self.right

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """The live question, and for readers without one its text."""
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is None:
            return None
        formats, metadata = bundle
        formats["text/plain"] = "\n".join([self.text, *(f"  ( ) {answer}" for answer in self.answers)])
        return formats, metadata


def _shown(names: list[str], shows: Mapping[str, bool]) -> str | None:
    """The answer that the record bears out, if one."""
    if unknown := [name for name in shows if name not in names]:
        raise ValueError(f"shows has {unknown[0]!r}, which is no answer; there are {', '.join(map(repr, names))}")
    shown = [name for name in names if bool(shows.get(name, False))]
    if len(shown) > 1:
        raise ValueError(f"shows bears out {' and '.join(map(repr, shown))}; answers exclude each other")
    return shown[0] if shown else None
