"""Every study at its small budget: the claims that are asserted must hold (``make claims``).

A study whose code and libraries are those of its last measured result is not run again, unless ``ALL=1`` is set; what
is run is measured: its result is written to ``workbench/results``.
"""

import os
import time

import pytest

from workbench import results, studies

MOST = 40
"""Core seconds that a study may take."""
AIM = 20
"""Core seconds that studies should take on average."""
NOISE = 1.5
"""Other work on the machine costs core seconds too: a study fails only beyond its share times this."""


@pytest.mark.claims
@pytest.mark.parametrize("paper", studies.discover())
def test_asserted_claims_hold(paper, capsys):
    last = results.read(paper)
    if last is not None and last.current and not os.environ.get("ALL"):
        assert not failing(last.claims), "\n".join(failing(last.claims))
        pytest.skip(f"as measured on {last.date}: {last.seconds:.0f} core seconds (make claims ALL=1 runs it)")
    wall, core = time.perf_counter(), time.process_time()
    result = studies.run(paper)
    wall, core = time.perf_counter() - wall, time.process_time() - core
    frame = result.claims_frame()[["verdict", "claim", "measured", "relation", "margin", "low", "high", "seeds"]]
    with capsys.disabled():
        over = "" if core <= MOST else f", MORE THAN {MOST}"
        print(f"\n{paper:03d} {result.title} ({core:.0f} core seconds{over}; {wall:.0f} s)")
        print(frame.to_string(index=False, float_format="%.4f", max_colwidth=100))
    results.write(result, core)
    failed = [claim.summary() for claim in result.claims if claim.asserted and not claim.holds]
    assert result.passed, "\n".join(failed)
    assert core <= MOST * NOISE, f"paper {paper} takes {core:.0f} core seconds; {MOST} are allowed"


def failing(claims):
    return [f"{claim['claim']}: {claim['verdict']}" for claim in claims if claim["verdict"] == "fails"]


@pytest.mark.claims
def test_studies_take_little_time_on_average(capsys):
    """Of the results that are there. The aim is twenty core seconds a study; what is held is what one may take."""
    found = {paper: last.seconds for paper in studies.discover() if (last := results.read(paper)) is not None}
    mean = sum(found.values()) / max(1, len(found))
    slowest = sorted(found, key=found.__getitem__, reverse=True)[:5]
    with capsys.disabled():
        told = ", ".join(f"{paper:03d}: {found[paper]:.0f}" for paper in slowest)
        over = "" if mean <= AIM else f", MORE THAN THE {AIM} AIMED AT"
        print(f"\n{len(found)} studies take {mean:.1f} core seconds on average{over}; the slowest {told}")
    assert mean <= MOST
