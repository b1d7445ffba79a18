"""The fused kernels in Triton's interpreter: the tests in fused/, run without a GPU in a process of their own.

Triton reads TRITON_INTERPRET when it is imported, and an interpreted process is of no use for anything else.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from workbench.kernels.dispatch import available

HERE = Path(__file__).resolve().parent

pytestmark = [
    pytest.mark.skipif(not available(), reason="Triton exists for Linux only"),
    pytest.mark.skipif(torch.cuda.is_available(), reason="fused/ runs compiled, on the GPU that is here"),
]


def test_fused_kernels_agree_with_their_references():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore", str(HERE / "fused")]
    environment = os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, cwd=HERE.parent.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
