"""Seeded fuzzers of the readers of data sets: whatever a file holds, only `DataError` comes out of them."""

import gzip
import io
import pickle
import random
import struct
import zipfile

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.data.fuzzing import VALUES, damaged
from workbench.data import DataError, image_folder, table
from workbench.data.cifar import LAYOUTS, _batch
from workbench.data.idx import read_idx

pytestmark = pytest.mark.filterwarnings("ignore")  # Pillow and pandas warn of what is then refused, or read

CASES = 500


def outcomes(read, cases):
    """How many cases were read and how many refused; anything but a `DataError` goes through."""
    count = {"read": 0, "refused": 0}
    for case in cases:
        try:
            read(case)
            count["read"] += 1
        except DataError:
            count["refused"] += 1
    assert sum(count.values()) >= CASES
    assert count["refused"] > CASES // 10, count
    return count


def test_cifar_batches():
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3072), dtype=np.uint8)
    batch = {b"labels": [3, 9], b"data": pixels, b"filenames": [b"a", b"b"], b"batch_label": "x"}
    whole = [pickle.dumps(batch, protocol=protocol) for protocol in range(6)]
    rng = random.Random(0)
    cases = [damaged(rng.choice(whole), rng) for _ in range(2 * CASES)]
    # Damage to what is neither pixels nor text: instructions are put where instructions are.
    for _ in range(CASES):
        content = bytearray(whole[2])
        for _ in range(rng.randint(1, 3)):
            content[rng.randrange(250)] = rng.choice(b"()tRb.cqhKNMUCB]}aesul0123\x85\x86\x87\x88\x93\x94\x95")
        cases.append(bytes(content))
    outcomes(lambda case: _batch("x", case, LAYOUTS["cifar10"]), cases)


def test_idx(tmp_path):
    whole = struct.pack(">HBB3I", 0, 8, 3, 4, 5, 6) + bytes(range(120))
    rng = random.Random(1)

    def read(case):
        path = tmp_path / ("x.gz" if case[:1] == b"\x1f" or rng.random() < 0.1 else "x")
        path.write_bytes(case)
        read_idx(path)

    cases = [damaged(rng.choice((whole, gzip.compress(whole))), rng) for _ in range(CASES)]
    outcomes(read, cases)


@pytest.fixture(scope="module")
def pictures():
    """A few pictures of different kinds, as bytes by suffix."""
    pixels = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    grey = pixels[..., 0].astype(np.uint16) * 257
    made = {}
    for suffix, image, options in (
        (".png", Image.fromarray(pixels), {}),
        (".tif", Image.fromarray(pixels), {"compression": "tiff_lzw"}),
        (".jpg", Image.fromarray(pixels), {}),
        (".gif", Image.fromarray(pixels).quantize(16), {}),
        (".bmp", Image.fromarray(pixels), {}),
        (".pgm", Image.fromarray(grey), {}),
        (".tiff", Image.fromarray(grey), {}),
    ):
        content = io.BytesIO()
        kind = {".jpg": "JPEG", ".tif": "TIFF", ".tiff": "TIFF", ".pgm": "PPM"}.get(suffix, suffix[1:].upper())
        image.save(content, kind, **options)
        made[suffix] = content.getvalue()
    return made


def test_pictures_in_folders(tmp_path, pictures):
    rng = random.Random(2)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for i in range(2):
            (tmp_path / name / f"{i}.png").write_bytes(pictures[".png"])
    suffixes = list(pictures)

    def read(case):
        path = tmp_path / "b" / f"x{case[0]}"
        path.write_bytes(case[1])
        try:
            image_folder(tmp_path, size=4)
        finally:
            path.unlink()

    chosen = [rng.choice(suffixes) for _ in range(CASES)]
    outcomes(read, [(suffix, damaged(pictures[suffix], rng)) for suffix in chosen])


def test_pictures_in_a_zip(tmp_path, pictures):
    rng = random.Random(3)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for i, suffix in enumerate([".png", ".jpg", ".gif", ".bmp"]):
            archive.writestr(f"{'ab'[i % 2]}/{i}{suffix}", pictures[suffix])
            archive.writestr(f"{'ab'[i % 2]}/{i + 4}{suffix}", pictures[suffix])

    def read(case):
        (tmp_path / "x.zip").write_bytes(case)
        image_folder(tmp_path / "x.zip", size=4)

    outcomes(read, [damaged(packed.getvalue(), rng) for _ in range(CASES)])


def test_tables():
    rng = random.Random(4)

    def frame():
        rows = rng.choice((0, 1, 2, 8, 8, 8))
        names = rng.choices(["a", "b", "c", "y", 0, None, "", "é" * 30], k=rng.randint(0, 4))
        columns = []
        for _ in names:
            kind = rng.randrange(6)
            if kind == 0:
                columns.append([rng.choice(VALUES) for _ in range(rows)])
            elif kind == 1:
                columns.append([rng.random() for _ in range(rows)])
            elif kind == 2:
                columns.append([rng.choice("xyz") for _ in range(rows)])
            elif kind == 3:
                columns.append([rng.choice((0, 1)) for _ in range(rows)])
            elif kind == 4:
                columns.append(pd.Series([rng.choice((0, 1, None)) for _ in range(rows)], dtype="Int64"))
            else:
                columns.append(pd.to_datetime([rng.randrange(10**9) for _ in range(rows)], unit="s"))
        made = pd.concat([pd.Series(column) for column in columns], axis=1) if columns else pd.DataFrame()
        made.columns = names
        return made

    cases = [(frame(), rng.choice(["y", "a", 0, None])) for _ in range(CASES)]
    outcomes(lambda case: table(case[0], case[1], test_fraction=0.5), cases)


def test_tables_as_text():
    whole = "size,hue,ripe\n" + "".join(f"{i / 2},{'rgb'[i % 3]},{'ny'[i % 2]}\n" for i in range(12))
    rng = random.Random(5)
    cases = []
    while len(cases) < CASES:
        try:
            cases.append(pd.read_csv(io.BytesIO(damaged(whole.encode(), rng))))
        except (ValueError, pd.errors.ParserError):  # pandas' own refusals
            continue
    outcomes(lambda case: table(case, "ripe"), cases)
