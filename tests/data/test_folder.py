"""Your own images, from a folder or a zip."""

import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from workbench.data import DataError, image_folder, load


def write(path, value=100, size=(6, 5), mode="RGB", **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (*size, 3) if mode == "RGB" else size
    pixels = np.random.default_rng(value).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(pixels).save(path, **options)
    return pixels


@pytest.fixture
def root(tmp_path):
    """Two classes of six pictures."""
    for i in range(12):
        write(tmp_path / "pets" / ("cat", "dog")[i % 2] / f"{i:02}.png", i)
    return tmp_path / "pets"


def zipped(root, inside=""):
    path = root.parent / "packed.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(root.rglob("*")):
            archive.write(file, inside + file.relative_to(root).as_posix())
    return path


def test_a_folder_per_class_is_split_by_seed(root):
    data = image_folder(root, test_fraction=0.5, seed=1)
    assert repr(data) == "Dataset('pets', 6 train + 6 test × 3×6×5, 2 classes, cpu)"
    assert data.classes == ("cat", "dog")
    assert data.train.counts.tolist() == [3, 3]
    assert data.train.index.tolist() != image_folder(root, test_fraction=0.5, seed=2).train.index.tolist()


def test_pixels_and_labels_belong_to_the_sorted_paths(root):
    data = image_folder(root)
    files = sorted(root.rglob("*.png"))
    for split in (data.train, data.test):
        for image, label, index in zip(
            split.images().numpy(), split.labels.tolist(), split.index.tolist(), strict=True
        ):
            assert np.array_equal(image.transpose(1, 2, 0), np.asarray(Image.open(files[index])))
            assert data.classes[label] == files[index].parent.name


@pytest.mark.parametrize("inside", ["", "pets/", "a/b/"])
def test_a_zip_gives_the_same_as_its_folder(root, inside):
    packed, plain = image_folder(zipped(root, inside), seed=3), load(root, seed=3)
    assert np.array_equal(packed.train.inputs, plain.train.inputs)
    assert packed.train.labels.tolist() == plain.train.labels.tolist()
    assert packed.name == "packed"


@pytest.mark.parametrize("test_name", ["test", "val", "validation"])
def test_splits_given_by_folders_are_kept(tmp_path, test_name):
    for i in range(6):
        write(tmp_path / "train" / "ab"[i % 2] / f"{i}.png", i)
    for i in range(4):
        write(tmp_path / test_name / "ab"[i % 2] / f"{i}.png", i)
    data = image_folder(tmp_path)
    assert (len(data.train), len(data.test)) == (6, 4)
    assert data.test.index.tolist() == list(range(4))


def test_grey_is_kept_and_can_be_asked_for(tmp_path, root):
    for i in range(4):
        write(tmp_path / "grey" / "ab"[i % 2] / f"{i}.png", i, mode="L")
    assert image_folder(tmp_path / "grey").shape == (1, 6, 5)
    assert image_folder(tmp_path / "grey", colour="rgb").shape == (3, 6, 5)
    assert image_folder(root, colour="grey").shape == (1, 6, 5)
    with pytest.raises(DataError, match="colour='blue'"):
        image_folder(root, colour="blue")


def test_one_coloured_picture_makes_all_rgb(tmp_path):
    for i in range(4):
        write(tmp_path / "ab"[i % 2] / f"{i}.png", i, mode="RGB" if i == 3 else "L")
    assert image_folder(tmp_path).shape == (3, 6, 5)


@pytest.mark.parametrize(("size", "shape"), [(4, (3, 4, 4)), ((3, 7), (3, 3, 7))])
def test_resizing(root, size, shape):
    write(root / "cat" / "wide.jpg", 50, size=(8, 30))
    with pytest.raises(DataError, match=r"wide\.jpg is 8×30 pixels, .*cat.00\.png is 6×5: pass size="):
        image_folder(root)
    assert image_folder(root, size=size).shape == shape


@pytest.mark.parametrize("size", [0, (3,), (3, 0)])
def test_a_size_that_is_none_is_refused(root, size):
    with pytest.raises(DataError, match="must be a side in pixels"):
        image_folder(root, size=size)


def test_other_pixel_formats_become_eight_bit(tmp_path):
    deep = np.full((4, 4), 65535, dtype=np.uint16)
    for name in "ab":
        (tmp_path / name).mkdir()
        for i in range(2):
            Image.fromarray(deep // (i + 1)).save(tmp_path / name / f"{i}.png")
    images = image_folder(tmp_path, test_fraction=0.5).train.images()
    assert set(images.unique().tolist()) <= {127, 255}
    clear = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    for name in "ab":
        for i in range(2):
            clear.save(tmp_path / name / f"{i}.png")
    write(tmp_path / "a" / "2.png", size=(4, 4))
    shown = np.concatenate([s.images() for s in (image_folder(tmp_path).train, image_folder(tmp_path).test)])
    assert (shown.reshape(5, -1).min(1) == 255).sum() == 4  # transparent is white


@pytest.mark.parametrize("content", [b"", b"no picture", None])
@pytest.mark.parametrize("pack", [False, True])
def test_a_corrupt_image_is_named(root, content, pack):
    bad = root / "dog" / "07.png"
    bad.write_bytes(bad.read_bytes()[:60] if content is None else content)
    with pytest.raises(DataError, match=r"dog.07\.png cannot be read as an image"):
        image_folder(zipped(root) if pack else root)


def test_every_truncation_of_a_jpeg_is_refused_or_read_whole(tmp_path):
    for i in range(4):
        write(tmp_path / "ab"[i % 2] / f"{i}.jpg", i, size=(16, 16))
    path = tmp_path / "a" / "0.jpg"
    whole = path.read_bytes()
    for cut in range(0, len(whole) - 2, 97):
        path.write_bytes(whole[:cut])
        with pytest.raises(DataError, match=r"0\.jpg cannot be read as an image"):
            image_folder(tmp_path)


def test_a_picture_bomb_is_refused(root, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(DataError, match="cannot be read as an image"):
        image_folder(root)


def test_what_is_no_image_is_passed_over(root):
    (root / "notes.txt").write_text("hello")
    (root / "cat" / ".DS_Store").write_text("x")
    (root / "__MACOSX" / "cat").mkdir(parents=True)
    (root / "__MACOSX" / "cat" / "._00.png").write_text("x")
    assert len(image_folder(root).train) == 9


def arrange(root, case):
    if case == "loose":
        write(root / "loose.png")
    elif case == "deep":
        write(root / "cat" / "young" / "1.png")
    elif case == "empty class":
        (root / "bird").mkdir()
    elif case == "one class":
        shutil.rmtree(root / "dog")
    elif case == "no images":
        shutil.rmtree(root)
        root.mkdir()
    elif case == "lonely":
        write(root / "bird" / "1.png")
    elif case == "strange test class":
        for part, names in (("train", "ab"), ("test", "ac")):
            for name in names:
                write(root / part / name / "1.png")
        shutil.rmtree(root / "cat")
        shutil.rmtree(root / "dog")
    elif case == "beside train":
        arrange(root, "strange test class")
        write(root / "x.png")


@pytest.mark.parametrize("pack", [False, True])
@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("loose", r"loose\.png lies beside the class folders, in no class"),
        ("deep", r"young.1\.png lies 2 folders deep"),
        ("empty class", "the class folder .*bird holds no images"),
        ("one class", "has one class, 'cat'"),
        ("no images", "there are no images in"),
        ("lonely", "class 'bird' has one example"),
        ("strange test class", "test.c is no class of the training images, which are a, b"),
        ("beside train", r"x\.png lies beside the folders train and test"),
    ],
)
def test_a_tree_that_is_unclear_is_refused_with_the_path(root, case, message, pack):
    arrange(root, case)
    with pytest.raises(DataError, match=message):
        image_folder(zipped(root) if pack else root)


def test_a_broken_zip_or_missing_path_is_named(root, tmp_path):
    path = zipped(root)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match=r"packed\.zip is not a complete zip"):
        image_folder(path)
    with pytest.raises(DataError, match="no folder or zip file at"):
        image_folder(tmp_path / "nowhere")


def test_a_damaged_entry_of_a_zip_is_named(root):
    path = zipped(root)
    content = bytearray(path.read_bytes())
    at = content.find(b"\x89PNG") + 40
    content[at] ^= 0xFF
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"cat/00\.png cannot be read as an image \(Bad CRC"):
        image_folder(path)


CIFAR = Path(os.environ.get("WORKBENCH_SAMPLE_DATA", Path(__file__).parents[3] / "shared" / "data")) / "cifar10-12k.zip"


@pytest.mark.skipif(not CIFAR.is_file(), reason="the sample of CIFAR-10 is not here (WORKBENCH_SAMPLE_DATA)")
def test_twelve_thousand_real_images():
    data = load(CIFAR)
    assert (len(data.train), len(data.test), data.shape) == (10_000, 2_000, (3, 32, 32))
    assert data.train.counts.tolist() == [1000] * 10
    assert data.classes[0] == "airplane"
