"""Seeded fuzzers of the readers of other people's distilled sets, weights and trajectories."""

import csv
import io
import json
import random
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from tests.data.fuzzing import changed, damaged
from workbench.condensation import Trajectories, TrajectoryError, export, open_images
from workbench.data import DataError
from workbench.models import CheckpointError, build, load_checkpoint
from workbench.records import DistilledSet

pytestmark = pytest.mark.filterwarnings("ignore")  # Pillow and torch warn of what is then refused, or read

CASES = 500


def outcomes(read, cases, error=DataError):
    """How many cases were read and how many refused; anything but the loader's own error goes through."""
    count = {"read": 0, "refused": 0}
    for case in cases:
        try:
            found = read(case)
            count["read"] += 1
            if isinstance(found, DistilledSet):
                assert found.summary()
                assert len(found.to_frame()) == len(found)
        except error:
            count["refused"] += 1
    assert sum(count.values()) >= CASES
    assert count["refused"] > CASES // 10, count


def distilled(*, soft=False):
    generator = torch.Generator().manual_seed(0)
    labels = torch.tensor([0, 0, 1, 2])
    return DistilledSet(
        method="DM",
        images=torch.randn(4, 1, 4, 4, generator=generator),
        labels=torch.eye(3)[labels] if soft else labels,
        classes=("a", "b", "c"),
        mean=torch.full((1, 1, 1), 0.5),
        std=torch.full((1, 1, 1), 0.2),
        step_size=torch.tensor([0.1, 0.2]),
        step_images=torch.tensor([[True, True, False, False], [False, False, True, True]]),
    )


def test_npz(tmp_path):
    whole = export(distilled(), tmp_path / "whole.npz").read_bytes()
    plain = io.BytesIO()
    np.savez(plain, images=np.random.default_rng(0).random((4, 1, 4, 4)), labels=np.array([0, 0, 1, 2]))
    rng = random.Random(0)

    def read(case):
        (tmp_path / "x.npz").write_bytes(case)
        return open_images(tmp_path / "x.npz", values="unit" if case[:60] == plain.getvalue()[:60] else None)

    outcomes(read, [damaged(rng.choice((whole, plain.getvalue())), rng) for _ in range(CASES)])


def test_arrays_inside_an_npz(tmp_path):
    """The archive is right; what is in it is not."""
    held = {"images": np.random.default_rng(0).random((4, 1, 4, 4)), "labels": np.array([0, 0, 1, 2])}
    held |= {"classes": np.array(["a", "b", "c"]), "mean": np.array([0.5]), "std": np.array([0.2])}
    arrays = {}
    for name, array in held.items():
        content = io.BytesIO()
        np.save(content, array)
        arrays[name] = content.getvalue()
    rng = random.Random(1)

    def read(case):
        with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
            for name, content in case.items():
                archive.writestr(f"{name}.npy", content)
        return open_images(tmp_path / "x.npz")

    cases = []
    for _ in range(CASES):
        name = rng.choice(list(arrays))
        content = bytearray(arrays[name])
        for _ in range(rng.randint(1, 3)):
            content[rng.randrange(100)] = rng.choice(b"0123456789<>|=fiuOVUSb'(),{}: []\0\x80\xff")
        cases.append(arrays | {name: bytes(content)})
    outcomes(read, cases)


@pytest.mark.parametrize("old", [False, True])
def test_torch_files(tmp_path, old):
    content = io.BytesIO()
    numbers = {"accs_all_exps": {"ConvNet": [np.float64(0.5)]}}
    kept = {"data": [[torch.rand(4, 1, 4, 4), torch.tensor([0, 0, 1, 2])]], **numbers}
    torch.save(kept, content, _use_new_zipfile_serialization=not old)
    whole = content.getvalue()
    rng = random.Random(2)
    cases = [damaged(whole, rng) for _ in range(CASES)]
    start = whole.index(b"data")  # of the description of the tensors, where instructions are exchanged
    for _ in range(CASES):
        exchanged = bytearray(whole)
        for _ in range(rng.randint(1, 3)):
            exchanged[start + rng.randrange(500)] = rng.choice(b"()tRb.cqhKNMX]}aesuQ012\x85\x86\x87\x88\x8a\xff\0\x04")
        cases.append(bytes(exchanged))

    def read(case):
        (tmp_path / "x.pt").write_bytes(case)
        return open_images(tmp_path / "x.pt", values="unit")

    outcomes(read, cases)


