"""The differentiable inner loop of trajectory matching against plain autograd through all of its steps.

Memory is the highest resident size of a process of its own less what it had before the loop; a ConvNet-3 sees 50 images
of 32×32, ipc 5, and makes 20 steps.
"""

import json
import resource
import subprocess
import sys
from functools import partial
from pathlib import Path

import torch
from timing import in_turn

STEPS, CLASSES, IPC = 20, 10, 5


def rows(quick: bool = False) -> list[dict]:
    width = 8 if quick else 32
    what = f"MTT inner loop, {STEPS} steps of a ConvNet-3 of width {width} on {CLASSES * IPC} images of 32×32"
    peaks = {recompute: in_a_process_of_its_own(recompute, width) for recompute in (True, False)}
    ratio = peaks[True] / peaks[False]
    error = relative_error(8)
    problem = Problem(width)
    once, whole = in_turn(
        partial(problem.gradients, recompute=True), partial(problem.gradients, recompute=False), 1 if quick else 3
    )
    return [
        {
            "name": f"{what}: peak memory as a share of plain autograd's",
            "value": ratio,
            "unit": "",
            "target": "≤ 0.5",
            "met": ratio <= 0.5,
        },
        {"name": f"{what}: peak memory", "value": peaks[True] / 2**20, "unit": "MiB", "target": "", "met": None},
        {
            "name": f"{what}: peak memory of plain autograd",
            "value": peaks[False] / 2**20,
            "unit": "MiB",
            "target": "",
            "met": None,
        },
        {
            "name": "largest relative difference of its gradients from plain autograd's, float64",
            "value": error,
            "unit": "",
            "target": "≤ 1e-6",
            "met": error <= 1e-6,
        },
        {"name": f"{what}: time over plain autograd's", "value": once / whole, "unit": "×", "target": "", "met": None},
        {"name": f"{what}: time", "value": once, "unit": "s", "target": "", "met": None},
    ]


class Problem:
    """A segment to match: start and target weights, images and a step size to learn."""

    def __init__(self, width: int, dtype: torch.dtype = torch.float32) -> None:
        from workbench import models
        from workbench.condensation import Descent, FlatNetwork
        from workbench.condensation.trajectories.unroll import cross_entropy

        network = FlatNetwork(models.build("convnet", ((3, 32, 32), CLASSES), width=width, depth=3).to(dtype))
        self.start, self.target = network.fresh([0, 1]).to(dtype)
        generator = torch.Generator().manual_seed(0)
        self.images = torch.randn(CLASSES * IPC, 3, 32, 32, generator=generator, dtype=dtype).requires_grad_()
        self.log_step = torch.tensor(-4.0, dtype=dtype).requires_grad_()
        labels = torch.arange(CLASSES).repeat_interleave(IPC)
        self.descent = Descent(
            lambda w, n: cross_entropy(network(w, self.images), labels),  # noqa: ARG005
            lambda n: self.log_step.exp(),  # noqa: ARG005
            STEPS,
        )

    def gradients(self, *, recompute: bool) -> tuple[torch.Tensor, ...]:
        from workbench.condensation import unroll
        from workbench.condensation.trajectories.unroll import trajectory_match

        leaves = [self.images, self.log_step]
        end = trajectory_match(self.start, self.target)
        return torch.autograd.grad(unroll(self.descent, self.start, end, leaves, recompute=recompute), leaves)


def relative_error(width: int) -> float:
    problem = Problem(width, torch.float64)
    pairs = zip(problem.gradients(recompute=True), problem.gradients(recompute=False), strict=True)
    return max(float((ours - plain).norm() / plain.norm()) for ours, plain in pairs)


def in_a_process_of_its_own(recompute: bool, width: int) -> int:
    """Bytes that the loop needs at most, beside what was there before."""
    code = f"import bench_unroll; print(bench_unroll.peak(recompute={recompute}, width={width}))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parent
    )
    return json.loads(done.stdout)


def peak(*, recompute: bool, width: int) -> int:
    import psutil

    problem = Problem(width)
    before = psutil.Process().memory_info().rss
    problem.gradients(recompute=recompute)
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit - before


if __name__ == "__main__":
    for row in rows(quick="--quick" in sys.argv):
        print(row)
