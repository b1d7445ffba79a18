"""What is exported comes back; what others publish is opened; what is no images and labels is refused, unread."""

import json
import pickle
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from workbench.condensation import Herding, condense, export, open_images
from workbench.condensation.files.opening import CONSTANTS
from workbench.data import DataError
from workbench.records import DistilledSet


def a_set(channels=3, *, soft=False, n=6, classes=("cat", "<img onerror=x>", "a/b")) -> DistilledSet:
    generator = torch.Generator().manual_seed(0)
    mean, std = torch.full((channels, 1, 1), 0.45), torch.full((channels, 1, 1), 0.2)
    raw = torch.randint(0, 256, (n, channels, 5, 7), generator=generator) / 255
    labels = torch.arange(n) * len(classes) // n
    if soft:
        labels = (torch.nn.functional.one_hot(labels, len(classes)) * 4.0 + torch.rand(n, len(classes))).softmax(1)
    return DistilledSet(
        name="few",
        method="DM",
        images=(raw - mean) / std,
        labels=labels,
        classes=classes,
        mean=mean,
        std=std,
        view={"tiles": 2},
        step_size=torch.tensor(0.25),
    )


def agree(a: DistilledSet, b: DistilledSet) -> None:
    torch.testing.assert_close(a.images, b.images, rtol=0, atol=1e-5)
    assert a.labels.dtype == b.labels.dtype
    torch.testing.assert_close(a.labels, b.labels, rtol=0, atol=0)
    assert (a.classes, a.view, a.name, a.method) == (b.classes, b.view, b.name, b.method)
    torch.testing.assert_close(a.mean, b.mean)
    torch.testing.assert_close(a.std, b.std)


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_npz_comes_back_exactly(tmp_path, channels, soft):
    made = a_set(channels, soft=soft)
    made = made.replace(images=made.images * 3)  # beyond the value range, as methods leave it
    back = open_images(export(made, tmp_path / "few.npz"))
    assert torch.equal(back.images, made.images)
    agree(back, made)
    assert float(back.step_size) == 0.25


@pytest.mark.parametrize("channels", [1, 3])
def test_folder_comes_back_with_hostile_class_names(tmp_path, channels):
    made = a_set(channels)
    place = export(made, tmp_path / "few")
    assert sorted(p.name for p in place.iterdir()) == ["_img onerror_x_", "a_b", "cat", "distilled.json"]
    agree(open_images(place), made)


def test_classes_whose_folders_would_be_one(tmp_path):
    made = a_set(classes=("a/b", "A:B", "."))
    agree(open_images(export(made, tmp_path / "few")), made)


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
def test_huggingface_folder_comes_back(tmp_path, channels, soft):
    made = a_set(channels, soft=soft)
    place = export(made, tmp_path / "few", "huggingface")
    lines = [json.loads(line) for line in (place / "train" / "metadata.jsonl").read_text().splitlines()]
    assert [line["file_name"] for line in lines] == sorted(p.name for p in (place / "train").glob("*.png"))
    assert [line["label"] for line in lines] == made.hard_labels.tolist()
    assert "dataset-distillation" in (place / "README.md").read_text()
    agree(open_images(place), made)


def test_pictures_are_rounded_and_cut_off(tmp_path):
    made = a_set(1)
    made.images[0, 0, 0, :2] = torch.tensor([99.0, -99.0])
    back = open_images(export(made, tmp_path / "few"))
    raw = back.images[0, 0, 0, :2] * back.std.flatten() + back.mean.flatten()
    torch.testing.assert_close(raw, torch.tensor([1.0, 0.0]), atol=1e-5, rtol=0)
    assert torch.equal(back.pictures(), made.pictures())


def test_sheet_has_a_row_per_class(tmp_path):
    made = a_set(3).take([0, 1, 2, 4])
    with Image.open(export(made, tmp_path / "few.png")) as sheet:
        pixels = torch.from_numpy(np.asarray(sheet).copy()).permute(2, 0, 1)
    factor, gap = 9, 2
    assert pixels.shape == (3, 3 * (5 * factor + gap) + gap, 2 * (7 * factor + gap) + gap)
    for i, (row, column) in enumerate([(0, 0), (0, 1), (1, 0), (2, 0)]):
        top, left = gap + row * (5 * factor + gap), gap + column * (7 * factor + gap)
        shown = pixels[:, top : top + 5 * factor : factor, left : left + 7 * factor : factor]
        assert torch.equal(shown, made.pictures()[i])
    assert (pixels[:, 60, 80] == 255).all()  # no second image in the second row


