"""The record of a hand-over keeps its shapes together and tells them as a table."""

import math

import pytest
import torch

from workbench.records import HandOver
from workbench.records import open as open_record

K, N = 2, 5


def made(**changes):
    fields = {
        "times": torch.tensor([0.9, 0.4, 0.0], dtype=torch.float64),
        "noise": torch.zeros(N, 2),
        "switches": torch.zeros(K + 1, N, 2),
        "positions": torch.zeros(K, N, 2),
        "base_calls": torch.arange(K + 1),
        "student_calls": K - torch.arange(K + 1),
        "measures": {
            "entropy": {
                "switches": torch.tensor([0.5, 0.9, 1.0], dtype=torch.float64),
                "positions": torch.tensor([0.9, 0.5], dtype=torch.float64),
            }
        },
    }
    return HandOver(**{**fields, **changes})


def test_it_saves_opens_and_reads_as_a_table(tmp_path):
    record = made(base="SDXL <b>", student="DMD")
    again = open_record(record.save(tmp_path / "one.safetensors"))
    assert again.base == "SDXL <b>"
    assert (again.steps, len(again)) == (K, N)
    frame = again.to_frame()
    assert frame["value"].tolist() == [0.5, 0.9, 1.0, 0.9, 0.5]
    assert frame["at"].tolist() == [0, 1, 2, 1, 2]
    assert frame["base calls"].tolist()[:3] == [0, 1, 2]
    assert frame["low"].isna().all()
    assert "student alone → base first: entropy 0.5 → 0.9" in again.summary()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"times": torch.tensor([0.5])}, "at least two"),
        ({"switches": torch.zeros(K, N, 2)}, r"switches have shape \(2, 5, 2\); \(3, 5, 2\) is needed"),
        ({"positions": torch.zeros(K, N, 3)}, "positions have shape"),
        ({"student_calls": torch.zeros(K)}, "student_calls have shape"),
        (
            {"measures": {"modes": {"switches": torch.zeros(K), "positions": torch.zeros(K)}}},
            r"measure 'modes' has \(2,\) switches; \(3,\) is needed",
        ),
        ({"intervals": {"spread": {}}}, r"intervals of \['spread'\] have no measure"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(change, told):
    with pytest.raises(ValueError, match=told):
        made(**change)


def test_intervals_are_told_where_there_are_some():
    between = {"switches": torch.tensor([[0.4, 0.6]] * 3).double(), "positions": torch.full((K, 2), math.nan).double()}
    frame = made(intervals={"entropy": between}).to_frame()
    assert frame["low"].tolist()[:3] == pytest.approx([0.4] * 3)
    assert frame["high"].isna().tolist() == [False] * 3 + [True] * 2
