"""What a full budget costs: one training step is timed, and its time multiplied by the steps there are.

python -m workbench.studies.kit.cost wrn-40-2 --teacher wrn-40-2 --batch 64
"""

import argparse
import time
from typing import Any

import torch

from workbench import models
from workbench.data import Dataset, Split
from workbench.knowledge import KL, distill
from workbench.training import distributed, fit


def step_seconds(
    student: str,
    teacher: str | None = None,
    *,
    batch: int = 64,
    shape: tuple[int, int, int] = (3, 32, 32),
    classes: int = 100,
    steps: int = 3,
    device: str = "auto",
) -> float:
    """Seconds of one training step, the mean of `steps` after one to warm up.

    Parameters
    ----------
    student, teacher
        Names for `workbench.models.build`; without a teacher the student learns labels.
    batch, shape, classes
        Of the data, which are noise.
    device
        As for `workbench.training.fit`.

    Examples
    --------
    >>> step_seconds("resnet8", batch=4, shape=(3, 8, 8), steps=1, device="cpu") > 0
    True
    """
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch, *shape, generator=generator)
    names = tuple(str(number) for number in range(classes))
    one = torch.ones(shape[0], 1, 1)
    split = Split(images, torch.arange(batch) % classes, names, 0 * one, one)
    data = Dataset("noise", split, split)
    network, place = models.build(student, data), distributed.pick(device)

    def train(count: int) -> float:
        begun = time.perf_counter()
        options: dict[str, Any] = {
            "steps": count,
            "batch_size": batch,
            "progress": False,
            "evaluate_every": 0,
            "device": device,
        }
        if teacher is None:
            fit(network, data, **options)
        else:  # augmented, as in the recipes: the teacher answers at every step
            distill(models.build(teacher, data, seed=1), network, data, KL(4), augment="flip", **options)
        if place.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - begun

    train(1)
    return max(train(1 + steps) - train(1), 1e-9) / steps


def main() -> None:
    """Print the seconds of one step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("student")
    parser.add_argument("--teacher")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--device", default="auto")
    given = parser.parse_args()
    seconds = step_seconds(given.student, given.teacher, batch=given.batch, device=given.device)
    print(f"{seconds:.3f} s a step of {given.batch} images")


if __name__ == "__main__":
    main()
