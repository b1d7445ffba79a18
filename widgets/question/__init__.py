"""A question with feedback for each answer."""

from widgets.question.question import Question

__all__ = ["Question"]
