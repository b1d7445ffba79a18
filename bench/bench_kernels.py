"""The kernels against the expressions they stand for: on this machine's processor, and on its GPU where it has one.

    python bench/bench_kernels.py [--quick]       both, as a table
    python bench/kernels_gpu.py                   the GPU alone: builds, checks and times every fused kernel

Contenders take turns, so that a busy machine slows all alike; memory is that of a process of its own.
"""

import argparse
import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # a machine without network has no installed package
if (
    importlib.util.find_spec("lazy_loader") is None
):  # nor what the door of the package needs; the kernels need torch alone
    sys.modules["lazy_loader"] = SimpleNamespace(  # type: ignore[assignment]
        attach=lambda package, submodules: (lambda name: importlib.import_module(f"{package}.{name}"), list, submodules)
    )

import torch
import torch.nn.functional as F
from timing import in_turn
from torch import Tensor

from workbench.kernels import characteristic, divergence, hsic, kernel_sums, linear_divergence, mixture

THREADS = 2
MEBIBYTE = 2**20


def rows(quick: bool = False) -> list[dict]:
    """Rows of the table that `make bench` prints: name, value, unit, target, met."""
    torch.set_num_threads(THREADS)
    found = processor(quick)
    if torch.cuda.is_available():
        import kernels_gpu

        return found + kernels_gpu.rows(quick)
    return found


def row(name: str, value: object, unit: str, target: str = "", met: bool | None = None) -> dict:
    return {"name": name, "value": value, "unit": unit, "target": target, "met": met}


def processor(quick: bool) -> list[dict]:
    """On the CPU: the plain versions against eager expressions, time and memory."""
    found = []
    for name, case in CASES.items():
        made = case(1 if quick else 4)
        ours, theirs = in_turn(partial(made.mine, *made.inputs), partial(made.eager, *made.inputs), 3 if quick else 7)
        what = f"{name} ({THREADS} threads)"
        share, limit = ours / theirs, TIME.get(name)
        met = None if limit is None or quick else share <= limit
        found.append(row(f"{what}: time over that of {EAGER[name]}", share, "×", f"≤ {limit}" if limit else "", met))
        found.append(row(what, 1e3 * ours, "ms"))
        if made.compiles:
            found.append(compiled(what, made, quick))
        if not sys.platform.startswith("linux"):
            found.append(row(f"{what}: memory over inputs, measured on Linux only", "not measured", ""))
            continue
        peaks = [peak(name, which, 1 if quick else 4) for which in ("mine", "eager")]
        share, limit = peaks[0] / peaks[1], MEMORY.get(name)
        met = None if limit is None or quick else share <= limit
        more = f"{peaks[0]:.0f} of {peaks[1]:.0f} MiB"
        found.append(row(f"{what}: memory over inputs, {more}", share, "×", f"≤ {limit}" if limit else "", met))
    found.append(keops(quick))
    return found


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def textbook(student: Tensor, teacher: Tensor, T: float) -> Tensor:
    return F.kl_div((student / T).log_softmax(-1), (teacher / T).softmax(-1), reduction="none").sum(-1)


def textbook_jensen(student: Tensor, teacher: Tensor, T: float) -> Tensor:
    q, p = (student / T).softmax(-1), (teacher / T).softmax(-1)
    m = 0.5 * (p + q)
    kl = [F.kl_div(m.log(), each, reduction="none").sum(-1) for each in (p, q)]
    return 0.5 * (kl[0] + kl[1])


@dataclass(frozen=True)
class Case:
    """Ours, the expression it stands for, and what both are given; `compiles` says that the gradient is wanted too."""

    mine: Callable
    expression: Callable
    inputs: tuple
    compiles: bool = True

    @property
    def eager(self) -> Callable:
        return backward(self.expression) if self.compiles else self.expression


