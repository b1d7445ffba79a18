"""A method that wraps another forwards every optional part of it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch

from workbench.condensation import DREAM, FYI, MDT, GradientMatching, condense
from workbench.condensation.making.method import Finishing, Paced


@dataclass(frozen=True, kw_only=True)
class Everything(GradientMatching):
    """A host that has all the optional parts a method can have."""

    def pace(self, run) -> float:
        return 0.5**run.iteration

    def finish(self, run, synthetic) -> Mapping[str, Any]:
        return {"step_size": torch.tensor(0.25)}


HOST = Everything(ipc=1, iterations=2, real_batch=4, matches=2, lr=1.0, momentum=0.0, options={"width": 4, "depth": 1})


@pytest.mark.parametrize("wrap", [FYI, MDT, lambda host: DREAM(host=host), lambda host: MDT(FYI(host))])
def test_whatever_a_host_has_is_forwarded(tiny, wrap, monkeypatch):
    assert isinstance(HOST, Paced)
    assert isinstance(HOST, Finishing)
    one = condense(tiny, wrap(HOST), progress=False)
    assert one.step_size == 0.25
    free = condense(tiny, wrap(replace(HOST, iterations=1)), progress=False)
    moved = one.images - free.images  # the second iteration, at half the rate
    monkeypatch.setattr(Everything, "pace", lambda self, run: 1.0)
    whole = condense(tiny, wrap(HOST), progress=False)
    torch.testing.assert_close(2 * moved, whole.images - free.images)


@pytest.mark.parametrize("wrap", [FYI, lambda host: DREAM(host=host)])
def test_a_host_without_optional_parts_keeps_its_rate(tiny, wrap):
    host = GradientMatching(ipc=1, real_batch=4, matches=2, options={"width": 4, "depth": 1})
    assert wrap(host).pace(None) == 1.0
    assert dict(wrap(host).finish(None, None)) == {}
