"""The studies as a user runs them: found by number, on any data, refusing what makes no sense; a few steps each."""

import importlib
import subprocess
import sys

import pytest

import workbench as wb
from workbench import records, studies
from workbench.studies.kit.claims import asserted, estimate
from workbench.studies.kit.compare import Length
from workbench.studies.kit.setting import Setting

TINY = Length(3, 1e-2)
OURS = {
    37: ("ON_CONV", "ON_DENSE", "SHORT", "LONG"),
    92: ("SHORT", "LONG"),
    97: ("LENGTH", "UNDER_TRAINED", "FOUR_TIMES"),
}


def test_studies_are_found_by_number_without_importing_them():
    assert set(OURS) <= set(studies.discover())
    code = "import sys; from workbench import studies; print(studies.discover()[92] in sys.modules)"
    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert seen.stdout.strip() == "False"
    with pytest.raises(ValueError, match=r"paper 1000 has no study yet; there are .*37.*92"):
        studies.run(1000)


@pytest.mark.parametrize("paper", OURS)
def test_a_study_runs_on_other_data_and_its_result_survives_a_file(paper, monkeypatch, tmp_path):
    module = importlib.import_module(studies.discover()[paper])
    for position, name in enumerate(OURS[paper]):
        monkeypatch.setattr(module, name, Length(3 + position, 1e-2))
    quick = {"steps": 5, "evaluate_every": 0, "progress": False}
    if hasattr(module, "_teaching"):
        monkeypatch.setattr(module, "_teaching", lambda device, seed=0: quick | {"seed": seed, "device": device})
    data = wb.data.load("digit-pairs", tens=[1, 2], ones=[3, 4, 5], n_train=620, n_test=60)
    result = studies.run(paper, data=data, seeds=2, device="cpu")
    assert result.paper == paper
    assert result.settings["data"] == "digit-pairs"
    assert result.settings["seeds"] == [0, 1]
    assert len(result.claims) >= 5
    assert not any(claim.asserted for claim in result.claims)
    assert "margins were set on digit" in result.notes
    assert all(claim.seeds == 2 for claim in result.claims)
    assert {"teacher"} < set(result.records)
    assert result.to_frame()["accuracy"].between(0, 1).all()
    again = records.open(result.save(tmp_path / "study.safetensors"))
    assert again.summary() == result.summary()
    assert len(again.records) == len(result.records)


@pytest.mark.parametrize("paper", OURS)
def test_bad_arguments_are_named_before_anything_is_trained(paper):
    with pytest.raises(ValueError, match="budget is 'huge'"):
        studies.run(paper, budget="huge")
    with pytest.raises(ValueError, match="needs at least one"):
        studies.run(paper, seeds=0)
    with pytest.raises(ValueError, match="no classes"):
        studies.run(paper, data=wb.data.load("diabetes"))


@pytest.mark.parametrize(
    ("data", "asserts"),
    [(None, True), ("digits", True), (wb.data.load("digits").per_class(2), True), ("digit-pairs", False)],
)
def test_claims_are_asserted_on_the_data_their_margins_were_set_on(data, asserts):
    given = {"root": None, "seeds": 1, "budget": "small", "device": "cpu", "seeds_small": 1, "seeds_full": 1}
    setting = Setting.of(data, **given)
    claim = asserted("it is so", estimate([1.0, 2.0]), ">", 0.0)
    result = setting.result(paper=1, title="Is it?", rows=[], claims=[claim], records={}, settings={}, notes="Yes.")
    assert [one.asserted for one in result.claims] == [asserts]
    assert (result.notes == "Yes.") == asserts
