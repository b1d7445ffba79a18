"""The study of QD and DQ at a tiny scale on pictures of one's own."""

from dataclasses import replace

import pytest
import torch
from PIL import Image

import widgets
from workbench import records, studies
from workbench.studies.compression import p046_qd
from workbench.studies.kit.recipes import Network

TINY = replace(
    p046_qd.run.scales["small"], teacher=Network("mlp", {"width": [8]}, {"steps": 2}), steps=2, bits=(1, 2), batch=8,
    student=Network("mlp", {"width": [4]}),
)  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    generator = torch.Generator().manual_seed(0)
    for label in ("cat", "dog"):
        (tmp_path / "pictures" / label).mkdir(parents=True)
        for i in range(20):
            grey = torch.randint(0, 255, (8, 8), dtype=torch.uint8, generator=generator).numpy()
            Image.fromarray(grey).save(tmp_path / "pictures" / label / f"{i}.png")
    return tmp_path / "pictures"


def test_it_runs_on_pictures_of_ones_own_and_survives_a_file(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "cache"))
    result = studies.run(46, data=folder, seeds=[7, 8], device="cpu", scale=TINY)
    assert not any(claim.asserted for claim in result.claims)
    assert all(claim.seeds == 2 for claim in result.claims)
    table = result.to_frame()
    assert len(table) == 2 * (2 + 5 * 2)
    assert table["accuracy"].between(0, 1).all()
    sizes = table.groupby("bits")["kilobits"].min()
    assert sizes[1] < sizes[2] < sizes[32]
    again = records.open(result.save(tmp_path / "study.safetensors"))
    assert again.summary() == result.summary()
    assert again.records["QD, 1 bits"].model.head.weight.unique().numel() > 0
    assert widgets.explore(again.records["QD, 1 bits"]) is not None
