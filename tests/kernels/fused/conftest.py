"""These run compiled on a GPU, and in Triton's interpreter where test_interpreted.py starts them so."""

import pytest
import torch
from hypothesis import settings

from workbench.kernels.dispatch import INTERPRETED

if not (INTERPRETED or torch.cuda.is_available()):
    collect_ignore_glob = ["test_*.py"]

# The interpreter takes some 20 ms for a launch that takes a GPU ten microseconds.
settings.register_profile("fused", deadline=None, max_examples=6 if INTERPRETED else 50, derandomize=True)
settings.load_profile("fused")

if INTERPRETED:
    import numpy as np
    from triton.runtime.interpreter import InterpretedFunction, InterpreterBuilder

    # It prepares the language anew for every call of a function in a kernel, which takes most of its time: once does.
    slowly, prepared = InterpretedFunction.__call__, set()

    def call(self, *args, **kwargs):
        if self.fn in prepared:
            return self.rewrite()(*args, **kwargs)
        prepared.add(self.fn)
        return slowly(self, *args, **kwargs)

    InterpretedFunction.__call__ = call

    # A GPU's plain maximum takes the number where the other side is NaN, as its reductions do: here too, so that a
    # kernel that loses NaN there fails here.
    InterpreterBuilder.create_maxnumf = lambda self, a, b: self.binary_op(a, b, np.fmax)
    InterpreterBuilder.create_minnumf = lambda self, a, b: self.binary_op(a, b, np.fmin)

DEVICE = "cpu" if INTERPRETED else "cuda"


def pytest_collection_modifyitems(items):
    if not INTERPRETED:
        for item in items:
            if "kernels/fused" in str(item.path):
                item.add_marker(pytest.mark.gpu)


@pytest.fixture(scope="session")
def device():
    return torch.device(DEVICE)
