"""Studies of diffusion start from a trained teacher of the user's: a record, its file, or a folder of a pipeline."""

from dataclasses import replace

import pytest
import torch

import workbench as wb
from workbench import cli, diffusion, studies
from workbench.studies.diffusion import p096_dt
from workbench.studies.kit import few_step
from workbench.studies.kit.diffusing import teacher, trained
from workbench.studies.kit.study import Study

TINY = few_step.Size("denoiser-mlp", {"width": 8, "depth": 2}, start=3, steps=2, batch=8, samples=20)


@pytest.fixture(scope="module")
def record():
    return diffusion.regress(diffusion.ring(classes=2), steps=2, batch=16, progress=False)


def test_a_record_its_file_and_nothing_else(record, tmp_path):
    path = record.save(tmp_path / "teacher.safetensors")
    for given in (record, path, str(path)):
        found = trained(given)
        x, labels = found.real(6, torch.Generator().manual_seed(0))
        assert x.shape == (6, 2)
        assert set(labels.tolist()) <= {0, 1}
        assert found.classes == record.classes
        begun = few_step.starts(found, TINY, [0, 1], "cpu")
        assert all(torch.equal(begun[1].state[key], value) for key, value in record.state.items())
    with pytest.raises(ValueError, match="teacher is a StudyResult; a DiffusionModel"):
        trained(wb.records.StudyResult(paper=1, title="", provenance=record.provenance))


def test_a_study_runs_from_a_record_without_data(record):
    found = studies.run(31, teacher=record, seeds=[3], scale=few_step.Scale(TINY, TINY), device="cpu")
    assert found.made_on == "ring8"
    assert found.settings["data"] == record.name
    assert not any(claim.asserted for claim in found.claims)


def test_a_folder_of_a_pipeline_is_a_teacher(tmp_path):
    diffusers = pytest.importorskip("diffusers")
    unet = diffusers.UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1, layers_per_block=1, block_out_channels=(4, 8), norm_num_groups=2,
        down_block_types=("DownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    diffusers.DDPMPipeline(unet, diffusers.DDPMScheduler()).save_pretrained(tmp_path / "pipe")
    small = studies.study(93).run.scales["small"]
    tiny = replace(small, images=4, reference=4, steps=(4, 5, 10, 20), batches=(3,), fit=4, others=(5, 10))
    found = studies.run(93, teacher=tmp_path / "pipe", seeds=[3], scale=tiny, device="cpu")
    assert found.settings["data"] == "pipe"
    students = few_step.starts(trained(tmp_path / "pipe"), TINY, [0], "cpu")
    assert diffusion.denoiser(students[0])(torch.zeros(2, 1, 8, 8), torch.tensor(0.5)).x0.shape == (2, 1, 8, 8)


def test_a_study_without_trained_teachers_says_so(record):
    with pytest.raises(ValueError, match="the study of paper 96 takes none"):
        studies.run(96, teacher=record)


def test_data_must_be_of_the_teachers_shape(record):
    with pytest.raises(ValueError, match=r"data has examples of shape \(1, 8, 8\); the teacher's are \(2,\)"):
        trained(record, "digits")


def test_the_command_passes_names_of_mixtures_and_teachers_on(monkeypatch):
    called = {}

    class SeenError(Exception):
        pass

    def seen(self, data=None, *, seeds=None, teacher=None):
        called.update(data=data, teacher=teacher)
        raise SeenError

    monkeypatch.setattr(Study, "__call__", seen)
    assert cli.main(["run", "31", "--data", "moons", "--teacher", "file"]) == cli.BROKEN
    assert called == {"data": "moons", "teacher": "file"}


@pytest.mark.parametrize("data", ["ring8", "digits"])
def test_the_study_of_targets_runs_at_a_tiny_scale(data):
    source = wb.data.load("digits").subset(60) if data == "digits" else data
    tiny = p096_dt.Scale(12, 6, start=1, consistency=1, matching=1, slider=1, doubt=20, doubt_images=6)
    found = studies.run(96, data=source, seeds=[7], scale=tiny, device="cpu")
    assert {row["part"] for row in found.table} == {"planted", "trained", "commitment", "control"}


def test_the_fits_that_students_start_from_are_made_once():
    ring = teacher("ring8")
    one = few_step.starts(ring, TINY, [0], "cpu")[0]
    again = few_step.starts(ring, TINY, [0], "cpu")[0]
    assert one.provenance.created == again.provenance.created
    other = few_step.starts(teacher("grid25"), TINY, [0], "cpu")[0]
    assert not all(torch.equal(value, other.state[key]) for key, value in one.state.items())
