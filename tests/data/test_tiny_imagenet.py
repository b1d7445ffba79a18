"""Tiny ImageNet's own layout, on a few made pictures."""

import zipfile

import numpy as np
import pytest
from PIL import Image

from workbench.data import DataError, load

IDS = ("n01443537", "n01629819", "n02124075")


@pytest.fixture
def root(tmp_path):
    """Three classes of two pictures, and four pictures to validate on."""
    top = tmp_path / "tiny-imagenet-200"
    for c, one in enumerate(IDS):
        (top / "train" / one / "images").mkdir(parents=True)
        for i in range(2):
            picture(c * 40 + i).save(top / "train" / one / "images" / f"{one}_{i}.JPEG")
        (top / "train" / one / f"{one}_boxes.txt").write_text(f"{one}_0.JPEG\t0\t0\t62\t62\n")
    (top / "val" / "images").mkdir(parents=True)
    (top / "test" / "images").mkdir(parents=True)
    picture(7).save(top / "test" / "images" / "test_0.JPEG")
    lines = []
    for i, one in enumerate((2, 0, 1, 2)):
        picture(200 + i).save(top / "val" / "images" / f"val_{i}.JPEG")
        lines.append(f"val_{i}.JPEG\t{IDS[one]}\t0\t32\t44\t62\n")
    (top / "val" / "val_annotations.txt").write_text("".join(lines))
    (top / "wnids.txt").write_text("\n".join(IDS[::-1]))
    words = ("goldfish, Carassius auratus", "crane", "crane")
    (top / "words.txt").write_text("".join(f"{one}\t{said}\n" for one, said in zip(IDS, words, strict=True)))
    return top


def picture(value, side=64):
    return Image.fromarray(np.full((side, side, 3), value, np.uint8))


def test_folder_zip_and_the_folder_above_give_the_same(root):
    data = load("tiny-imagenet", root)
    assert repr(data) == "Dataset('tiny-imagenet', 6 train + 4 test × 3×64×64, 3 classes, cpu)"
    assert data.classes == ("goldfish", IDS[1], IDS[2])  # two are called crane: their ids tell them apart
    assert data.train.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert data.test.labels.tolist() == [2, 0, 1, 2]
    assert data.test.images()[:, 0, 0, 0].tolist() == [200, 201, 202, 203]
    packed = root.parent / "tiny-imagenet-200.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for file in sorted(root.rglob("*")):
            archive.write(file, file.relative_to(root.parent).as_posix())
    for place in (root.parent, packed):
        other = load("tiny-imagenet", place)
        assert np.array_equal(other.train.images(), data.train.images())
        assert other.test.labels.tolist() == data.test.labels.tolist()
    root.rename(root.parent / "elsewhere")
    assert len(load("tiny-imagenet", root.parent).train) == 6  # from the zip beside it


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("val_0.JPEG\tn09999999\t0\t0\t1\t1\n", "row 5 of .*val_annotations.txt names no class of train/: 'n09999999'"),
        ("../../train/x.JPEG\tn01443537\n", "row 5 .* names no picture of val/images"),
        ("/etc/passwd\tn01443537\n", "row 5 .* names no picture of val/images"),
        ("val_9.JPEG\tn01443537\n", "row 5 .* names no picture of val/images: 'val_9.JPEG'"),
        ("val_1.JPEG\tn01443537\n", "row 5 .* names 'val_1.JPEG' again"),
        ("val_1.JPEG", "row 5 .* names no class of train/: ''"),
        ("\0\t\0\n", "row 5 .* names no class"),
    ],
)
def test_wrong_annotations_are_named_with_their_row(root, line, message):
    with (root / "val" / "val_annotations.txt").open("a") as file:
        file.write(line)
    with pytest.raises(DataError, match=message):
        load("tiny-imagenet", root)


def test_what_is_missing_or_of_another_size_is_named(root):
    with pytest.raises(DataError, match=r"holds neither train/, tiny-imagenet-200/ nor tiny-imagenet-200\.zip"):
        load("tiny-imagenet", root / "train" / IDS[0])
    picture(3, side=63).save(root / "val" / "images" / "val_2.JPEG")
    with pytest.raises(DataError, match=r"val_2\.JPEG is 63×63 pixels instead of 64×64"):
        load("tiny-imagenet", root)
    (root / "val" / "val_annotations.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"val_annotations\.txt is no text in UTF-8"):
        load("tiny-imagenet", root)
    (root / "val" / "val_annotations.txt").unlink()
    with pytest.raises(DataError, match=r"lacks val/val_annotations\.txt"):
        load("tiny-imagenet", root)
