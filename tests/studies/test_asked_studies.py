"""Studies of teachers that are asked, and of middle men: on data that are not theirs, in a few steps."""

from dataclasses import replace

import pytest

import workbench as wb
from workbench import records, studies
from workbench.studies.knowledge import p026_kd3, p082_mekd, p102_amd, p108_tree, p116_rad

QUICK = {"steps": 3}


def small(module):
    return module.run.scales["small"]


def briefly(network):
    return replace(network, training=QUICK)


TINY = {
    26: replace(small(p026_kd3), teacher=briefly(small(p026_kd3).teacher), pool=60, steps=3, batch_size=16),
    82: replace(
        small(p082_mekd), teacher=briefly(small(p082_mekd).teacher), inverting={"queries": 20, "steps": 8},
        queries=30, steps=3,
    ),
    102: replace(
        small(p102_amd), teacher=briefly(small(p102_amd).teacher), joint=2, steps=2, grid=(0.1, 0.5, 0.9), labels=40
    ),
    108: replace(small(p108_tree), teacher=briefly(small(p108_tree).teacher), depths=(2, 8)),
    116: replace(small(p116_rad), rounds=2, batch=5, steps=3),
}  # fmt: skip
"""Scales at which a study takes a second or two."""

PERCEPTRON = replace(small(p082_mekd).student, training=QUICK)
TABLES = {26: {"teacher": PERCEPTRON, "student": PERCEPTRON}, 82: {"teacher": PERCEPTRON}, 102: {}, 108: {}, 116: {}}
"""What else a study needs on a table: networks that read one."""


def check(paper, result, tmp_path):
    assert result.paper == paper
    assert result.settings["seeds"] == [7, 8]
    assert result.made_on == "digits"
    assert result.deviations
    assert result.claims
    assert not any(claim.asserted for claim in result.claims)
    accuracy = result.to_frame()["accuracy"].dropna()
    assert len(accuracy)
    assert accuracy.between(0, 1).all()
    again = records.open(result.save(tmp_path / "study.safetensors"))
    assert again.summary() == result.summary()
    assert list(again.records) == list(result.records)


@pytest.mark.parametrize("paper", TINY)
def test_a_study_runs_on_other_images(paper, tmp_path):
    data = wb.data.load("digit-pairs", tens=[1, 2], ones=[3, 4], n_train=400, n_test=60)
    check(paper, studies.run(paper, data=data, seeds=[7, 8], device="cpu", scale=TINY[paper]), tmp_path)


@pytest.mark.parametrize("paper", TABLES)
def test_a_study_runs_on_a_table(paper, tmp_path):
    scale = replace(TINY[paper], **TABLES[paper])
    check(paper, studies.run(paper, data=wb.data.load("wine"), seeds=[7, 8], device="cpu", scale=scale), tmp_path)


@pytest.mark.parametrize("paper", TINY)
def test_bad_arguments_are_named_before_anything_is_trained(paper):
    with pytest.raises(ValueError, match="budget is 'huge'"):
        studies.run(paper, budget="huge")
    with pytest.raises(ValueError, match="no classes"):
        studies.run(paper, data=wb.data.load("diabetes"))


@pytest.mark.parametrize("paper", TINY)
def test_the_full_budget_says_what_it_costs(paper):
    assert "measured" in studies.study(paper).run.cost