def backward(value: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Value and gradient towards the first argument."""

    def both(first: Tensor, *others: Tensor) -> Tensor:
        first = first.detach().requires_grad_()
        out = value(first, *others)
        return torch.autograd.grad(out.mean(), first)[0]

    return both


def forward_kl(size: float, classes: int = 32_000) -> Case:
    n = round(128 * size * 32_000 / classes)
    told = {"student_temperature": 4.0, "teacher_temperature": 4.0}
    return Case(
        backward(lambda s, t: divergence.forward_kl(s, t, **told)),
        lambda s, t: textbook(s, t, 4.0),
        (normal(n, classes), normal(n, classes, seed=1)),
    )


def jensen(size: float) -> Case:
    return Case(backward(divergence.jensen_shannon), lambda s, t: textbook_jensen(s, t, 1.0), forward_kl(size).inputs)


def linear(size: float) -> Case:
    h, W, ht, Wt = (
        normal(round(256 * size), 64),
        normal(16_000, 64, seed=1),
        normal(round(256 * size), 64, seed=2),
        normal(16_000, 64),
    )
    return Case(
        backward(lambda h: linear_divergence.linear_divergence(h, W, ht, Wt)),
        lambda h: textbook(h @ W.mT, ht @ Wt.mT, 1.0),
        (h,),
    )


def pairs(size: float) -> Case:
    layers = {1: 10, 4: 50}.get(size, 2)
    grams = torch.stack([hsic.gram(normal(256, 64, seed=i)) for i in range(layers)])

    def one_by_one(a: Tensor, b: Tensor) -> Tensor:
        return torch.stack(
            [torch.stack([hsic.hsic(hsic.center(k[None]), hsic.center(m[None]))[0, 0] for m in b]) for k in a]
        )

    return Case(lambda a, b: hsic.hsic(hsic.center(a), hsic.center(b)), one_by_one, (grams, grams), compiles=False)


def sums(size: float) -> Case:
    x, y = normal(round(2500 * size), 3), normal(round(2500 * size), 3, seed=1)
    return Case(backward(kernel_sums.kernel_sums), lambda x, y: (-torch.cdist(x, y).square() / 2).exp().sum(1), (x, y))


def characteristics(size: float) -> Case:
    return Case(
        backward(lambda x, t: sum(characteristic.characteristic_function(x, t))),
        lambda x, t: sum(characteristic.by_definition(x, t)),
        (normal(round(512 * size), 128), normal(4096, 128, seed=1)),
    )


def teacher(size: float) -> Case:
    def single(x: Tensor, data: Tensor) -> Tensor:
        distances = x.square().sum(1, keepdim=True) - 2 * x @ data.mT + data.square().sum(1)
        return (-distances / (2 * 0.25)).softmax(1) @ data

    inputs = normal(round(128 * size), 64), normal(10_000, 64, seed=1)
    return Case(backward(lambda x, data: mixture.mixture_score(x, data, sigma=0.5).x0), single, inputs)


CASES: dict[str, Callable[[float], Case]] = {
    "divergence: forward KL, 32,000 classes, T = 4": forward_kl,
    "divergence: forward KL, 1,000 classes, T = 4": lambda size: forward_kl(size, 1000),
    "divergence: Jensen–Shannon, 32,000 classes": jensen,
    "linear_divergence: 1,024 rows, 16,000 classes": linear,
    "hsic: 50 × 50 layers, 256 examples": pairs,
    "kernel_sums: 10,000 × 10,000 points": sums,
    "characteristic: 2,048 points, 4,096 frequencies": characteristics,
    "mixture_score: 512 points, 10,000 data": teacher,
}
EAGER = dict.fromkeys(CASES, "the eager expression") | {
    "divergence: forward KL, 32,000 classes, T = 4": "log_softmax, softmax, kl_div",
    "divergence: forward KL, 1,000 classes, T = 4": "log_softmax, softmax, kl_div",
    "divergence: Jensen–Shannon, 32,000 classes": "softmax, log, kl_div",
    "linear_divergence: 1,024 rows, 16,000 classes": "all logits at once",
    "hsic: 50 × 50 layers, 256 examples": "pair by pair",
    "kernel_sums: 10,000 × 10,000 points": "the whole matrix",
    "mixture_score: 512 points, 10,000 data": "squares and products in single precision, which loses digits",
}
TIME = dict.fromkeys(list(CASES)[:3], 0.5) | {"hsic: 50 × 50 layers, 256 examples": 0.2}
MEMORY = dict.fromkeys(list(CASES)[:3], 0.5) | {"kernel_sums: 10,000 × 10,000 points": 0.1}


def peak(name: str, which: str, size: float) -> float:
    """Most resident memory of one run over what the process held with its inputs, in MiB."""
    command = [sys.executable, __file__, "--memory", json.dumps([name, which, size])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout)


def _peak(name: str, which: str, size: float) -> float:
    torch.set_num_threads(THREADS)
    few, case = CASES[name](1 / 64), CASES[name](size)
    getattr(few, which)(*few.inputs)  # libraries load, threads start
    run, inputs = getattr(case, which), case.inputs
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts at what is held now
    held = resident("VmRSS")
    run(*inputs)
    return max(0.1, resident("VmHWM") - held)


def resident(name: str) -> float:
    """MiB, as Linux counts them."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def compiled(what: str, case: Case, quick: bool) -> dict:
    """Against torch.compile of the eager expression, where there is a compiler."""
    what = f"{what}: time over that of torch.compile"
    if quick:
        return row(what, "not measured", "")
    try:
        torch._dynamo.reset()
        theirs = backward(torch.compile(case.expression))
        ours, other = in_turn(partial(case.mine, *case.inputs), partial(theirs, *case.inputs), 5)
    except Exception as error:  # noqa: BLE001 - whatever this machine's compiler lacks
        return row(f"{what}: {type(error).__name__}", "not measured", "")
    return row(what, ours / other, "×")


def keops(quick: bool) -> dict:
    """Against PyKeOps, where it is installed and builds."""
    what = f"kernel_sums, values ({THREADS} threads): time over that of PyKeOps"
    try:
        from pykeops.torch import LazyTensor

        x, y = normal(2500 if quick else 10_000, 3), normal(2500 if quick else 10_000, 3, seed=1)

        def theirs() -> Tensor:
            apart = LazyTensor(x[:, None].contiguous()) - LazyTensor(y[None].contiguous())
            return (-(apart**2).sum(-1) / 2).exp().sum(1)

        ours, other = in_turn(lambda: kernel_sums.kernel_sums(x, y), theirs, 5)
    except Exception as error:  # noqa: BLE001 - it compiles when it is used
        return row(f"{what}: {type(error).__name__}", "not measured", "")
    return row(what, ours / other, "×")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="smaller sizes")
    parser.add_argument("--memory", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        print(_peak(*json.loads(options.memory)))
        sys.exit()
    import run as bench

    print(bench.table({"kernels": rows(options.quick)}, {}))
