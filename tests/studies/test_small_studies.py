"""The studies of distilled images on other data, in a few steps, and the exact parts of some."""

from dataclasses import replace

import pytest
import torch

import workbench as wb
from workbench import records, studies
from workbench.condensation import Experts
from workbench.data import Dataset, Split
from workbench.models import Outputs
from workbench.studies.condensation import (
    p009_what_dd_learns,
    p011_rded,
    p019_mtt,
    p021_dd,
    p028_ftd,
    p036_ncfm,
    p040_datadam,
    p059_dream,
    p086_fyi,
)
from workbench.studies.condensation import p112_mts_mdt as p112_calibration
from workbench.studies.kit import distilling, pools

MLP = {"width": 8, "depth": 1}
EXPERTS = Experts(count=2, epochs=3, lr=0.05, batch_size=64, network="mlp", options=MLP)
MATCHING = {"iterations": 2, "steps": 2, "span": 1, "latest": 2, "step_size": 0.05, "lr_images": 1.0}
TRAINED = {"experts": EXPERTS, "method": MATCHING}
JUDGED = replace(distilling.JUDGED, steps=2)
"""Judging networks that hardly learn."""


def small(module, **changes):
    """The study's small scale with changes."""
    return replace(module.run.scales["small"], **changes)


BASE = small(p019_mtt, experts=EXPERTS, method=MATCHING, evaluations=1, epochs=2, options={"mlp": MLP, "convnet": MLP})
TINY = {
    9: small(
        p009_what_dd_learns,
        iterations=dict.fromkeys(p009_what_dd_learns.METHODS, 1),
        experts=Experts(count=2, epochs=6, lr=0.05, batch_size=64, network="mlp", options=p009_what_dd_learns.MLP),
        repeats=1,
        per_class=(2, 4),
        curves=(0, 200),
    ),
    11: small(p011_rded, teacher_epochs=1, steps=2, sizes=(1, 2), hard=(p011_rded.MOSAIC, p011_rded.IMAGES)),
    19: BASE,
    21: small(p021_dd, network={"network": "mlp", "options": MLP}, iterations=2, experts=2, epochs=1),
    28: small(p028_ftd, base=BASE),
    36: small(p036_ncfm, iterations=2, toys=2, learned=2, passes=1, judged=JUDGED),
    40: small(p040_datadam, iterations=2, judged=JUDGED),
    59: small(p059_dream, host=replace(p059_dream.run.scales["small"].host, iterations=2), draws=2, judged=JUDGED),
    86: small(p086_fyi, **TRAINED, evaluations=1, epochs=2, options={"mlp": MLP}),
    112: small(p112_calibration, **TRAINED, sizes=(1, 2), networks=2, steps=3, options=MLP),
}
"""Scales at which a study takes a second."""
LONG = {9, 40}
PAIRED = {9, 36, 59}
"""Studies some of whose claims are not about seeds."""


def photographs() -> Dataset:
    """Three classes of 10×10 images in colour; 40 of each to train on, 12 to test."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.rand(3, 3, 10, 10, generator=generator)
    mean, std = torch.full((3, 1, 1), 0.5), torch.full((3, 1, 1), 0.25)

    def split(n: int) -> Split:
        labels = torch.arange(3 * n) % 3
        raw = (0.6 * centres[labels] + 0.4 * torch.rand(3 * n, 3, 10, 10, generator=generator)).clamp(0, 1)
        return Split((raw - mean) / std, labels, ("bird", "car", "<b>cat</b>"), mean, std)

    return Dataset("photographs", split(40), split(12))


@pytest.mark.parametrize("paper", [pytest.param(n, marks=pytest.mark.slow) if n in LONG else n for n in TINY])
def test_a_study_runs_on_other_data_and_its_result_survives_a_file(paper, tmp_path):
    result = studies.run(paper, data=photographs(), seeds=[7, 8], device="cpu", scale=TINY[paper])
    assert result.settings["data"] == "photographs"
    assert result.settings["seeds"] == [7, 8]
    assert result.made_on.startswith("digit")
    assert result.deviations
    assert paper in PAIRED or all(claim.seeds == 2 for claim in result.claims)
    assert not any(claim.asserted for claim in result.claims)
    if "accuracy" in result.to_frame():
        assert result.to_frame()["accuracy"].dropna().between(0, 1).all()
    assert any(isinstance(record, records.DistilledSet) for record in result.records.values())
    again = records.open(result.save(tmp_path / "study.safetensors"))
    assert again.summary() == result.summary()
    assert list(again.records) == list(result.records)


@pytest.mark.parametrize("streamed", [False, True])
def test_experts_of_each_seed_are_the_same_wherever_they_are_kept(streamed, monkeypatch):
    data = photographs()
    expected = EXPERTS.train_each(data, [3, 4], device="cpu", progress=False)
    if streamed:
        monkeypatch.setattr(pools, "MOST_BYTES", 0)
    seen = []
    for seed, found in pools.by_seed(EXPERTS, data, [3, 4], device="cpu"):
        assert (found.path is not None) == streamed
        torch.testing.assert_close(found.at(1, 3), expected[seed].at(1, 3))
        seen.append(seed)
    assert seen == [3, 4]


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
    p011_rded.learned(sets, None, data, TINY[11], 1, "cpu")
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


def test_mixup_mixes_images_and_labels_alike():
    split = wb.data.load("digits").train.subset(20)
    mixed, labels = p112_calibration.mixed(split, 0.4, 3, seed=0)
    assert (len(mixed), labels.shape) == (60, (60, 10))
    torch.testing.assert_close(labels.sum(1), torch.ones(60))
    own = labels[torch.arange(60), mixed.labels]
    k = int(((own > 0.2) & (own < 0.8)).nonzero()[0])
    other = next(j for j in range(20) if labels[k, split.labels[j]] > 0 and split.labels[j] != mixed.labels[k])
    partners = split.inputs[split.labels == split.labels[other]]
    expected = own[k] * split.inputs[k % 20] + (1 - own[k]) * partners
    assert (expected - mixed.inputs[k]).flatten(1).norm(dim=1).min() < 1e-5


def test_crops_of_photographs_are_mirrored_and_those_of_digits_are_not():
    assert p011_rded.mirrors(photographs())
    assert not p011_rded.mirrors(wb.data.load("digits"))
