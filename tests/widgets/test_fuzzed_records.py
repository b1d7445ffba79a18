"""What opens from a stranger's file can be explored: seeded damage to records, each then shown by its explorer."""

import json
import random

import pytest
from safetensors.torch import load_file

import widgets
from tests.data.fuzzing import changed
from tests.records.every_record import every_record
from tests.records.test_fuzzed_records import reshaped
from workbench import records
from workbench.records.base import decoded

pytestmark = pytest.mark.filterwarnings("ignore")  # of means of nothing and the like, in records that say so

CASES = 500
ALONE = (
    records.SimilarityMap, records.TrainingRecord, records.DistilledSet, records.TargetTrajectories,
    records.PosteriorPath,
)  # fmt: skip
BESIDE = {records.DistilledLooks: "looks", records.DistilledEvaluation: "evaluation"}
EVERY = every_record()
SET = next(record for record in EVERY if isinstance(record, records.DistilledSet))


def explored(record):
    if isinstance(record, ALONE):
        return widgets.explore(record)
    return widgets.explore(SET, **{BESIDE[type(record)]: record})


@pytest.mark.parametrize(
    "record", [r for r in EVERY if isinstance(r, (*ALONE, *BESIDE))], ids=lambda record: type(record).__name__
)
def test_what_opens_is_explored_or_refused_in_words(tmp_path, record):
    """An explorer may refuse what no record can know (a schedule that there is not), as a ValueError."""
    path = record.save(tmp_path / "whole")
    whole = path.read_bytes()
    length = int.from_bytes(whole[:8], "little")
    body = json.loads(json.loads(whole[8 : 8 + length])["__metadata__"]["workbench"])
    tensors = load_file(path)
    rng = random.Random(type(record).__name__)
    assert explored(records.open(path)).summary()
    count = {"shown": 0, "opened": 0}
    for k in range(CASES):
        name = rng.choice(list(tensors))
        mine = {"schema": 1, "record": changed(body["record"], rng)} if k % 2 else body
        others = tensors if k % 2 else tensors | {name: reshaped(tensors[name], rng)}
        try:
            found = decoded(json.dumps(mine), others, "x")
        except records.RecordError:
            continue
        if type(found) is not type(record):
            continue
        count["opened"] += 1
        try:
            shown = explored(found)
            assert isinstance(shown.summary(), str)
            assert all(step.text for step in shown.explain())
            count["shown"] += 1
        except ValueError as error:
            assert str(error)  # noqa: PT017 - both outcomes are right
    assert count["shown"] > CASES // 20, count
    assert count["shown"] > 0.8 * count["opened"], count