def test_checkpoints(tmp_path):
    model = build("mlp", ((1, 2, 2), 3), width=4, depth=1)
    saved = {}
    for suffix in (".pt", ".th"):
        content = io.BytesIO()
        torch.save(model.state_dict(), content, _use_new_zipfile_serialization=suffix == ".pt")
        saved[suffix] = content.getvalue()
    save_file(model.state_dict(), tmp_path / "x.safetensors")
    saved[".safetensors"] = (tmp_path / "x.safetensors").read_bytes()
    rng = random.Random(3)

    def read(case):
        suffix, content = case
        (tmp_path / f"x{suffix}").write_bytes(content)
        load_checkpoint(model, tmp_path / f"x{suffix}")

    suffixes = [rng.choice(list(saved)) for _ in range(3 * CASES)]
    outcomes(read, [(suffix, damaged(saved[suffix], rng)) for suffix in suffixes], CheckpointError)


def folder_of(tmp_path, form, *, soft):
    folder = export(distilled(soft=soft), tmp_path / f"{form}{soft}", form=form)
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_pictures_with_words_beside_them(tmp_path, kind):
    made = [folder_of(tmp_path, form, soft=soft) for form in ("folder", "huggingface") for soft in (False, True)]
    rng = random.Random(4)

    def read(case):
        if kind == "zip":
            with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
                for name, content in case.items():
                    archive.writestr(name, content)
            return open_images(tmp_path / "x.zip")
        for name, content in case.items():
            path = tmp_path / "x" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        try:
            return open_images(tmp_path / "x")
        finally:
            for name in case:
                (tmp_path / "x" / name).unlink()

    def one():
        case = dict(rng.choice(made))
        name = rng.choice([name for name in case if name.endswith((".json", ".jsonl"))])
        if rng.random() < 0.3:
            return case | {name: damaged(case[name], rng)}
        if name.endswith(".json"):
            return case | {name: json.dumps(changed(json.loads(case[name]), rng)).encode()}
        rows = changed([json.loads(line) for line in case[name].decode().splitlines()], rng)
        rows = rows if isinstance(rows, list) else [rows]
        if rng.random() < 0.5:
            return case | {name: "\n".join(map(json.dumps, rows)).encode()}
        table = io.StringIO()
        rows = [row for row in rows if isinstance(row, dict)] or [{}]
        writer = csv.DictWriter(table, rng.sample(list(rows[0]), len(rows[0])), extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
        del case[name]
        text = table.getvalue().encode("utf-8", "surrogatepass")
        return case | {name.replace("jsonl", "csv"): damaged(text, rng) if rng.random() < 0.5 else text}

    outcomes(read, [one() for _ in range(CASES)])


def test_trajectories(tmp_path):
    made = Trajectories(torch.randn(2, 3, 4), {"a": (2,), "b": (2, 1)}, accuracy=torch.rand(2, 2), settings={"x": 1})
    whole = made.save(tmp_path / "whole").read_bytes()
    length = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + length])
    short = json.dumps(header).encode()
    rng = random.Random(5)
    small = len(short).to_bytes(8, "little") + short + whole[8 + length :]
    cases = [damaged(small, rng) for _ in range(CASES)]
    for _ in range(CASES):
        mine = json.loads(json.dumps(header))
        about = changed(json.loads(mine["__metadata__"]["workbench-trajectories"]), rng)
        if rng.random() < 0.3:
            mine = changed(mine, rng)
        elif rng.random() < 0.9:
            mine["__metadata__"]["workbench-trajectories"] = json.dumps(about)
        text = json.dumps(mine).encode()
        cases.append(len(text).to_bytes(8, "little") + text + whole[8 + length :])

    def read(case):
        (tmp_path / "x").write_bytes(case)
        found = Trajectories.open(tmp_path / "x")
        assert repr(found)
        assert found.at(len(found) - 1, found.epochs).shape == (found.size,)
        if found.accuracy is not None:
            assert found.accuracy.shape == (len(found), found.epochs)

    outcomes(read, cases, TrajectoryError)


