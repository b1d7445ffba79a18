"""A question refuses to be half-made, and knows whether it is answered."""

import pytest

import widgets

ANSWERS = {"one": "Right.", "two": "No: count again."}


def test_choosing():
    asked = widgets.Question("How many?", ANSWERS, right="one")
    assert asked.chosen is None
    assert not asked.solved
    asked.chosen = "two"
    assert (asked.choice, asked.solved) == (1, False)
    asked.choice = 0
    assert asked.solved


@pytest.mark.parametrize(
    ("answers", "right", "said"),
    [
        ({"one": "Right."}, "one", "two answers or more"),
        ({"one": "Right.", "two": " "}, "one", "'two' has no feedback"),
        (ANSWERS, "three", "must be one of 'one', 'two'"),
    ],
)
def test_a_question_that_cannot_be_asked(answers, right, said):
    with pytest.raises(ValueError, match=said):
        widgets.Question("How many?", answers, right=right)


def test_an_answer_that_is_none():
    with pytest.raises(ValueError, match="'three' is no answer"):
        widgets.Question("How many?", ANSWERS, right="one").chosen = "three"


def test_readers_without_widgets_see_the_text():
    formats, _ = widgets.Question("How many?", ANSWERS, right="one")._repr_mimebundle_()
    assert formats["text/plain"].splitlines() == ["How many?", "  ( ) one", "  ( ) two"]