def test_export_refuses(tmp_path):
    made = a_set()
    with pytest.raises(ValueError, match=r"few\.jpg could be anything"):
        export(made, tmp_path / "few.jpg")
    with pytest.raises(ValueError, match="form is 'gif'"):
        export(made, tmp_path / "few", "gif")
    with pytest.raises(ValueError, match="have 2 channels"):
        export(a_set(2), tmp_path / "few.png")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(ValueError, match="is not an empty folder"):
        export(made, tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "x"


# What others publish


def dm_file(path, runs=2, **changes):
    data = [[torch.randn(4, 3, 8, 8) + k, torch.tensor([0, 0, 1, 1])] for k in range(runs)]
    accuracies = {"ConvNet": [np.float64(0.5), np.float32(0.25).item()], "AlexNet": [np.mean([1, 2]), np.int64(3)]}
    torch.save({"data": data, "accs_all_exps": accuracies} | changes, path)
    return data


def test_dc_and_dm_file(tmp_path):
    path = tmp_path / "res_DM_CIFAR10_ConvNet_2ipc.pt"
    data = dm_file(path)
    first = open_images(path, constants="CIFAR10")
    assert torch.equal(first.images, data[0][0])
    assert first.labels.tolist() == [0, 0, 1, 1]
    assert first.classes == ("0", "1")
    assert tuple(first.mean.flatten().tolist()) == pytest.approx(CONSTANTS["CIFAR10"][0])
    assert first.name == "res_DM_CIFAR10_ConvNet_2ipc"
    second = open_images(path, constants="CIFAR10", experiment=1, classes=("plane", "car"), name="DM")
    assert torch.equal(second.images, data[1][0])
    assert (second.name, second.classes) == ("DM", ("plane", "car"))
    with pytest.raises(DataError, match=r"experiment is 2; .* holds 2"):
        open_images(path, constants="CIFAR10", experiment=2)


def test_mtt_files(tmp_path):
    images, labels = torch.randn(4, 1, 8, 8, requires_grad=True), torch.tensor([1, 0, 1, 0])
    torch.save(images, tmp_path / "images_best.pt")
    with pytest.raises(DataError, match="holds images alone: pass labels="):
        open_images(tmp_path / "images_best.pt", constants="MNIST")
    torch.save(labels, tmp_path / "labels_best.pt")
    made = open_images(tmp_path / "images_best.pt", constants=([0.1], [0.3]))
    assert made.labels.tolist() == [0, 0, 1, 1]
    assert torch.equal(made.images, images.detach()[[1, 3, 0, 2]])
    assert not made.images.requires_grad
    torch.save(torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5], [1.0, 0.0]]), tmp_path / "soft.pt")
    soft = open_images(tmp_path / "images_best.pt", constants="MNIST", labels=tmp_path / "soft.pt")
    assert soft.soft
    assert soft.hard_labels.tolist() == [0, 0, 0, 1]


def test_pair_of_images_and_labels_in_bytes_and_unit(tmp_path):
    raw = torch.rand(4, 1, 8, 8)
    for values, images in (("unit", raw), ("bytes", raw * 255), (None, (raw * 255).to(torch.uint8))):
        torch.save([images, torch.tensor([0, 1, 2, 2])], tmp_path / "data.pt")
        made = open_images(tmp_path / "data.pt", constants="MNIST", values=values)
        torch.testing.assert_close(made.images * made.std + made.mean, raw, rtol=0, atol=1 / 255 + 1e-6)
    bare = open_images(tmp_path / "data.pt")
    assert bare.mean.item() == 0
    assert bare.std.item() == 1


class Hostile:
    def __reduce__(self):
        return (print, ("this ran",))


@pytest.mark.parametrize("content", [Hostile(), {"data": [Hostile()]}, {"data": [], "args": Hostile()}])
def test_a_file_with_code_is_refused_and_the_code_does_not_run(tmp_path, capsys, content):
    torch.save(content, tmp_path / "images_evil.pt")
    (tmp_path / "images_raw.pt").write_bytes(pickle.dumps(content, protocol=2))
    for name in ("images_evil.pt", "images_raw.pt"):
        with pytest.raises(DataError, match=r"more than tensors and numbers, and is not read|damaged"):
            open_images(tmp_path / name)
    assert "this ran" not in capsys.readouterr().out


def test_pickles_in_an_npz_are_refused(tmp_path, capsys):
    np.savez(tmp_path / "evil.npz", images=np.array([Hostile()], dtype=object), labels=np.zeros(1))
    with pytest.raises(DataError, match="holds objects"):
        open_images(tmp_path / "evil.npz")
    assert "this ran" not in capsys.readouterr().out


