"""A record comes back from its file as it went in; a damaged, foreign or newer file is refused with one sentence."""

import dataclasses
import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from workbench import records

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


def same(a, b) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return a == b or (math.isnan(a) and math.isnan(b))
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a.nan_to_num(), b.nan_to_num())
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if dataclasses.is_dataclass(a):
        return type(a) is type(b) and all(same(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a))
    return type(a) is type(b) and a == b


def study(**fields) -> records.StudyResult:
    return records.StudyResult(paper=1, title="does it hold?", **fields)


@given(settings=st.dictionaries(st.text(max_size=5), PLAIN, max_size=4))
def test_plain_values_survive(tmp_path_factory, settings):
    path = tmp_path_factory.mktemp("record") / "study.safetensors"
    record = study(settings=settings)
    record.save(path)
    assert same(records.open(path), record)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.int8, torch.int64, torch.bool])
def test_tensors_survive_with_their_dtype(tmp_path, dtype):
    tensors = {"a.b": torch.arange(6).to(dtype).reshape(2, 3).T, "empty": torch.zeros(0, 4, dtype=dtype)}
    record = records.TrainingRecord(curves={}, state=tensors | {"shared": tensors["a.b"], "again": tensors["a.b"]})
    record.save(tmp_path / "run.safetensors")
    assert same(records.open(tmp_path / "run.safetensors"), record)


def test_nested_records_and_claims_survive(tmp_path):
    claim = records.Claim(
        statement="a > b", left=1.0, relation=">", right=0.5, interval=(0.2, math.inf), seeds=5, asserted=True
    )
    similar = records.SimilarityMap(
        values=torch.tensor([[math.nan, 1.0]]), layers_a=("a",), layers_b=("b", "c"), measure="cka", n=3
    )
    record = study(claims=(claim,), records={"map": similar}, table=({"seed": 1, "accuracy": 0.5},))
    record.save(tmp_path / "study.safetensors")
    back = records.open(tmp_path / "study.safetensors")
    assert same(back, record)
    assert not back.claims[0].holds
    assert not back.claims[0].settled


def test_every_truncation_is_refused(tmp_path):
    path = study(records={"m": records.TrainingRecord(curves={}, state={"w": torch.ones(50)})}).save(tmp_path / "s.wb")
    whole = path.read_bytes()
    for size in [0, 1, 7, 8, 9, len(whole) // 2, len(whole) - 1]:
        path.write_bytes(whole[:size])
        with pytest.raises(records.RecordError) as caught:
            records.open(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_foreign_and_newer_files_are_refused(tmp_path):
    foreign = tmp_path / "weights.safetensors"
    save_file({"w": torch.ones(2)}, foreign)
    with pytest.raises(records.RecordError, match="not a workbench record"):
        records.open(foreign)
    save_file({}, foreign, metadata={"workbench": json.dumps({"schema": 99, "record": {}})})
    with pytest.raises(records.RecordError, match="newer workbench"):
        records.open(foreign)
    save_file({}, foreign, metadata={"workbench": json.dumps({"schema": 1, "record": {"$record": "os.system"}})})
    with pytest.raises(records.RecordError, match="unknown record type"):
        records.open(foreign)
    body = {"$record": "StudyResult", "fields": {"colour": "red"}}
    save_file({}, foreign, metadata={"workbench": json.dumps({"schema": 1, "record": body})})
    with pytest.raises(records.RecordError, match="colour"):
        records.open(foreign)
    (tmp_path / "pickle.pt").write_bytes(b"\x80\x04cos\nsystem\n")
    with pytest.raises(records.RecordError):
        records.open(tmp_path / "pickle.pt")
    with pytest.raises(FileNotFoundError):
        records.open(tmp_path / "nowhere")


def test_a_failed_save_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch):
    path = study().save(tmp_path / "s.wb")
    before = path.read_bytes()
    with pytest.raises(TypeError, match=r"settings\.bad"):
        study(settings={"bad": object()}).save(path)

    def full(*args, **kwargs):
        raise OSError("no space left on device")

    monkeypatch.setattr("workbench.records.base.save_file", full)
    with pytest.raises(OSError, match="no space"):
        study(notes="newer").save(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["s.wb"]


def test_similarity_map_checks_its_shape_and_finds_best_matches():
    with pytest.raises(ValueError, match=r"\(2, 2\); its layers and epochs ask for \(1, 2\)"):
        records.SimilarityMap(values=torch.eye(2), layers_a=("a",), layers_b=("b", "c"), measure="cka", n=3)
    nan = math.nan
    similar = records.SimilarityMap(
        values=torch.tensor([[[0.1, nan], [nan, nan]]]),
        layers_a=("a", "b"),
        layers_b=("c", "d"),
        measure="cka",
        n=3,
        epochs=(4,),
    )
    assert similar.best_match.tolist() == [[0, -1]]
    frame = similar.to_frame()
    assert list(frame.columns) == ["epoch", "layer_a", "layer_b", "value"]
    assert len(frame) == 4


def test_verdicts():
    def claim(asserted, left, wide=0.0):
        return records.Claim(
            statement="s",
            left=left,
            relation=">=",
            right=0.0,
            interval=(left - wide, left + wide),
            seeds=2,
            asserted=asserted,
        )

    assert [claim(True, 0).verdict, claim(True, -1).verdict, claim(True, 0.5, 1).verdict] == ["holds", "fails", "fails"]
    assert [claim(False, 2, 1).verdict, claim(False, -2, 1).verdict] == ["shows here", "does not show here"]
    assert [claim(False, 0.5, 1).verdict, claim(False, -0.5, 1).verdict] == ["too few seeds"] * 2
    assert not claim(True, 0.5, 1).holds  # the mean alone does not count
    assert study(claims=(claim(False, -1),)).passed
    assert not study(claims=(claim(True, -1),)).passed
    with pytest.raises(ValueError, match="relation"):
        records.Claim(statement="s", left=0, relation="≈", right=0, interval=(0, 0), seeds=1, asserted=False)


def test_a_notebook_shows_the_summary_and_no_tensors():
    shown = records.SimilarityMap(values=torch.eye(3), layers_a=tuple("abc"), layers_b=tuple("abc"), measure="cka", n=5)
    assert shown._repr_mimebundle_() == {"text/plain": shown.summary()}
    assert "tensor" not in shown.summary()
