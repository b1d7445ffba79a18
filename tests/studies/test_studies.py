"""The studies of distillation as a user runs them: found by number, on any data, refusing what makes no sense."""

import subprocess
import sys
from dataclasses import replace

import pytest

import workbench as wb
from workbench import records, studies
from workbench.studies.kit.compare import Length
from workbench.studies.knowledge import (
    p023_lelp,
    p034_ofa_kd,
    p054_vkd,
    p062_kd_aif,
    p064_good_da,
    p080_kd_pruning,
    p092_pld,
    p097_born_again,
    p098_ssld,
    p101_bdkd,
    p104_distill_nearest,
)
from workbench.studies.survey import p037_kd_survey

QUICK = {"steps": 3}


def small(module):
    return module.run.scales["small"]


def briefly(network):
    return replace(network, training=QUICK)


def survey():
    scale = small(p037_kd_survey)
    first, second = (replace(pair, teacher=briefly(pair.teacher)) for pair in (scale.first, scale.second))
    return replace(
        scale,
        first=replace(first, length=Length(3, 1e-2), assistant=briefly(first.assistant)),
        second=replace(second, length=Length(4, 1e-2)),
        short=Length(5, 1e-2),
        long=Length(6, 1e-2),
        widths=tuple(briefly(one) for one in scale.widths),
    )


def ofa():
    scale = small(p034_ofa_kd)
    kinds = {
        name: replace(kind, network=briefly(kind.network), length=Length(2, 1e-2)) for name, kind in scale.kinds.items()
    }
    return replace(scale, kinds=kinds, examples=40, pairs=scale.pairs[:2])


def pld():
    scale = small(p092_pld)
    return replace(scale, teacher=briefly(scale.teacher), short=Length(3, 1e-2), long=Length(4, 1e-2))


TINY = {
    23: replace(
        small(p023_lelp),
        teacher=briefly(small(p023_lelp).teacher),
        length=Length(3, 1e-2),
        sizes=(40, 60),
        subclasses=3,
    ),
    34: ofa(),
    37: survey(),
    54: replace(
        small(p054_vkd), teacher=briefly(small(p054_vkd).teacher), length=Length(3, 1e-2), examples=40, gan_steps=2
    ),
    62: replace(
        small(p062_kd_aif),
        teacher=briefly(small(p062_kd_aif).teacher),
        length=Length(3, 1e-2),
        examples=60,
        trusted=30,
        wrong=(0.0, 0.4),
        components=4,
        left_out=2,
    ),
    64: replace(
        small(p064_good_da),
        teacher=briefly(small(p064_good_da).teacher),
        short=Length(2, 1e-2),
        long=Length(3, 1e-2),
        repeats=4,
    ),
    80: replace(
        small(p080_kd_pruning),
        teacher=briefly(small(p080_kd_pruning).teacher),
        length=Length(2, 1e-2),
        fractions=(0.1, 0.5, 1.0),
        alphas=(0.0, 1.0),
        scorers=2,
        scoring=2,
        designs=3,
    ),
    92: pld(),
    97: replace(small(p097_born_again), length=Length(3, 1e-2), under_trained=Length(4, 1e-2), longer=Length(5, 1e-2)),
    98: replace(
        small(p098_ssld),
        teacher=briefly(small(p098_ssld).teacher),
        lengths=(Length(3, 1e-2), Length(4, 1e-2)),
        two=Length(2, 1e-3),
        labelled=40,
        pool_length=Length(2, 1e-2),
    ),
    104: replace(
        small(p104_distill_nearest),
        source=replace(small(p104_distill_nearest).source, training={"epochs": 1}),
        length=Length(2, 1e-2),
        sources=120,
        labels=2,
        pool=40,
    ),
    101: replace(small(p101_bdkd), lengths=(Length(3, 1e-2),), examples=40, snapshots=2, ratios=(0.0, 1.0)),
}
"""Scales at which a study takes a second or two."""

EXACT = {64, 80, 101}
"""Studies some of whose claims no seed changes."""


def test_studies_are_found_by_number_without_importing_them():
    assert set(TINY) <= set(studies.discover())
    code = "import sys; from workbench import studies; print(studies.discover()[92] in sys.modules)"
    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert seen.stdout.strip() == "False"
    with pytest.raises(ValueError, match=r"paper 1000 has no study yet; there are .*37.*92"):
        studies.run(1000)


@pytest.mark.parametrize("paper", TINY)
def test_a_study_runs_on_other_data_and_its_result_survives_a_file(paper, tmp_path):
    data = wb.data.load("digit-pairs", tens=[1, 2], ones=[3, 4, 5], n_train=620, n_test=60)
    result = studies.run(paper, data=data, seeds=[7, 8], device="cpu", scale=TINY[paper])
    assert result.paper == paper
    assert result.settings["data"] == "digit-pairs"
    assert result.settings["seeds"] == [7, 8]
    assert result.made_on == "digits"
    assert result.deviations
    assert len(result.claims) >= 5
    assert not any(claim.asserted for claim in result.claims)
    assert paper in EXACT or all(claim.seeds == 2 for claim in result.claims)
    assert {"teacher"} < set(result.records)
    accuracy = result.to_frame()["accuracy"].dropna()
    assert len(accuracy)
    assert accuracy.between(0, 1).all()
    again = records.open(result.save(tmp_path / "study.safetensors"))
    assert again.summary() == result.summary()
    assert list(again.records) == list(result.records)


def test_on_its_own_data_a_study_asserts_and_counts_a_hundred_classes():
    scale = replace(TINY[92], pairs=(1000, 100))
    result = studies.run(92, seeds=2, device="cpu", scale=scale)
    assert result.made_on == ""
    assert any(claim.asserted for claim in result.claims)
    assert set(result.to_frame()["data"]) == {"digits", "digit-pairs"}
    assert sum("hundred classes" in claim.statement for claim in result.claims) == 3


@pytest.mark.parametrize("paper", TINY)
def test_bad_arguments_are_named_before_anything_is_trained(paper):
    with pytest.raises(ValueError, match="budget is 'huge'"):
        studies.run(paper, budget="huge")
    with pytest.raises(ValueError, match="needs at least one"):
        studies.run(paper, seeds=0)
    with pytest.raises(ValueError, match="no classes"):
        studies.run(paper, data=wb.data.load("diabetes"))


@pytest.mark.parametrize("paper", TINY)
def test_the_full_budget_takes_the_papers_data_and_says_what_it_costs(paper):
    study = studies.study(paper).run
    assert study.data_full == "cifar100"
    assert study.default == "digits"
    assert "measured" in study.cost
    with pytest.raises(wb.data.DataError, match="cifar-100"):
        studies.run(paper, budget="full", root="/nowhere")