def test_other_contents_are_named(tmp_path):
    path = tmp_path / "images.pt"
    for content, says in (({"conv.weight": torch.zeros(2)}, "a dict with 'conv.weight'"), ([1, 2, 3], "a list of 3")):
        torch.save(content, path)
        with pytest.raises(DataError, match=says):
            open_images(path)
    path.write_bytes(b"nonsense")
    with pytest.raises(DataError, match=r"damaged|not read"):
        open_images(path)
    with pytest.raises(FileNotFoundError, match="there is nothing at"):
        open_images(tmp_path / "missing.pt")
    np.savez(tmp_path / "x.npz", pictures=np.zeros(3))
    with pytest.raises(DataError, match="holds pictures; 'images' and 'labels' are needed"):
        open_images(tmp_path / "x.npz")
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04nonsense")
    with pytest.raises(DataError, match="cannot be read"):
        open_images(tmp_path / "broken.npz")


def saved(tmp_path, images, labels):
    torch.save([images, labels], tmp_path / "some.pt")
    return tmp_path / "some.pt"


def test_values_outside_their_range(tmp_path):
    labels = torch.tensor([0, 1])
    images = torch.rand(2, 1, 4, 4)
    with pytest.raises(DataError, match=r"all values in .* lie in 0\.\.1: say values='unit'"):
        open_images(saved(tmp_path, images, labels), constants="MNIST")
    wrong = images.clone()
    wrong[1, 0, 2, 2] = 1.5
    with pytest.raises(DataError, match=r"image 1 of .* has the value 1\.5, outside 0\.\.1"):
        open_images(saved(tmp_path, wrong, labels), values="unit")
    with pytest.raises(DataError, match=r"image 0 of .* has the value 300, outside 0\.\.255"):
        open_images(saved(tmp_path, torch.full((2, 1, 4, 4), 300), labels))
    with pytest.raises(DataError, match=r"100% of the pixels in .* are outside the value range"):
        open_images(saved(tmp_path, images * 100 + 100, labels), constants="MNIST")
    wrong[1, 0, 0, 0] = torch.nan
    with pytest.raises(DataError, match=r"image 1 of .* holds NaN or infinite values"):
        open_images(saved(tmp_path, wrong, labels), constants="MNIST")
    with pytest.raises(DataError, match="normalised with is not known"):
        open_images(saved(tmp_path, images * 3, labels))
    with pytest.raises(DataError, match="values is 'raw'"):
        open_images(saved(tmp_path, images, labels), values="raw")
    with pytest.raises(DataError, match="constants is 'CIFAR'; known are MNIST"):
        open_images(saved(tmp_path, images * 3, labels), constants="CIFAR")
    with pytest.raises(DataError, match="have 1 channels; mean and standard deviation"):
        open_images(saved(tmp_path, images * 3, labels), constants="CIFAR10")


def test_labels_and_shapes_that_do_not_fit(tmp_path, tiny):
    images = torch.randn(3, 1, 6, 6)
    for labels, says in (
        (torch.tensor([0, 1]), r"has 3 images, but labels of shape \(2,\)"),
        (torch.tensor([0, -1, 1]), "image 1 of .* has label -1"),
        (torch.tensor([0.0, 0.5, 1.0]), r"no whole numbers, such as 0\.5"),
        (torch.tensor([[0.9, 0.2], [0.5, 0.5], [1, 0]]), r"soft label 0 of .* sums to 1\.1"),
        (torch.tensor([[3.0, -2.0]] * 3), "logits need a softmax"),
        (torch.tensor([0, 3, 1]), r"has a label 3, but there are 3 classes"),
        (torch.tensor([0, 10**9, 1]), r"has a label 1000000000, but there are 3 classes"),
    ):
        with pytest.raises(DataError, match=says):
            open_images(saved(tmp_path, images, labels), tiny)
    with pytest.raises(DataError, match=r"images of shape \(1, 5, 5\), the data's have \(1, 6, 6\)"):
        open_images(saved(tmp_path, torch.randn(3, 1, 5, 5), torch.tensor([0, 1, 2])), tiny)
    with pytest.raises(DataError, match=r"has a label 1,000,000,000, and no class names"):
        open_images(saved(tmp_path, images, torch.tensor([0, 10**9, 1])), constants="MNIST")
    with pytest.raises(DataError, match="sparse tensor"):
        open_images(saved(tmp_path, images.to_sparse(), torch.tensor([0, 1, 2])), tiny)
    with pytest.raises(DataError, match=r"say values='unit'"):
        open_images(saved(tmp_path, images > 0, torch.tensor([0, 1, 2])), constants="MNIST")
    with pytest.raises(DataError, match=r"images of shape \(5,\)"):
        open_images(saved(tmp_path, torch.randn(5), torch.zeros(5)), constants="MNIST")
    made = open_images(saved(tmp_path, images, torch.tensor([[2.0], [0], [1]])), tiny)
    assert made.classes == ("a", "b", "c")
    assert made.mean.item() == 0.5
    assert torch.equal(made.images, images[[1, 2, 0]])


