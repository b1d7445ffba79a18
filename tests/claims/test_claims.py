"""`make claims`: every built paper's study runs at its small budget, and no asserted claim fails."""

import importlib
import inspect
import time

import pytest

from workbench import papers
from workbench.records import StudyResult

BUILT = papers.find(built=True)

pytestmark = [pytest.mark.claims, pytest.mark.slow]


@pytest.mark.parametrize("paper", BUILT, ids=lambda paper: f"{paper.number:03d}-{paper.short}")
def test_claims(paper, capsys):
    started = time.perf_counter()
    result = importlib.import_module(paper.study).run()
    assert isinstance(result, StudyResult)
    assert result.paper == paper.number
    assert result.claims, "a study without claims says nothing that could be wrong"
    assert all(claim.seeds > 1 for claim in result.claims if claim.asserted), "one seed asserts nothing"
    with capsys.disabled():
        print(f"\n{result.summary()}\n  {time.perf_counter() - started:.0f} s")
    failed = [claim.summary() for claim in result.claims if claim.verdict == "fails"]
    assert not failed, "\n".join(failed)


@pytest.mark.parametrize("paper", BUILT, ids=lambda paper: f"{paper.number:03d}-{paper.short}")
def test_a_study_takes_what_the_command_can_pass(paper):
    run = importlib.import_module(paper.study).run
    assert {"data", "seeds", "budget", "device"} <= set(inspect.signature(run).parameters)
