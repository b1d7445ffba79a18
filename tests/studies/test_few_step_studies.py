"""The studies of papers 031, 044 and 071 on other data, in a few updates, and what judges their students."""

import itertools
from dataclasses import replace

import pytest
import torch

from workbench import records, studies
from workbench.diffusion import TargetRule
from workbench.diffusion.making.target_rules import visited
from workbench.studies.diffusion import p044_hyper_sd, p071_tdd
from workbench.studies.kit import few_step
from workbench.studies.kit.diffusing import teacher

TINY = few_step.Size("denoiser-mlp", {"width": 8, "depth": 2}, start=3, steps=3, batch=16, samples=60)
IMAGES = few_step.Size("unet", {"width": 8, "heads": 0}, start=1, steps=1, batch=4, samples=12)
COURSE = p044_hyper_sd.Course(2, 2, 2, rank=2)
SCALES = {
    31: few_step.Scale(TINY, IMAGES),
    44: p044_hyper_sd.Scale(TINY, IMAGES, COURSE, COURSE),
    71: p071_tdd.Scale(TINY, IMAGES, guided=TINY),
}


@pytest.mark.parametrize(("paper", "data"), [(31, "moons"), (44, "moons"), (71, "moons"), (31, "digits")])
def test_a_study_runs_on_other_data_and_its_result_survives_a_file(paper, data, tmp_path):
    result = studies.run(paper, data=data, seeds=[7, 8], device="cpu", scale=SCALES[paper])
    assert result.settings["data"] == data
    assert result.made_on == "ring8"
    assert result.deviations
    assert not any(claim.asserted for claim in result.claims)
    frame = result.to_frame()
    assert (frame["paired error"].dropna() > 0).all()
    assert set(frame["seed"]) == {-1, 7, 8}
    again = records.open(result.save(tmp_path / "study.safetensors"))
    assert again.summary() == result.summary()
    assert any(isinstance(record, records.DiffusionModel) for record in again.records.values())


def test_the_judge_knows_the_teachers_ends_and_asks_for_the_classes_of_the_data():
    judge = few_step.HeldOut(teacher("cond-ring"), replace(TINY, samples=500))
    fine = judge.row(judge.teacher.model, judge.teacher.model.schedule.grid(200), "heun")
    coarse = judge.row(judge.teacher.model, judge.teacher.model.schedule.grid(2))
    assert fine["paired error"] < 1e-2 < coarse["paired error"]
    assert fine["quality"] > coarse["quality"]
    assert judge.floor < coarse["sliced W2"]
    modes = judge.teacher.modes
    nearest = modes.labels[modes.distances(judge.ends).argmin(1)]
    assert torch.equal(nearest, judge.condition)


def test_side_by_side_keeps_the_order_and_raises_what_a_part_raises():
    assert few_step.side_by_side(lambda part: 2 * part, list(range(7))) == [0, 2, 4, 6, 8, 10, 12]

    def broken(part):
        if part == 3:
            raise ValueError("part 3")
        return part

    with pytest.raises(ValueError, match="part 3"):
        few_step.side_by_side(broken, list(range(5)))


def test_side_by_side_trains_what_one_by_one_does():
    one = teacher("ring8")
    both = few_step.starts(one, TINY, [0, 1], "cpu")
    for seed in (0, 1):
        alone = few_step.starts(one, TINY, [seed], "cpu")[seed]
        assert all(torch.equal(value, alone.state[key]) for key, value in both[seed].state.items())


def test_rewards_are_per_sample():
    assert p044_hyper_sd.reward(torch.tensor([[1.0, 5.0], [2.0, 7.0]])).tolist() == [1.0, 2.0]
    assert p044_hyper_sd.reward(torch.ones(3, 1, 2, 2)).tolist() == [1.0] * 3


def test_what_a_sampler_asks_for_is_what_tdd_trains():
    """The table of trained jumps has mass wherever a sampler of four to eight steps jumps (paper 071)."""
    times = torch.linspace(0, 1, 41, dtype=torch.float64)
    table = TargetRule.tdd(pull=0.0).density(times, bins=40)
    for K in range(4, 9):
        for t, s in itertools.pairwise(visited(40, K).tolist()):
            assert table[t - 1, s] > 0, (K, t, s)
