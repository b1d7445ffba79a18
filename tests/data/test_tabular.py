"""Tables: the bundled ones and any DataFrame."""

import numpy as np
import pandas as pd
import pytest
import torch

from workbench.data import DataError, load, table


@pytest.fixture
def frame():
    n = 40
    generator = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "weight": generator.normal(50, 10, n),
            "hue": pd.Categorical(np.resize(["red", "blue", "green"], n)),
            "wild": np.arange(n) % 2 == 0,
            "legs": np.resize([2, 4], n),
            "kind": np.resize(["cat", "dog"], n),
        },
        index=[f"row{i}" for i in range(n)],
    )


@pytest.mark.parametrize(
    ("name", "features", "classes"), [("breast_cancer", 30, 2), ("wine", 13, 3), ("iris", 4, 3), ("diabetes", 10, 0)]
)
def test_bundled_tables(name, features, classes):
    data = load(name, seed=1)
    assert (data.shape, len(data.classes), data.name) == ((features,), classes, name)
    assert len(data.train.features) == features
    assert data.train.inputs.mean(0).abs().max() < 1e-4
    assert (data.train.inputs.std(0, correction=0) - 1).abs().max() < 1e-3


def test_bundled_class_names_are_scikit_learns():
    assert load("breast_cancer").classes == ("malignant", "benign")


def test_text_and_categories_become_one_column_per_value(frame):
    data = table(frame, target="kind")
    assert data.train.features == ("weight", "hue=blue", "hue=green", "hue=red", "wild", "legs")
    assert data.classes == ("cat", "dog")
    raw = data.train.inputs * data.std + data.mean
    rows = data.train.index.numpy()
    torch.testing.assert_close(raw[:, 3], torch.from_numpy((frame["hue"] == "red").to_numpy()[rows]).float())
    torch.testing.assert_close(raw[:, 0], torch.from_numpy(frame["weight"].to_numpy()[rows]).float())
    assert [data.classes[y] for y in data.train.labels.tolist()] == frame["kind"].iloc[rows].tolist()


@pytest.mark.parametrize(
    ("target", "task", "classes"),
    [
        ("kind", None, ("cat", "dog")),
        ("hue", None, ("blue", "green", "red")),
        ("wild", None, ("False", "True")),
        ("legs", None, ("2", "4")),
        ("weight", None, ()),
        ("legs", "regression", ()),
    ],
)
def test_the_task_follows_from_the_target(frame, target, task, classes):
    assert table(frame, target, task=task).classes == classes


def spoilt(frame, row, column, value):
    frame = frame.copy()
    frame[column] = frame[column].astype(object if value is None else frame[column].dtype)
    frame.loc[row, column] = value
    return frame


def test_a_missing_value_is_named_with_row_and_column(frame):
    with pytest.raises(DataError, match=r"row 'row7' of column 'weight' is nan \(1 such rows\): fill or drop"):
        table(spoilt(frame, "row7", "weight", np.nan), "kind")
    with pytest.raises(DataError, match="row 'row3' of column 'weight' is inf"):
        table(spoilt(frame, "row3", "weight", np.inf), "kind")
    with pytest.raises(DataError, match="row 'row5' of column 'kind' is None"):
        table(spoilt(frame, "row5", "kind", None), "kind")
    nullable = frame.assign(legs=frame["legs"].astype("Int64"))
    nullable.loc["row9", "legs"] = pd.NA
    with pytest.raises(DataError, match="row 'row9' of column 'legs' is <NA>"):
        table(nullable, "kind")


@pytest.mark.parametrize(
    ("change", "target", "options", "message"),
    [
        ({}, None, {}, "target is needed"),
        ({}, "knid", {}, "target='knid' is not a column; nearest: kind"),
        ({"kind": "cat"}, "kind", {}, "target 'kind' is 'cat' in every row"),
        ({"weight": 3.0}, "weight", {}, "target 'weight' is 3 in every row"),
        ({"when": pd.Timestamp("2020-01-01")}, "kind", {}, "column 'when' is of type datetime64"),
        ({"z": 1j}, "kind", {}, "column 'z' is of type complex"),
        ({}, "kind", {"task": "regression"}, "regression needs numbers"),
        ({}, "kind", {"task": "sorting"}, "task='sorting'"),
        ({}, "kind", {"test_fraction": 2}, "test_fraction=2"),
    ],
)
def test_an_unusable_table_is_refused_with_the_reason(frame, change, target, options, message):
    with pytest.raises(DataError, match=message):
        table(frame.assign(**change), target, **options)


def test_a_column_that_names_the_rows_is_refused(frame):
    many = pd.concat([frame] * 3, ignore_index=True)
    many["id"] = [f"animal {i}" for i in range(len(many))]
    with pytest.raises(DataError, match="column 'id' has 120 different values"):
        table(many, "kind")


def test_repeated_columns_and_empty_tables_are_refused(frame):
    with pytest.raises(DataError, match="column 'legs' is there twice"):
        table(pd.concat([frame, frame[["legs"]]], axis=1), "kind")
    with pytest.raises(DataError, match="only the target"):
        table(frame[["kind"]], "kind")
    with pytest.raises(DataError, match="has 0 rows"):
        table(frame[:0], "kind")
    with pytest.raises(DataError, match="source is a list"):
        table([1, 2], "kind")
    with pytest.raises(DataError, match="no bundled table 'titanic'"):
        table("titanic")
    with pytest.raises(DataError, match="target='x' is fixed for iris"):
        table("iris", "x")


def test_the_frame_is_not_changed(frame):
    before = frame.copy()
    table(frame, "kind")
    pd.testing.assert_frame_equal(frame, before)
