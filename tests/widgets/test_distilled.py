"""The Python half of the explorer of distilled images: what it refuses, what it sends, what it says."""

import numpy as np
import pandas as pd
import pytest
import torch
import traitlets
from lens_records import distilled, evaluation, looks

import widgets
import workbench as wb
from widgets.distilled.content import MOST_BYTES, _kept
from workbench.records import DistilledSet

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def tiny():
    return distilled(snapshots=5)


@pytest.fixture(scope="module")
def digits():
    return wb.data.load("digits")


@pytest.fixture(scope="module")
def started(digits):
    """Two real digits per class, a little changed, that know which ones they began as."""
    rows = torch.cat([(digits.train.labels == c).nonzero().flatten()[:2] for c in range(10)])
    return DistilledSet(
        name="real",
        method="Random",
        images=digits.train.inputs[rows] + 0.01,
        labels=digits.train.labels[rows],
        classes=digits.train.classes,
        mean=digits.train.mean,
        std=digits.train.std,
        source=digits.train.index[rows],
    )


def array(explorer, name):
    packed = explorer.arrays[name]
    return np.frombuffer(packed["data"], packed["dtype"]).reshape(packed["shape"])


def test_explore_picks_it_and_starts_at_the_end(tiny):
    explorer = widgets.explore(tiny)
    assert isinstance(explorer, widgets.DistilledImagesExplorer)
    assert explorer.selection == {"set": "DM", "iteration": 400, "images": [], "moment": 0}
    assert explorer.spec() == "widgets.DistilledImagesExplorer(tiny)"
    assert "100 images" in explorer.summary()
    assert "test accuracy 90.0%" in explorer.summary()


def test_spec_recreates_the_view(tiny):
    explorer = widgets.explore(tiny, selection={"iteration": 100, "images": [7, 3]}, against="another moment")
    explorer.compare = "difference"
    explorer.classes = ["0", "3"]
    again = eval(explorer.spec(), {"widgets": widgets, "tiny": tiny})
    for name in explorer.settings:
        assert getattr(again, name) == getattr(explorer, name)
    pd.testing.assert_frame_equal(again.data(), explorer.data())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"iteration": 99}, "iteration is 99.*there are 0, 100"),
        ({"moment": 401}, "moment is 401"),
        ({"images": [100]}, "images has 100; the set 'DM' has images 0 to 99"),
        ({"images": [True]}, "images has True"),
        ({"images": "all"}, "a list of rows in 0..99 is needed"),
        ({"set": "DN"}, "did you mean 'DM'"),
        ({"imags": [1]}, "did you mean 'images'"),
    ],
)
def test_selections_that_cannot_be_are_refused(tiny, changes, message):
    explorer = widgets.explore(tiny)
    before = explorer.selection
    with pytest.raises(traitlets.TraitError, match=message):
        explorer.selection = changes
    assert explorer.selection == before


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("sort", "los", "sort is 'los'.*did you mean 'loss'"),
        ("classes", ["ten"], "'ten' is not one of this explorer's"),
        ("against", "another momnt", "did you mean 'another moment'"),
        ("curve", "lss", "did you mean 'loss'"),
        ("compare", "both", "compare"),
    ],
)
def test_settings_that_cannot_be_are_refused(tiny, name, value, message):
    explorer = widgets.explore(tiny, looks=looks(tiny))
    with pytest.raises(traitlets.TraitError, match=message):
        setattr(explorer, name, value)


def test_input_that_cannot_be_is_refused_at_the_door(tiny, digits):
    with pytest.raises(TypeError, match="has no option 'sorted'; did you mean 'sort'"):
        widgets.explore(tiny, sorted="loss")
    with pytest.raises(TypeError, match="the list is empty"):
        widgets.DistilledImagesExplorer([])
    with pytest.raises(TypeError, match="not a int"):
        widgets.DistilledImagesExplorer([tiny, 3])
    with pytest.raises(ValueError, match=r"has images 1×8×8, the set 'large' 1×16×16.*open each by itself"):
        widgets.explore([tiny, distilled(shape=(1, 16, 16), name="large")])
    with pytest.raises(ValueError, match="different classes"):
        widgets.explore([tiny, distilled(classes=("a", "b"), name="two")])
    with pytest.raises(ValueError, match="pass the data that it was distilled from"):
        widgets.explore(distilled(shape=(3, 8, 8)), data=digits)
    with pytest.raises(TypeError, match="data is a str"):
        widgets.explore(tiny, data="digits")
    with pytest.raises(ValueError, match="looks has 1 entries for 2 sets"):
        widgets.explore([tiny, distilled(name="other")], looks=[looks(tiny)])
    with pytest.raises(ValueError, match="say whose it is"):
        widgets.explore([tiny, distilled(name="other")], looks=looks(tiny))
    with pytest.raises(ValueError, match="looks names the set 'MTT'"):
        widgets.explore(tiny, looks={"MTT": looks(tiny)})
    with pytest.raises(TypeError, match="must be a DistilledEvaluation"):
        widgets.explore(tiny, evaluation=looks(tiny))
    with pytest.raises(ValueError, match="looks are of 50 images"):
        widgets.explore(tiny, looks=looks(distilled(ipc=5)))


