"""The study of paper 093 on other data, with few noises: it runs, asserts nothing there, and survives a file."""

from dataclasses import replace

import pytest

import workbench as wb
from workbench import records, studies
from workbench.studies.diffusion import p093_d_ode


@pytest.mark.parametrize("data", ["moons", wb.data.load("digits").subset(100)], ids=["points", "images"])
def test_it_runs_on_other_data(data, tmp_path):
    small = p093_d_ode.run.scales["small"]
    tiny = replace(small, points=40, images=8, reference=6, steps=(4, 5, 10, 20), batches=(3,), fit=6, others=(5, 10))
    result = studies.run(93, data=data, seeds=[7], device="cpu", scale=tiny)
    assert result.settings["data"] == getattr(data, "name", data)
    assert not any(claim.asserted for claim in result.claims)
    assert result.made_on == "ring8"
    frame = result.to_frame()
    assert set(frame["case"][frame["solver"] == "distilled"]) == {case.name for case in p093_d_ode.CASES}
    heun = frame[(frame["case"] == "Heun (EDM)") & (frame["solver"] == "plain") & (frame["steps"] == 5)]
    assert set(heun["calls"]) == {9}, "2n − 1"
    coarse, fine, distilled = (result.records[name] for name in ("DDIM, 5 steps", "DDIM, 100 steps", "D-DDIM, 5 steps"))
    assert bool((coarse.noise == distilled.noise).all())
    assert fine.role == "teacher"
    assert isinstance(result.records["D-DDIM"], records.DistilledSolver)
    again = records.open(result.save(tmp_path / "study.safetensors"))
    assert again.summary() == result.summary()
