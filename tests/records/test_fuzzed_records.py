"""Seeded fuzzers of saved records: what opens can be shown, and what cannot is refused as a `RecordError`.

Each record type begins as a right one of small size. Bytes are flipped, JSON is changed in its structure, tensors get
other shapes and kinds of numbers.
"""

import json
import random

import pytest
import torch
from safetensors.torch import load_file

from tests.data.fuzzing import changed, damaged
from tests.records.every_record import every_record
from workbench import records
from workbench.records.base import decoded

pytestmark = pytest.mark.filterwarnings("ignore")  # of means of nothing and the like, in records that say so

CASES = 500
EVERY = every_record()
KINDS = (
    torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.uint8, torch.int8, torch.int16, torch.int32,
    torch.int64, torch.bool, torch.complex64, torch.float8_e4m3fn, torch.uint16,
)  # fmt: skip


def test_there_is_one_of_every_type():
    assert {type(record).__name__ for record in EVERY} == set(records.Record.types) - {"Provenance"}


@pytest.mark.parametrize("record", EVERY, ids=lambda record: type(record).__name__)
def test_only_a_record_that_can_be_shown_opens(tmp_path, record):
    path = record.save(tmp_path / "whole")
    shown(records.open(path))
    path = tmp_path / "damaged"
    path.touch()
    whole = (tmp_path / "whole").read_bytes()
    length = int.from_bytes(whole[:8], "little")
    body = json.loads(json.loads(whole[8 : 8 + length])["__metadata__"]["workbench"])
    tensors = load_file(tmp_path / "whole")
    rng = random.Random(type(record).__name__)
    count = {"opened": 0, "refused": 0}
    for k in range(CASES):
        try:
            if k % 5 == 0:
                path.write_bytes(damaged(whole, rng))
                found = records.open(path)
            elif k % 5 < 3 or not tensors:
                mine = {"schema": 1, "record": changed(body["record"], rng)}
                found = decoded(json.dumps(mine), tensors, str(path))
            else:
                name = rng.choice(list(tensors))
                found = decoded(json.dumps(body), tensors | {name: reshaped(tensors[name], rng)}, str(path))
        except records.RecordError as error:
            assert str(path) in str(error)  # noqa: PT017 - both outcomes are right
            assert "\n" not in str(error)  # noqa: PT017
            count["refused"] += 1
            continue
        shown(found)
        count["opened"] += 1
    assert count["refused"] > CASES // 10, count
    assert count["opened"] > CASES // 50, count


def shown(record):
    assert isinstance(record.summary(), str)
    try:
        assert len(record.to_frame()) >= 0
    except TypeError as error:
        assert "has no tabular form" in str(error)  # noqa: PT017 - some records have none


def reshaped(tensor, rng):
    what = rng.randrange(6)
    if what == 0:
        return tensor.to(rng.choice(KINDS))
    if what == 1:
        return tensor[:0] if tensor.ndim else tensor[None]
    if what == 2:
        return torch.cat([tensor, tensor[:1]]) if tensor.ndim and tensor.dtype.itemsize > 1 else tensor[None].clone()
    if what == 3:
        return tensor.reshape(-1)
    if what == 4:
        return tensor.transpose(0, -1).contiguous() if tensor.ndim else tensor.reshape(1, 1)
    filled = tensor.clone()
    if filled.numel():
        filled.view(-1)[rng.randrange(filled.numel())] = rng.choice((-1, 0, 100))
    return filled
