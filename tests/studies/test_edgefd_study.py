"""The study of EdgeFD at a tiny scale on pictures of one's own."""

from dataclasses import replace

import pytest
import torch
from PIL import Image

import widgets
from workbench import records, studies
from workbench.studies.federated import p045_edgefd
from workbench.studies.kit.recipes import Network

TINY = replace(
    p045_edgefd.run.scales["small"], networks=(Network("mlp", {"width": [4]}), Network("mlp", {"width": [4, 4]})),
    pooled=Network("mlp", {"width": [4]}, {"steps": 2}), clients=3, rounds=2, local_steps=1, distil_steps=1, batch=4,
)  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    generator = torch.Generator().manual_seed(0)
    for label in ("bird", "cat", "dog"):
        (tmp_path / "pictures" / label).mkdir(parents=True)
        for i in range(30):
            grey = torch.randint(0, 255, (8, 8), dtype=torch.uint8, generator=generator).numpy()
            Image.fromarray(grey).save(tmp_path / "pictures" / label / f"{i}.png")
    return tmp_path / "pictures"


def test_it_runs_on_pictures_of_ones_own_and_survives_a_file(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "cache"))
    result = studies.run(45, data=folder, seeds=[7, 8], device="cpu", scale=TINY)
    assert not any(claim.asserted for claim in result.claims)
    assert all(claim.seeds == 2 for claim in result.claims)
    table = result.to_frame()
    assert len(table) == 2 * 12
    assert table["accuracy"].between(0, 1).all()
    alone = table["method"] == "alone"
    assert (table.loc[alone, "soft labels up, bytes a round"] == 0).all()
    assert (table.loc[~alone, "soft labels up, bytes a round"] > 0).all()
    public = table["data of a client"].str.endswith("public proxy")
    assert (table.loc[public, "donated data, bytes"] == 0).all()
    assert (table.loc[~public, "donated data, bytes"] > 0).all()
    again = records.open(result.save(tmp_path / "study.safetensors"))
    assert again.summary() == result.summary()
    assert widgets.explore(again.records["pooled"]) is not None
