"""Rows over seeds: what is a setting and what is measured, and the interval of a mean."""

import pandas as pd
import pytest
from scipy import stats

from workbench.records.repetitions import over_seeds


def frame(**columns):
    return pd.DataFrame(columns)


def test_the_interval_is_student_s():
    values = [0.1, 0.4, 0.2, 0.9]
    (row,) = over_seeds(frame(seed=[0, 1, 2, 3], loss=values)).to_dict("records")
    low, high = stats.t.interval(0.95, 3, stats.tmean(values), stats.sem(values))
    assert (row["loss"] - row["± loss"], row["loss"] + row["± loss"]) == pytest.approx((low, high))
    assert row["seeds"] == 4


def test_numbers_that_occur_with_every_seed_are_settings():
    table = over_seeds(frame(seed=[0, 0, 1, 1], noise=[0.5, 1.0, 0.5, 1.0], steps=[3, 4, 5, 6], loss=[1.0, 2, 3, 6]))
    assert list(table) == ["noise", "seeds", "steps", "± steps", "loss", "± loss"]
    assert table["loss"].tolist() == [2.0, 4.0]


def test_missing_values_count_for_nothing_and_texts_of_one_run_are_left_out():
    table = over_seeds(frame(seed=[0, 1, 2], loss=[1.0, None, 3.0], note=["a", "b", "c"], shape=[[1], [2], [3]]))
    assert list(table) == ["seeds", "loss", "± loss"]
    assert table["loss"].tolist() == [2.0]


def test_one_seed_has_no_interval_and_no_seeds_leave_the_table_as_it_is():
    table = over_seeds(frame(method=["a", "b"], seed=[7, 7], n=[60, 60], loss=[1.0, 2.0]))
    assert list(table) == ["method", "n", "seeds", "loss", "± loss"]
    assert table["± loss"].isna().all()
    plain = frame(method=["a"], loss=[1.0])
    assert over_seeds(plain) is plain
    assert over_seeds(frame(seed=[])).empty