def test_npz_of_others_in_either_layout(tmp_path):
    images = (np.random.default_rng(0).random((4, 6, 7, 3)) * 255).astype(np.uint8)
    np.savez(tmp_path / "last.npz", images=images, labels=np.array([0, 1, 1, 2], np.uint8))
    made = open_images(tmp_path / "last.npz")
    assert np.array_equal(made.pictures().numpy(), images.transpose(0, 3, 1, 2))
    np.savez(tmp_path / "grey.npz", images=images[..., 0], labels=np.arange(4))
    assert open_images(tmp_path / "grey.npz").images.shape == (4, 1, 6, 7)


def test_a_strangers_folder_or_zip(tmp_path, tiny):
    made = condense(tiny, Herding(ipc=2))
    place = export(made, tmp_path / "few")
    (place / "distilled.json").unlink()
    opened = open_images(place, tiny)
    assert torch.equal(opened.pictures(), made.pictures())
    assert opened.classes == ("a", "b", "c")
    assert opened.mean.item() == 0.5
    archive = tmp_path / "few.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for picture in place.rglob("*.png"):
            file.write(picture, picture.relative_to(place))
    assert torch.equal(open_images(archive, tiny).images, opened.images)
    with pytest.raises(DataError, match=r"the folder 'a' in .* is none of the classes b, c"):
        open_images(place, classes=("b", "c"))
    Image.new("L", (9, 9)).save(place / "a" / "large.png")
    with pytest.raises(DataError, match=r"large\.png has 9×9 pixels"):
        open_images(place, tiny)
    Image.new("L", (6, 6)).save(place / "loose.png")
    (place / "a" / "large.png").unlink()
    with pytest.raises(DataError, match=r"loose\.png lies in no folder"):
        open_images(place, tiny)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="there are no pictures"):
        open_images(tmp_path / "empty")


def test_a_strangers_table_of_metadata(tmp_path, tiny):
    for k in range(3):
        Image.new("L", (6, 6), 80 * k).save(tmp_path / f"{k}.png")
    table = tmp_path / "metadata.csv"
    table.write_text("file_name,label\n0.png,b\n1.png,a\n2.png,c\n")
    made = open_images(tmp_path, tiny)
    assert made.labels.tolist() == [0, 1, 2]
    assert made.pictures()[:, 0, 0, 0].tolist() == [80, 0, 160]
    table.write_text("file_name,label\n0.png,1\n1.png,0\n2.png,1\n")
    assert open_images(tmp_path).labels.tolist() == [0, 1, 1]
    for row, says in (
        ("../../etc/passwd,1", "names a file outside the folder"),
        ("9.png,1", "there is no picture"),
        ("0.png,", "row 1 of .* lacks file_name or label"),
        ("0.png,d", "the label 'd' in .* is none of the classes a, b, c"),
    ):
        table.write_text(f"file_name,label\n{row}\n")
        with pytest.raises(DataError, match=says):
            open_images(tmp_path, tiny)


@pytest.mark.parametrize(
    ("about", "says"),
    [
        ({"view": {"hologram": True}}, "view names 'hologram'"),
        ({"view": ["tiles"]}, "cannot be"),
        ({"view": {"tiles": "two"}}, "cannot be"),
        ({"step_size": "small"}, "cannot be"),
        ({"step_size": [0.1], "step_images": [[6]]}, "cannot be"),
        ({"step_size": [0.1, 0.2], "step_images": [[0]]}, "zip"),
        ({"step_images": [[0]]}, "zip"),
    ],
)
def test_a_use_that_cannot_be_is_refused(tmp_path, about, says):
    path = export(a_set(), tmp_path / "few.npz")
    with np.load(path) as file:
        held = dict(file)
    held["about"] = np.array(json.dumps(about))
    np.savez(path, **held)
    with pytest.raises(DataError, match=f"few.npz says something of its view or steps that .*{says}"):
        open_images(path)


def test_opened_images_keep_what_a_record_can_hold(tmp_path):
    made = a_set()
    back = open_images(export(made, tmp_path / "few.npz"))
    assert replace(back, name="x").summary().startswith("x: 6 images")
    assert back.settings == {"file": "few.npz", "values": "normalised"}