def test_pixels_travel_once_as_the_bytes_a_picture_has(tiny):
    explorer = widgets.explore([tiny, tiny.replace(name="again")])
    one, other = explorer.content["sets"]
    assert one["pixels"] == other["pixels"]
    sent = array(explorer, one["pixels"])
    assert sent.shape == (5, 100, 1, 8, 8)
    assert np.array_equal(sent[-1], tiny.pictures().numpy())
    assert np.array_equal(sent[1], tiny.pictures(tiny.snapshots[1]).numpy())
    before = explorer.arrays
    explorer.known.looks["DM"] = looks(tiny)
    explorer.publish()
    assert explorer.arrays is before
    assert "DM" in explorer.findings["looks"]


def test_values_beyond_zero_and_one_are_told_and_not_clipped(tiny):
    wild = tiny.replace(images=tiny.images * 4, snapshots=None, snapshot_iterations=(), snapshot_accuracy=None)
    explorer = widgets.explore(wild)
    (one,) = explorer.content["sets"]
    values = (wild.images * wild.std + wild.mean).numpy()
    assert one["low"] == pytest.approx(values.min())
    assert one["high"] == pytest.approx(values.max())
    sent = one["low"] + array(explorer, one["pixels"])[0] / 255 * (one["high"] - one["low"])
    assert np.abs(sent - values).max() <= (one["high"] - one["low"]) / 510 + 1e-6


def test_moments_are_left_out_only_where_there_is_no_room():
    assert _kept(5, 10, 1000, "tiny") == [0, 1, 2, 3, 4]
    assert _kept(50, 10, 110, "tiny")[:2] == [0, 5]
    assert _kept(50, 10, 110, "tiny")[-1] == 49
    assert _kept(50, 10, 15, "tiny") == [49]
    with pytest.raises(ValueError, match="show fewer sets, or a part of this one"):
        _kept(1, MOST_BYTES + 1, MOST_BYTES, "huge")


def test_the_order_is_that_of_the_scores(tiny):
    found = looks(tiny)
    explorer = widgets.explore(tiny, looks=found, sort="loss", by_class=False)
    assert explorer.data()["image"].tolist() == found.loss.argsort(stable=True).tolist()
    explorer.descending = True
    assert explorer.data()["loss"].is_monotonic_decreasing
    explorer.by_class = True
    ordered = explorer.data()
    assert ordered["class"].tolist() == sorted(ordered["class"])
    assert ordered.groupby("class")["loss"].apply(lambda part: part.is_monotonic_decreasing).all()
    explorer.classes = ["3"]
    assert set(explorer.data()["class"]) == {"3"}


def test_partners_stand_at_the_same_place_of_their_class(tiny):
    second = distilled(ipc=4, seed=1, name="MTT")
    explorer = widgets.explore([tiny, second], against="MTT")
    shown = explorer.data()
    assert shown["difference"].notna().sum() == 40
    row = 10 * 3 + 2  # the third image of class 3
    own, other = (record.images * record.std + record.mean for record in (tiny, second))
    expected = float((own[row] - other[4 * 3 + 2]).mean())
    assert shown.set_index("image").loc[row, "difference"] == pytest.approx(expected, abs=1e-5)


def test_difference_of_moments_is_now_minus_then(tiny):
    explorer = widgets.explore(tiny, against="another moment", selection={"iteration": 400, "moment": 0})
    first, last = (tiny.at(i).images * tiny.std + tiny.mean for i in (0, 400))
    expected = (last - first).flatten(1)
    shown = explorer.data()
    assert np.allclose(shown["difference"], expected.mean(1), atol=1e-3)
    assert np.allclose(shown["distance"], expected.abs().mean(1), atol=1e-3)


