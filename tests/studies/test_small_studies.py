"""The studies of papers 011, 086 and 112 on other data, in a few steps, and the exact parts of them."""

from dataclasses import replace

import pytest
import torch

import workbench as wb
from workbench import records, studies
from workbench.condensation import Experts
from workbench.models import Outputs
from workbench.studies import p011_rded, p086_fyi, p112_calibration

MLP = {"width": 8, "depth": 1}
EXPERTS = Experts(count=2, epochs=3, lr=0.05, batch_size=64, network="mlp", options=MLP)
MATCHING = {"iterations": 2, "steps": 2, "span": 1, "latest": 2, "step_size": 0.05, "lr_images": 1.0}
QUICK = {
    11: (p011_rded, {"teacher_epochs": 1, "steps": 2, "sizes": (1, 2), "hard": (p011_rded.MOSAIC, p011_rded.IMAGES)}),
    86: (p086_fyi, {"experts": EXPERTS, "method": MATCHING, "evaluations": 1, "epochs": 2, "options": {"mlp": MLP}}),
    112: (
        p112_calibration,
        {"experts": EXPERTS, "method": MATCHING, "sizes": (1, 2), "networks": 2, "steps": 3, "options": MLP},
    ),
}


@pytest.mark.parametrize("paper", QUICK)
def test_a_study_runs_on_other_data_and_its_result_survives_a_file(paper, monkeypatch, tmp_path):
    module, changes = QUICK[paper]
    monkeypatch.setattr(module, "SMALL", replace(module.SMALL, **changes))
    data = wb.data.load("digit-pairs", tens=[1, 2], ones=[3, 4], n_train=120, n_test=60)
    result = studies.run(paper, data=data, seeds=[7, 8], device="cpu")
    assert result.settings["data"] == "digit-pairs"
    assert result.settings["seeds"] == [7, 8]
    assert all(claim.seeds == 2 for claim in result.claims)
    assert not any(claim.asserted for claim in result.claims)
    assert "margins were set on digit" in result.notes
    assert result.to_frame()["accuracy"].between(0, 1).all()
    assert any(isinstance(record, records.DistilledSet) for record in result.records.values())
    again = records.open(result.save(tmp_path / "study.safetensors"))
    assert again.summary() == result.summary()
    assert list(again.records) == list(result.records)


def test_views_are_the_same_for_all_sets(monkeypatch):
    """Paper 011: what differs between sets of equal factor is their images only."""
    seen = {}

    def train(students, sets, teacher, **options):
        seen[options["factor"]] = options["area"]
        return [wb.training.fit(students[0], sets[0].settings["split"], steps=0, progress=False)] * len(students)

    monkeypatch.setattr(p011_rded, "train_relabelled", train)
    data = wb.data.load("digits").per_class(4)
    made = wb.condensation.condense(data, wb.condensation.Random(ipc=1))
    made = made.replace(settings={"split": data.train})
    sets = {(name, 0): made for name in p011_rded.FACTOR}
    p011_rded.learned(sets, None, data, p011_rded.SMALL, 1, "cpu")
    assert seen == {1: p011_rded.AREA, 2: p011_rded.AREA}


def test_symmetric_classes_are_numbered_anew():
    kinds = p086_fyi.kinds(wb.data.load("digits"))
    some = kinds["symmetric classes"]
    assert some.classes == ("0", "1", "8")
    assert some.train.labels.unique().tolist() == [0, 1, 2]
    whole = wb.data.load("digits").train
    for number, digit in enumerate((0, 1, 8)):
        assert torch.equal(some.train.inputs[some.train.labels == number], whole.inputs[whole.labels == digit])
    assert list(p086_fyi.kinds(wb.data.load("digit-pairs", tens=[1], ones=[2, 3]))) == ["mirrored", "as they are"]


def test_rival_losses_are_what_they_are_called():
    g = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(6, 4, generator=g, dtype=torch.float64), torch.arange(6) % 4
    p = logits.softmax(1)[torch.arange(6), labels]
    assert torch.allclose(p112_calibration.focal(Outputs(logits), None, labels), -((1 - p) ** 2) * p.log())
    target = 0.9 * torch.nn.functional.one_hot(labels, 4) + 0.025
    expected = -(target * logits.log_softmax(1)).sum(1)
    assert torch.allclose(p112_calibration.smoothed(Outputs(logits), None, labels), expected)
