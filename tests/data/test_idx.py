"""MNIST-style files: read, and refused with the file and row."""

import gzip
import struct

import numpy as np
import pytest

from workbench.data import DataError, load
from workbench.data.idx import read_idx


def idx_bytes(array):
    codes = {"uint8": 8, "int32": 0x0C, "float32": 0x0D}
    head = bytes([0, 0, codes[str(array.dtype)], array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


def write_four(root, packed=True, joint="-", **changes):
    generator = np.random.default_rng(0)
    root.mkdir(parents=True, exist_ok=True)
    arrays = {}
    for stem, n in (("train", 30), ("t10k", 20)):
        arrays[f"{stem}-images{joint}idx3-ubyte"] = generator.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        arrays[f"{stem}-labels{joint}idx1-ubyte"] = (np.arange(n) % 10).astype(np.uint8)
    arrays |= changes
    for name, array in arrays.items():
        content = idx_bytes(array)
        (root / (name + ".gz" * packed)).write_bytes(gzip.compress(content) if packed else content)
    return arrays


@pytest.mark.parametrize(("packed", "joint", "below"), [(True, "-", "."), (False, "-", "MNIST/raw"), (False, ".", ".")])
def test_mnist_reads_its_files_however_they_are_kept(tmp_path, packed, joint, below):
    arrays = write_four(tmp_path / below, packed, joint)
    data = load("mnist", tmp_path)
    assert (len(data.train), len(data.test), data.shape) == (30, 20, (1, 28, 28))
    assert np.array_equal(data.test.images()[:, 0].numpy(), arrays[f"t10k-images{joint}idx3-ubyte"])
    assert data.train.labels.tolist() == arrays[f"train-labels{joint}idx1-ubyte"].tolist()


def test_fashion_mnist_has_its_class_names(tmp_path):
    write_four(tmp_path)
    assert load("fashion-mnist", tmp_path).classes[9] == "Ankle boot"


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float32"])
def test_idx_gives_back_what_was_written(tmp_path, dtype):
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    (tmp_path / "x").write_bytes(idx_bytes(array))
    read = read_idx(tmp_path / "x")
    assert read.dtype == array.dtype
    assert np.array_equal(read, array)


@pytest.mark.parametrize("cut", range(0, 40, 3))
def test_a_truncated_file_is_named_wherever_it_ends(tmp_path, cut):
    whole = idx_bytes(np.arange(24, dtype=np.uint8).reshape(2, 3, 4))
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(whole[: min(cut, len(whole) - 1)])
    with pytest.raises(DataError, match="train-images-idx3-ubyte"):
        read_idx(path)


def test_trailing_bytes_and_broken_gzip_are_refused(tmp_path):
    content = idx_bytes(np.zeros(4, np.uint8))
    (tmp_path / "long").write_bytes(content + b"\0")
    with pytest.raises(DataError, match="more than 4 bytes of data where its header announces 4"):
        read_idx(tmp_path / "long")
    (tmp_path / "cut.gz").write_bytes(gzip.compress(content)[:-6])
    with pytest.raises(DataError, match=r"cut\.gz is not a complete gzip file"):
        read_idx(tmp_path / "cut.gz")
    (tmp_path / "flip.gz").write_bytes(b"nonsense")
    with pytest.raises(DataError, match=r"flip\.gz"):
        read_idx(tmp_path / "flip.gz")


def test_a_mislabelled_image_is_named_with_file_and_row(tmp_path):
    labels = (np.arange(30) % 10).astype(np.uint8)
    labels[17] = 10
    write_four(tmp_path, **{"train-labels-idx1-ubyte": labels})
    with pytest.raises(DataError, match=r"train-labels-idx1-ubyte\.gz: row 17 has label 10"):
        load("mnist", tmp_path)


def test_files_that_do_not_belong_together_are_refused(tmp_path):
    write_four(tmp_path, **{"t10k-labels-idx1-ubyte": np.zeros(19, np.uint8)})
    with pytest.raises(DataError, match=r"20 images but .*t10k-labels.* 19 labels"):
        load("mnist", tmp_path)


def test_swapped_files_are_refused(tmp_path):
    write_four(tmp_path, **{"train-images-idx3-ubyte": np.zeros(30, np.uint8)})
    with pytest.raises(DataError, match=r"train-images.* not grey images"):
        load("mnist", tmp_path)


def test_a_missing_file_is_named_with_where_it_was_looked_for(tmp_path):
    write_four(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte or .*\.gz is missing; looked in"):
        load("mnist", tmp_path)
