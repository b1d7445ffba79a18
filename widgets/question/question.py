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

    Raises
    ------
    ValueError
        Fewer than two answers, one without a word to who chooses it, or `right` is none of them.

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

    def __init__(self, text: str, answers: Mapping[str, str], right: str) -> None:
        if len(answers) < 2:
            raise ValueError(f"a question needs two answers or more; this one has {len(answers)}")
        if silent := [answer for answer, told in answers.items() if not told.strip()]:
            raise ValueError(f"{silent[0]!r} has no feedback: say why it is right or wrong")
        if right not in answers:
            raise ValueError(f"right is {right!r}; it must be one of {', '.join(map(repr, answers))}")
        names = list(answers)
        super().__init__(text=text, answers=names, feedback=list(answers.values()), right=names.index(right))

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
