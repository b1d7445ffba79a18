"""A trained source is made once, found again by recipe, data and code, and never mistaken for another."""

import threading

import pytest
import torch

import workbench as wb
from workbench import records
from workbench.training import sources


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path))


@pytest.fixture(scope="module")
def data():
    return wb.data.load("digits").subset(60)


def maker(calls, value=1.0):
    def make():
        calls.append(1)
        return records.SimilarityMap(
            values=torch.full((1, 1), value), layers_a=("a",), layers_b=("b",), measure="cka", n=3
        )

    return make


def test_it_is_made_once(data):
    calls = []
    first, again = (sources.source(maker(calls), what="map", recipe={"x": 1}, data=data) for _ in range(2))
    assert len(calls) == 1
    assert torch.equal(first.values, again.values)
    assert [one.what for one in sources.kept()] == ["map"]


def test_another_recipe_data_or_code_is_another_source(data, monkeypatch):
    calls = []
    sources.source(maker(calls), what="map", recipe={"x": 1}, data=data)
    sources.source(maker(calls), what="map", recipe={"x": 2}, data=data)
    sources.source(maker(calls), what="map", recipe={"x": 1}, data=data.subset(59))
    assert len(calls) == 3
    monkeypatch.setattr(sources.code, "fingerprint", lambda *_: "changed")
    sources.source(maker(calls), what="map", recipe={"x": 1}, data=data)
    assert len(calls) == 4


def test_a_damaged_file_is_made_again(data):
    calls = []
    sources.source(maker(calls), what="map", recipe={}, data=data)
    (kept,) = sources.kept()
    kept.path.write_bytes(b"not a record")
    assert sources.source(maker(calls), what="map", recipe={}, data=data).n == 3
    assert len(calls) == 2


def test_two_who_ask_at_once_wait_for_one(data):
    calls, entered, go = [], threading.Event(), threading.Event()

    def slow():
        entered.set()
        assert go.wait(30)
        return maker(calls)()

    found = []
    ask = {"what": "map", "recipe": {}, "data": data}
    first = threading.Thread(target=lambda: found.append(sources.source(slow, **ask)))
    first.start()
    assert entered.wait(30)
    second = threading.Thread(target=lambda: found.append(sources.source(slow, **ask)))
    second.start()
    go.set()
    first.join(30)
    second.join(30)
    assert (len(found), len(calls)) == (2, 1)


def test_what_is_interrupted_is_not_kept(data):
    def make():
        return wb.training.fit(wb.models.build("mlp", data, width=[4]), data, steps=1, progress=False).replace(
            interrupted=True
        )

    sources.source(make, what="teacher", recipe={}, data=data)
    assert sources.kept() == []


def test_a_recipe_that_no_key_can_tell_is_refused(data):
    with pytest.raises(TypeError, match=r"recipe.loss is a function"):
        sources.source(maker([]), what="map", recipe={"loss": lambda x: x}, data=data)


def test_the_oldest_go_when_there_are_too_many(data, monkeypatch):
    for number in range(3):
        sources.source(maker([]), what=f"map{number}", recipe={}, data=data)
    assert len(sources.kept()) == 3
    monkeypatch.setattr(sources, "MOST_BYTES", sources.kept()[0].size + 10)
    sources.source(maker([]), what="last", recipe={}, data=data)
    assert [one.what for one in sources.kept()] == ["last"]
    assert sources.clear() > 0
    assert sources.kept() == []


def test_a_fitted_teacher_predicts_as_the_one_that_was_trained(data):
    first = sources.fitted("mlp", data, options={"width": [8]}, epochs=2, name="teacher", device="cpu")
    again = sources.fitted("mlp", data, options={"width": [8]}, epochs=2, name="other", device="cpu")
    x = data.test.inputs
    assert torch.equal(first.model(x), again.model(x))
    assert (first.name, again.name, len(sources.kept())) == ("teacher", "other", 1)
    assert sources.fitted("mlp", data, options={"width": [8]}, epochs=3, device="cpu").epochs != first.epochs