def test_real_images_beside_distilled_ones(started, digits):
    explorer = widgets.explore(started, data=digits)
    assert explorer.comparable() == ["nothing", "nearest real images", "real images they began as"]
    (one,) = explorer.content["sets"]
    for kind in ("nearest", "start"):
        pairs = one["real"][kind]
        rows = array(explorer, pairs["rows"])
        assert array(explorer, pairs["index"])[rows].tolist() == started.source.tolist()
    assert explorer.scores() == ["nearest_pixels"]
    distance = array(explorer, one["real"]["nearest"]["distance"])
    assert np.allclose(distance, 0.01 * 8, atol=1e-4)
    explorer.against = "real images they began as"
    assert np.allclose(explorer.data()["distance"], float(0.01 * digits.train.std.mean()), atol=2e-3)


def test_loading_another_set_moves_what_it_does_not_have(tiny):
    second = distilled(ipc=2, snapshots=3, name="MTT")
    explorer = widgets.explore([tiny, second], selection={"iteration": 100, "images": [5, 99]})
    explorer.selection = {"set": "MTT"}
    assert explorer.selection == {"set": "MTT", "iteration": 400, "images": [5], "moment": 0}
    assert len(explorer.data()) == 20
    assert explorer.record is second


def test_table_compares_the_sets(tiny):
    second = distilled(ipc=2, seed=1, name="MTT")
    found = evaluation(tiny)
    table = widgets.explore([tiny, second], evaluation=[found, None]).table()
    assert table["set"].tolist() == ["DM", "MTT"]
    assert table["images"].tolist() == [100, 20]
    network = found.networks[0]
    low, high = found.interval(0)
    assert table[f"accuracy[{network}]"][0] == pytest.approx(found.mean(0))
    assert table[f"±[{network}]"][0] == pytest.approx((high - low) / 2)
    assert np.isnan(table[f"accuracy[{network}]"][1])
    assert table["KiB"][0] == pytest.approx(tiny.nbytes / 1024)


def test_names_that_repeat_or_mean_something_else_are_told_apart(tiny):
    explorer = widgets.explore([tiny, tiny, tiny.replace(name="nothing")])
    assert list(explorer.sets) == ["DM (1)", "DM (2)", "nothing (1)"]
    assert "nothing (1)" in explorer.comparable()


def test_page_and_picture_carry_hostile_names_as_text(tiny, tmp_path):
    hostile = tiny.replace(name=HOSTILE, classes=(HOSTILE, *tiny.classes[1:]))
    explorer = widgets.explore(hostile)
    assert HOSTILE not in explorer.to_html()
    picture = explorer.to_png(tmp_path / "hostile.png", dpi=40)
    assert picture.stat().st_size > 1000


@pytest.mark.parametrize("compare", ["side by side", "difference"])
def test_picture_of_every_view(tiny, tmp_path, compare):
    soft = distilled(ipc=1, shape=(3, 8, 8), soft=True, name="soft")
    for record, against in ((tiny, "another moment"), (soft, "another moment"), (tiny, "nothing")):
        explorer = widgets.explore(record, against=against, compare=compare, selection={"images": [1]})
        assert explorer.to_png(tmp_path / "view.png", dpi=40).exists()


def test_mimebundle_shows_something_without_a_kernel(tiny):
    formats, _ = widgets.explore(tiny)._repr_mimebundle_()
    assert formats["text/plain"].startswith("DM at iteration 400")
    assert "image/png" in formats


def test_attributions_that_came_with_looks_are_kept(tiny):
    found = looks(tiny)
    assert found.attributions
    explorer = widgets.explore(tiny, looks=found)
    assert len(explorer.attributions["known"]) == len(found.attributions)
    assert "heat" in explorer.attributions["known"][0]


def test_learned_labels_are_those_of_the_moment():
    soft = distilled(ipc=1, soft=True, snapshots=3)
    course = torch.stack([soft.labels.roll(k, 1) for k in (2, 1, 0)])
    explorer = widgets.explore(soft.replace(snapshot_labels=course.half()), selection={"iteration": 0})
    assert np.allclose(explorer.data().filter(like="label[").to_numpy(), course[0], atol=1e-3)
    (one,) = explorer.content["sets"]
    assert array(explorer, one["label_course"]).shape == (3, 10, 10)
