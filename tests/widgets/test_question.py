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


def test_the_record_decides():
    asked = widgets.Question("How many?", ANSWERS, right="one")
    assert asked.borne_out is None
    asked.settle({"one": True, "two": False})
    assert asked.borne_out
    assert asked.feedback == list(ANSWERS.values())
    asked.settle({"two": True})
    assert not asked.borne_out
    asked.chosen = "two"
    assert asked.solved
    assert asked.feedback[0].startswith("Usually: “one”. The record of this run shows “two”. Right.")
    asked.settle({"one": False, "two": False})
    assert asked.right == -1
    assert not asked.solved
    assert "shows none of the answers" in asked.feedback[1]
    assert widgets.Question("How many?", ANSWERS, right="one", shows={"one": True}).borne_out
    with pytest.raises(ValueError, match="'three', which is no answer"):
        asked.settle({"three": True})
    with pytest.raises(ValueError, match="'one' and 'two'; answers exclude each other"):
        asked.settle({"one": True, "two": True})
