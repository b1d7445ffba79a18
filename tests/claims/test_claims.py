"""Every study at its small budget: the claims that are asserted must hold (``make claims``)."""

import time

import pytest

from workbench import studies


@pytest.mark.claims
@pytest.mark.parametrize("paper", studies.discover())
def test_asserted_claims_hold(paper, capsys):
    started = time.perf_counter()
    result = studies.run(paper)
    seconds = time.perf_counter() - started
    frame = result.claims_frame()[["verdict", "claim", "measured", "relation", "margin", "low", "high", "seeds"]]
    with capsys.disabled():
        print(f"\n{paper:03d} {result.title} ({seconds:.0f} s)")
        print(frame.to_string(index=False, float_format="%.4f", max_colwidth=100))
    failed = [claim.summary() for claim in result.claims if claim.asserted and not claim.holds]
    assert result.passed, "\n".join(failed)
