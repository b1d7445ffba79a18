"""Study 001 runs on the paper's sine, on a table and on classes, and its table holds what its claims say."""

import pandas as pd
import pytest

import workbench as wb
from workbench.studies.gp import p001_gp_self_distillation as study


def test_the_papers_sine():
    result = study.run()
    assert result.passed, result.summary()
    assert len(result.table) == 40 * 2 * 3 * 8
    assert sum(claim.asserted for claim in result.claims) == 7
    frame = result.to_frame().groupby(["approach", "noise", "step"])["rmse"].mean()
    # the paper card's own figures, over seeds of another generator
    assert frame["data", 0.05, 1] == pytest.approx(0.361, abs=0.02)
    assert frame["data", 0.05, 8] == pytest.approx(0.252, abs=0.02)
    assert frame["data", 1.0, 8] == pytest.approx(0.547, abs=0.02)
    assert frame["distribution", 0.05, 8] == pytest.approx(0.478, abs=0.03)
    assert result.records["data-centric"].interactive


def test_a_table_of_the_users_own():
    frame = wb.data.load("diabetes")
    small = pd.DataFrame(frame.train.inputs[:60].numpy()).assign(target=frame.train.labels[:60].numpy())
    result = study.run(small, seeds=2)
    assert result.made_on == "noisy sine"
    assert not any(claim.asserted for claim in result.claims)
    assert len(result.table) == 2 * 2 * 3 * 8


def test_classes():
    result = study.run(wb.data.load("iris"), seeds=1)
    assert {row["approach"] for row in result.table} == {"data", "distribution"}
    assert result.records["data-centric"].task == "classification"


@pytest.mark.parametrize(("options", "message"), [({"budget": "huge"}, "budget"), ({"seeds": 0}, "seeds")])
def test_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        study.run(**options)
