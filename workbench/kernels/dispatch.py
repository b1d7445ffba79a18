"""Which version of a kernel runs: the fused Triton one on a GPU, the plain PyTorch one elsewhere. Users never choose.

Tensors that a fused kernel does not take (double precision, a GPU without Triton) go to the plain version, and one
line in the log ``workbench.kernels`` says so. With ``TRITON_INTERPRET=1`` in the environment before the first import
the fused kernels run on the CPU in Triton's interpreter, thousands of times slower: that is for tests.
"""

import functools
import importlib.util
import logging
import os
import sys

import torch
from torch import Tensor

__all__ = ["INTERPRETED", "TAKEN", "available", "runs_fused"]

TAKEN = (torch.float32, torch.bfloat16, torch.float16)
"""What the fused kernels read and write; they add up in float32."""

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"

_log = logging.getLogger("workbench.kernels")


@functools.cache
def available() -> bool:
    """Whether Triton is installed; it exists for Linux only."""
    return sys.platform == "linux" and importlib.util.find_spec("triton") is not None


def runs_fused(kernel: str, *tensors: Tensor, refused: str = "") -> bool:
    """Whether the fused version of `kernel` runs on these tensors.

    Parameters
    ----------
    kernel
        Its name, for the log.
    tensors
        All the tensors that the fused version would read.
    refused
        Why this kernel does not take this problem, if it does not: a shape, say.
    """
    device = tensors[0].device
    if device.type != "cuda" and not (INTERPRETED and device.type == "cpu"):
        return False
    if not available():
        return _fall_back(kernel, "Triton is not installed")
    if other := [str(each.device) for each in tensors if each.device != device]:
        return _fall_back(kernel, f"its tensors are on {device} and {other[0]}")
    if strange := [str(each.dtype).removeprefix("torch.") for each in tensors if each.dtype not in TAKEN]:
        return _fall_back(kernel, f"the fused kernel does not take {strange[0]}")
    return not refused or _fall_back(kernel, refused)


@functools.cache  # once per kernel and reason
def _fall_back(kernel: str, why: str) -> bool:
    _log.warning("%s runs as plain PyTorch: %s", kernel, why)
    return False
