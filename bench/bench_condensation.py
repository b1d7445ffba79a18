"""One iteration of distribution matching against the public code's loop over the classes; digits from end to end."""

import time
from statistics import median
from typing import Any

import torch
from timing import seconds
from torch import Tensor

import workbench as wb
from workbench.condensation import DistributionMatching, Run, Siamese
from workbench.data import Split
from workbench.models import build, observe
from workbench.training.grouping import keep_memory

CLASSES, IPC, REAL = 10, 10, 64
WIDTH, DEPTH, SIDE = 128, 3, 32


def rows(quick: bool = False) -> list[dict]:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rounds = 3 if quick else 9
    found = []
    for what, augment in (("", None), (" with Siamese augmentation", Siamese())):
        at_once, looped = iteration(device, augment, rounds)
        name = f"DM, one iteration{what}, ConvNet-3 of width {WIDTH}, {CLASSES} classes × {REAL} real + {IPC}"
        where = torch.cuda.get_device_name() if device.type == "cuda" else f"{torch.get_num_threads()} threads"
        found.append(row(f"{name}, on {where}", at_once, "s"))
        for place, bound in (("cpu", 1.0), ("cuda", 3.0)):
            ratio: Any = looped / at_once if device.type == place else "not measured"
            kind = "processor" if place == "cpu" else "GPU"
            asked = None if what else bound  # stated for the plain iteration
            found.append(row(f"{name}: times faster than class by class, {kind}", ratio, "×", at_least=asked))
    taken, accuracy = digits(quick)
    found.append(row("digits: DM to 10 images per class, then 3 networks trained on them", taken, "s", at_most=30.0))
    found.append(row("digits: their accuracy", accuracy, ""))
    return found


def row(name: str, value: Any, unit: str, at_least: float | None = None, at_most: float | None = None) -> dict:
    measured = not isinstance(value, str)
    target = f"≥ {at_least:g}" if at_least else f"≤ {at_most:g}" if at_most else ""
    met = None
    if measured and target:
        met = value >= at_least if at_least else value <= at_most
    return {"name": name, "value": value, "unit": unit if measured else "", "target": target, "met": met}


def iteration(device: torch.device, augment: Siamese | None, rounds: int) -> tuple[float, float]:
    """Median seconds of an iteration, ours and class by class, the two in turn on the same images and weights."""
    keep_memory()  # as `condense` does before its first iteration; both sides gain by it
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(CLASSES * 4 * REAL, 3, SIDE, SIDE, generator=generator)
    zero = torch.zeros(3, 1, 1)
    split = Split(inputs, torch.arange(len(inputs)) % CLASSES, tuple("abcdefghij"), zero, zero + 1).to(device)
    options = {"width": WIDTH, "depth": DEPTH}
    method = DistributionMatching(ipc=IPC, real_batch=REAL, augment=augment, options=options)
    run = Run(split, seed=0, device=device)
    synthetic = method.start(run)

    def at_once() -> Tensor:
        (loss,) = method.losses(run, synthetic)
        return torch.autograd.grad(loss, synthetic.pixels)[0]

    def looped() -> Tensor:
        return class_by_class(run, synthetic.pixels, augment, options)

    with torch.backends.cudnn.flags(allow_tf32=False):  # with ten bits of a factor the order of sums is seen
        torch.testing.assert_close(at_once(), looped(), rtol=1e-3, atol=1e-6)
    taken = []
    for position in range(rounds):
        run.iteration = position
        taken.append((seconds(at_once), seconds(looped)))
    return median(pair[0] for pair in taken), median(pair[1] for pair in taken)


def class_by_class(run: Run, pixels: Tensor, augment: Siamese | None, options: dict[str, Any]) -> Tensor:
    """An iteration as ``main_DM.py`` writes it down: for each class its real images, then its synthetic ones."""
    seed = int(torch.randint(2**62, (), generator=run.generator("network")))
    network = build("convnet", run.split, seed=seed, **options).requires_grad_(False)
    look = observe(network, "flatten")
    real, generator = run.real(REAL), run.generator("augment")
    loss = torch.zeros((), device=run.device)
    for c in range(CLASSES):
        theirs, ours = real[c], pixels[c * IPC : (c + 1) * IPC]
        if augment is not None:
            change = augment.shared(generator)
            theirs, ours = change(theirs), change(ours)
        output_real = look(theirs).features["flatten"].detach()
        output_syn = look(ours).features["flatten"]
        loss = loss + (output_real.mean(0) - output_syn.mean(0)).square().sum()
    return torch.autograd.grad(loss, pixels)[0]


def digits(quick: bool) -> tuple[float, float]:
    """Seconds to distil and evaluate, and the mean accuracy of three networks."""
    started = time.perf_counter()
    data = wb.data.load("digits")
    method = DistributionMatching(ipc=10, real_batch=64, lr=10.0)  # few steps, so each is ten times the paper's
    tiny = wb.condensation.condense(data, method, iterations=20 if quick else 200, progress=False)
    score = wb.condensation.evaluate(tiny, data, seeds=3, references=False, progress=False)
    return time.perf_counter() - started, float(score.accuracy.mean())


if __name__ == "__main__":
    for one in rows():
        print(one)
