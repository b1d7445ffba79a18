"""A declared study: number and title from its file, its arguments checked, its claims asserted on its own data only."""

import logging
import re
from dataclasses import dataclass

import pytest

import workbench as wb
from workbench import studies
from workbench.studies.condensation import p040_datadam
from workbench.studies.kit import cost
from workbench.studies.kit.claims import asserted, exact
from workbench.studies.kit.study import Outcome, Study, dataset


@dataclass(frozen=True)
class Size:
    steps: int = 2


def declared(run, seeds=(3, 5)):
    """As the decorator makes it in a file called p007_example.py."""
    scope = {"__name__": "workbench.studies.family.p007_example", "__doc__": "Does it\nhold?\n\nMore."}
    moved = type(run)(run.__code__, run.__globals__ | scope, run.__name__, run.__defaults__, run.__closure__)
    return Study(moved, dataset, "digits", seeds, {"small": Size(), "full": Size(9)}, ("it is small",), "an hour")


def simple(s):
    s.tell("begun")
    rows = [{"seed": seed, "steps": s.scale.steps} for seed in s.seeds]
    return Outcome(rows, [asserted("holds", exact(1.0), ">", 0)], deviates=("found late",), notes="Note.")


def test_number_title_and_what_is_declared_reach_the_result(caplog):
    study = declared(simple)
    with caplog.at_level(logging.INFO, "workbench.studies"):
        found = study()
    assert (study.paper, study.title) == (7, "Does it hold?")
    assert (found.paper, found.title, found.cost, found.made_on) == (7, "Does it hold?", "an hour", "")
    assert found.deviations == ("it is small", "found late")
    assert found.settings["seeds"] == [0, 1, 2]
    assert [row["steps"] for row in found.table] == [2, 2, 2]
    assert found.claims[0].asserted
    assert "begun" in caplog.text
    assert study(budget="full").table[0]["steps"] == 9
    assert study(scale=Size(4), seeds=[7]).table == ({"seed": 7, "steps": 4},)


def test_on_other_data_nothing_is_asserted():
    other = declared(simple)(wb.data.load("digit-pairs", n_train=200, n_test=100))
    assert other.made_on == "digits"
    assert not other.claims[0].asserted
    assert other.claims[0].verdict == "shows here"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"budget": "huge"}, "budget is 'huge'; it can be 'small'"),
        ({"seeds": 0}, "needs at least one"),
        ({"seeds": [4, 4]}, "none twice"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        declared(simple)(**arguments)


def test_a_study_must_stand_in_a_file_with_a_number():
    with pytest.raises(ValueError, match=r"must be called pNNN_SHORT.py"):
        Study(simple, dataset, "digits", (1, 1), {}, (), "")


def test_every_declared_study_is_that_of_its_number():
    found = {paper: studies.study(paper).run for paper in studies.discover()}
    for paper, run in found.items():
        if isinstance(run, Study):
            assert run.paper == paper
            assert run.title.endswith("?")
    assert found[40] is p040_datadam.run


UNTIMED = [59]
"""Studies of which no iteration of the full budget has been timed yet; they say nothing of it."""


def test_every_study_says_what_its_full_budget_costs_or_why_there_is_none():
    missing = []
    for paper in studies.discover():
        told = studies.study(paper).run.cost
        # what is timed is a number of something; a study whose budgets are alike says so
        if not re.search(r"\d", told) or "not measured;" in told:
            missing.append(paper)
    assert missing == UNTIMED


def test_the_cost_of_a_part_is_what_its_updates_add(monkeypatch):
    @dataclass(frozen=True)
    class Part:
        steps: int = 40
        samples: int = 4000

    @dataclass(frozen=True)
    class Whole:
        first: Part
        iterations: int = 7

    clock, seen = [0.0], []

    def simple(s):
        seen.append((s.scale.first.steps, s.scale.first.samples, s.scale.iterations))
        clock[0] += 5.0 + 0.5 * s.scale.first.steps + 2.0 * s.scale.iterations
        return Outcome([], [])

    run = declared(simple)
    run.scales["full"] = Whole(Part())
    monkeypatch.setattr(studies, "study", lambda paper: type("Module", (), {"run": run}))
    monkeypatch.setattr(cost.time, "process_time", lambda: clock[0])
    assert dict(cost.lengths(run.scales["full"])) == {("first", "steps"): 40, ("iterations",): 7}
    assert cost.study_seconds(7, more=3) == {("first", "steps"): 0.5, ("iterations",): 2.0}
    assert seen == [(2, 16, 2), (2, 16, 2), (5, 16, 2), (2, 16, 5)]
