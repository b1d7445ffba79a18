"""What the README promises: its code runs, and anything that it says can be your own can be."""

import itertools
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils import data as torch_data

import workbench as wb
from workbench import cli, papers, records

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
FLAT = " ".join(README.split())
SHORT = {"epochs": 2, "progress": False}


class Recurrent(nn.Module):
    """A network of a stranger: an LSTM, layers under names of its own, logits in a dict."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.reader = nn.LSTM(8, 6, batch_first=True)
            self.verdict = nn.Linear(6, 10)

    def forward(self, pictures: torch.Tensor) -> dict[str, torch.Tensor]:
        rows, _ = self.reader(pictures[:, 0])
        return {"logits": self.verdict(rows[:, -1])}


@pytest.fixture(scope="module")
def digits():
    return wb.data.load("digits").subset(120)


def test_the_five_lines_run():
    (block,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert "epochs=10" in block
    made: dict[str, object] = {}
    exec(block.replace("epochs=10", "epochs=1"), made)
    assert isinstance(made["similar"], records.SimilarityMap)
    assert made["student"].accuracy > 0.5


def test_the_data_may_be_a_folder_or_a_zip_or_a_table(tmp_path):
    assert "a folder or zip of images" in FLAT
    assert "any table" in FLAT
    colours = np.random.default_rng(0).integers(0, 256, (12, 9, 9, 3), dtype=np.uint8)
    for i, pixels in enumerate(colours):
        place = tmp_path / "photos" / ("cat", "dog")[i % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / f"{i}.png")

    zipped = shutil.make_archive(str(tmp_path / "photos"), "zip", tmp_path / "photos")
    for where in (tmp_path / "photos", zipped):
        data = wb.data.image_folder(where)
        assert data.classes == ("cat", "dog")
        assert wb.training.fit(wb.models.build("convnet", data, width=4), data, **SHORT).epochs == 2
    things = pd.DataFrame({"width": np.arange(20) / 2, "colour": ["red", "blue"] * 10, "kind": ["a", "b"] * 10})
    table = wb.data.table(things, target="kind")
    assert wb.training.fit(wb.models.build("mlp", table, width=4), table, **SHORT).epochs == 2


def test_the_data_may_be_what_a_torch_user_has(digits):
    assert "tensors `(x, y)`, arrays, a `Dataset`, a `DataLoader`, a dict of tensors, token ids among them" in FLAT
    x, y = digits.train.inputs, digits.train.labels
    examples = torch_data.TensorDataset(x, y)
    loader = torch_data.DataLoader(examples, batch_size=9, shuffle=True)
    teacher = wb.models.build("mlp", digits, width=8, seed=1)
    wanted = None
    for given in (digits.train, (x, y), (x.numpy(), y.numpy()), examples, loader, {"x": x, "y": y}):
        student = wb.knowledge.distill(teacher, wb.models.build("mlp", digits, width=8), given, **SHORT)
        values = wb.analysis.cka(teacher, student.model, given).values  # noqa: PD011 - no data frame
        wanted = values if wanted is None else wanted
        assert torch.equal(values, wanted)


def test_token_ids_are_inputs():
    ids = torch.randint(0, 7, (40, 5), generator=torch.Generator().manual_seed(0))

    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.head = nn.Embedding(7, 4), nn.Linear(4, 2)

        def forward(self, input_ids):
            return {"logits": self.head(self.words(input_ids).mean(1))}

    given = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids[:, 0] % 2}
    teacher, student = Reader(), Reader()
    assert wb.training.fit(teacher, given, **SHORT).epochs == 2
    assert wb.knowledge.distill(teacher, student, given, **SHORT).epochs == 2
    assert "words" in wb.analysis.cka(teacher, student, given).layers_a


def test_the_networks_may_be_any_module_and_its_layers_keep_their_names(digits):
    assert "the networks (any `nn.Module`, its layers addressed by their own names)" in FLAT
    teacher = wb.training.fit(Recurrent(1), digits, **SHORT).model
    student = wb.knowledge.distill(teacher, Recurrent(2), digits, **SHORT).model
    similar = wb.analysis.cka(teacher, student, digits.test, layers_a="verdict", layers_b="verdict")
    assert (similar.layers_a, similar.layers_b) == (("verdict",), ("verdict",))
    assert wb.models.observe(teacher, "verdict")(digits.test.inputs[:3]).features["verdict"].shape == (3, 10)


def test_the_signal_may_be_any_callable(digits):
    assert "the signal (any callable on the two networks' outputs)" in FLAT
    teacher = wb.models.build("mlp", digits, width=8, seed=1)

    def close(student, teacher, labels):
        return (student.logits - teacher.logits).square().mean(1)

    kl = wb.knowledge.KL(temperature=4)
    for signal in (
        close,
        lambda student, teacher, _: (student.logits - teacher.logits).abs().mean(1),
        0.5 * kl + close,
        sum([kl]),
    ):
        record = wb.knowledge.distill(teacher, wb.models.build("mlp", digits, width=8), digits, signal, **SHORT)
        assert record.curves["train_loss"].isfinite().all()


def test_a_long_run_goes_on_from_its_file_to_the_same_bits(digits, tmp_path):
    assert '`checkpoint="run.safetensors"` writes it to disk as it goes' in FLAT
    path = tmp_path / "run.safetensors"
    teacher = wb.models.build("mlp", digits, width=8, seed=1)

    def student():
        return wb.models.build("mlp", digits, width=8)

    def stop(step, scores):
        raise KeyboardInterrupt

    whole = wb.knowledge.distill(teacher, student(), digits, **SHORT)
    wb.knowledge.distill(teacher, student(), digits, checkpoint=path, watch=stop, **SHORT)
    rest = wb.knowledge.distill(teacher, student(), digits, checkpoint=path, resume=path, **SHORT)
    for name, value in whole.state.items():
        assert torch.equal(value, rest.state[name])
        assert torch.equal(value, records.open(path).state[name])


def test_the_commands_are_there(capsys):
    said = set(re.findall(r"`workbench (\w+)", README))
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    shown = capsys.readouterr().out
    assert said >= {"papers", "run", "open", "cache", "doctor"}
    assert not [name for name in said if not re.search(rf"^    {name}\b", shown, re.MULTILINE)]
    with pytest.raises(SystemExit):
        cli.main(["run", "--help"])
    shown = capsys.readouterr().out
    assert "--seeds" in shown
    assert "--save" in shown
    assert f"the {len(papers.load())} papers" in README
    assert all(papers.get(int(number)).built for number in re.findall(r"`workbench run (\d+)`", README))


def test_what_is_said_to_be_where_is_there():
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    commands = re.findall(r"`?make (\w+)", "\n".join(re.findall(r"`make [^`]*`|^make .*$", README, re.MULTILINE)))
    assert set(commands) >= {"lab", "test", "help", "claims"}
    assert not set(commands) - set(targets)
    rows = [line.split("|")[1] for line in README.splitlines() if line.startswith("| `")]
    named = list(itertools.chain(*(re.findall(r"`([\w./]+)`", row) for row in rows)))
    assert len(named) > 10
    assert not [name for name in named if not any((ROOT / base / name).exists() for base in (".", "workbench"))]
    assert not [link for link in re.findall(r"\]\(([\w./-]+)\)", README) if not (ROOT / link).exists()]
