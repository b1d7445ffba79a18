"""The studies of papers 091 and 114 on other data, in a few updates."""

import pytest
import torch

from workbench import records, studies
from workbench.studies.diffusion import p091_dp_dmd, p114_sid
from workbench.studies.kit import few_step

TINY = few_step.Size("denoiser-mlp", {"width": 8, "depth": 2}, start=3, steps=3, batch=16, samples=60)
SCALES = {91: p091_dp_dmd.Scale(TINY, TINY), 114: p114_sid.Scale(TINY, TINY, marks=(1, 2))}


@pytest.mark.parametrize("paper", [91, 114])
@pytest.mark.parametrize("data", ["moons", "digits"])
def test_a_study_runs_on_other_data_and_its_result_survives_a_file(paper, data, tmp_path):
    result = studies.run(paper, data=data, seeds=[7, 8], device="cpu", scale=SCALES[paper])
    assert result.settings["data"] == data
    assert not any(claim.asserted for claim in result.claims)
    assert {7, 8} <= set(result.to_frame()["seed"])
    again = records.open(result.save(tmp_path / "study.safetensors"))
    assert again.summary() == result.summary()
    assert any(isinstance(record, records.DiffusionModel) for record in again.records.values())
    assert any(isinstance(record, records.TargetTrajectories) for record in again.records.values())


def test_the_course_of_a_power_law_has_its_exponent_as_slope():
    marks = (50, 100, 400)
    assert p114_sid._slope([3 * mark**-0.7 for mark in marks], marks) == pytest.approx(-0.7)


def test_correlation_is_of_all_coordinates_together():
    x = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    assert p091_dp_dmd._correlation(x, 2 * x + 1) == pytest.approx(1)
    assert p091_dp_dmd._correlation(x, -x) == pytest.approx(-1)