def test_a_small_npz_does_not_unpack_to_gigabytes(tmp_path):
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (100000000,), }\n"
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("images.npy", "w") as file:
            file.write(b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header)
            for _ in range(400):
                file.write(bytes(1_000_000))
        archive.writestr("labels.npy", b"")
    assert (tmp_path / "x.npz").stat().st_size < 500_000
    with pytest.raises(DataError, match=r"x\.npz unpacks to 381 MiB, more than the 256 MiB"):
        open_images(tmp_path / "x.npz")


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("kind", ["<f4", ">f4", "<f8", "<f2", ">i2", "|u1"])
def test_arrays_of_every_order_are_read_as_they_are(tmp_path, order, kind):
    images = np.asfortranarray if order == "F" else np.ascontiguousarray
    pixels = images((np.random.default_rng(0).random((4, 3, 5, 6)) * 200).astype(kind))
    np.savez(tmp_path / "x.npz", images=pixels, labels=np.array([0, 1, 0, 1], dtype=">i4"))
    np.save(tmp_path / "images.npy", pixels)
    np.save(tmp_path / "labels.npy", np.array([0, 1, 0, 1]))
    for name in ("x.npz", "images.npy"):
        found = open_images(tmp_path / name, values="bytes")
        np.testing.assert_allclose(found.images.numpy() * 255, pixels[[0, 2, 1, 3]], rtol=1e-5)


def test_a_tensor_that_repeats_its_numbers_is_refused(tmp_path):
    """A file of a kilobyte whose images would fill all memory."""
    torch.save((torch.zeros(1).expand(10**7, 3, 64, 64), torch.zeros(1).expand(10**7)), tmp_path / "x.pt")
    assert (tmp_path / "x.pt").stat().st_size < 2000
    with pytest.raises(DataError, match=r"x\.pt holds a tensor that repeats its numbers"):
        open_images(tmp_path / "x.pt", values="unit")


def test_a_packed_torch_file_is_refused(tmp_path):
    content = io.BytesIO()
    torch.save((torch.zeros(1000, 1, 32, 32), torch.zeros(1000)), content)
    with zipfile.ZipFile(content) as whole, zipfile.ZipFile(tmp_path / "x.pt", "w", zipfile.ZIP_DEFLATED) as packed:
        for entry in whole.infolist():
            packed.writestr(entry.filename, whole.read(entry))
    with pytest.raises(DataError, match=r"'archive/.*' is packed, which torch\.save never does"):
        open_images(tmp_path / "x.pt", values="unit")


def test_a_numpy_kind_in_a_torch_file_is_not_given_its_state(tmp_path):
    """A field beyond the item's end, once more: torch hands the state to what stands for numpy's dtype."""

    def kind(code, state):
        return b"cnumpy\ndtype\n(X\2\0\0\0" + code + b"K\0K\1tR" + state + b"b"

    plain = kind(b"f8", b"(K\3X\1\0\0\0<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0t")
    far = b"(K\3X\1\0\0\0|N(X\1\0\0\0at}X\1\0\0\0a(" + plain + b"J\0\xca\x9a;tsK\x08K\1K\0t"
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        pickled = b"\x80\2" + kind(b"V8", far) + b"."
        for name, held in (("data.pkl", pickled), ("version", b"3\n"), ("byteorder", b"little")):
            archive.writestr(f"archive/{name}", held)
    with pytest.raises(DataError, match=r"x\.pt holds more than tensors"):
        open_images(tmp_path / "x.pt", values="unit")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (['{"file_name": "0.png", "label": "a"}'] * 2, "row 2 of .* names '0.png' again"),
        (['{"file_name": "../0.png", "label": "a"}'], "row 1 of .* outside the folder"),
        (['{"file_name": "0.png\\u0000", "label": "a"}'], "row 1 of .* outside the folder"),
        (['{"file_name": 3, "label": "a"}'], "row 1 of .* a int as name"),
        (['{"file_name": "0.png", "label": {"a": 1}}'], "row 1 of .* a dict with 'a' as label"),
        (['{"file_name": "0.png", "label": 0, "soft_label": [[1]]}'], "row 1 of .* soft_label that is no list"),
        (["[" * 100_000], "line 1 of .* is no valid JSON"),
        (['{"label": ' + "9" * 5000 + "}"], "line 1 of .* is no valid JSON"),
        (["[1]"], "line 1 of .* holds a list of 1 where a JSON object is needed"),
        (['{"file_name": "' + "x" * 2**21], "line 1 of .* has 2,097,167 letters"),
    ],
)
def test_odd_metadata_is_refused_by_row(tmp_path, rows, message):
    Image.new("L", (4, 4)).save(tmp_path / "0.png")
    (tmp_path / "metadata.jsonl").write_text("\n".join(rows))
    with pytest.raises(DataError, match=message):
        open_images(tmp_path)
