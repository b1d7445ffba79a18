"""The fused kernels on a GPU: right first, then how near the machine's limits and how far ahead of the alternatives.

    python bench/kernels_gpu.py [--minutes 8] [--only NAME …] [--out FOLDER]
    TRITON_INTERPRET=1 python bench/kernels_gpu.py --dry     everything at tiny sizes in the interpreter, no figures

Needs torch and triton, no network and no installed package. Each part (a kernel's checks and timings) runs in a process
of its own with a share of the time, so that one that fails, or breaks the GPU's context, costs its own rows only.
Writes BENCHMARKS-GPU.md and the same rows as BENCHMARKS-GPU.json. Fails if a check does.

Times are medians of `triton.testing.do_bench`, which empties the cache before every run; memory is the allocator's peak
over what was there before. The limits are measured too: the bandwidth of a large copy, the rate of a large product.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # bench_kernels makes a bare checkout importable

import torch
from bench_kernels import backward, row, textbook, textbook_jensen
from run import table, table_lines
from torch import Tensor

from workbench.kernels import augment as augmenting
from workbench.kernels import characteristic, dispatch, divergence, hsic, kernel_sums, linear_divergence, mixture
from workbench.kernels.divergence_rows import KINDS, Kind, expression, gradient
from workbench.kernels.sparse_rows import Sparse

HERE = Path(__file__).resolve().parent
GIBIBYTE = 2**30
DRY = "--dry" in sys.argv
DEVICE = "cpu" if DRY else "cuda"
REPORT = "BENCHMARKS-GPU"

Run = Callable[[], object]
Rows = list[dict]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=8.0, help="ends in this time, whatever is left (default 8)")
    parser.add_argument("--only", nargs="*", choices=[*PARTS], default=[*PARTS], metavar="NAME", help=", ".join(PARTS))
    parser.add_argument("--out", type=Path, default=HERE.parent, help="folder of the report")
    parser.add_argument("--dry", action="store_true", help="tiny sizes in Triton's interpreter, without timing")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--limits", type=json.loads, default=[1.0, 1.0], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        print("\n" + json.dumps(PARTS[options.part](*options.limits)))
        return 0
    missing = ready()
    if missing:
        print(missing, file=sys.stderr)
        return 2
    until = time.monotonic() + 60 * options.minutes
    found = measured(options.only, until)
    write(found, options.out)
    wrong = [one["name"] for one in found if one["met"] is False and one["name"].startswith("check")]
    print(f"\n{len(wrong)} checks failed" + "".join(f"\n  {name}" for name in wrong))
    return 1 if wrong else 0


def ready() -> str:
    """What is missing, empty where nothing is."""
    if DRY:
        return "" if dispatch.INTERPRETED else "--dry runs in Triton's interpreter: set TRITON_INTERPRET=1"
    if not torch.cuda.is_available():
        return "there is no GPU that torch sees; --dry runs everything at tiny sizes without one"
    return "" if dispatch.available() else "Triton is not installed"


def measured(only: list[str], until: float) -> Rows:
    """The rows of all parts, each from a process of its own; in this one where nothing is timed."""
    name = "dry run" if DRY else torch.cuda.get_device_name()
    copy, product = (1.0, 1.0) if DRY else ceilings()
    torch.cuda.empty_cache()  # the parts' processes need it
    found = [
        row(f"{name}: a copy of 1 GiB", "not measured" if DRY else copy / 1e12, "" if DRY else "TB/s"),
        row(f"{name}: a bf16 product of 8,192³", "not measured" if DRY else product / 1e12, "" if DRY else "TFLOP/s"),
    ]
    for place, part in enumerate(only):
        started = time.monotonic()
        if DRY:
            found += unharmed(part)
        else:
            # Its share of what is left, and as much again: most parts need less than theirs.
            left = until - started
            found += apart(part, [copy, product], min(left, 2 * left / (len(only) - place)))
        print(f"{part}: {time.monotonic() - started:.0f} s", flush=True)
    return found


def unharmed(part: str) -> Rows:
    """A part's rows in this process, or one that says why there are none."""
    try:
        return PARTS[part](1.0, 1.0)
    except Exception as error:  # noqa: BLE001 - the others are to run
        return [row(f"check of {part}: {type(error).__name__}: {error}", "failed", "", "runs", met=False)]


def apart(part: str, limits: list[float], seconds_left: float) -> Rows:
    """A part's rows, or one that says why there are none."""
    command = [sys.executable, str(Path(__file__).resolve()), "--part", part, "--limits", json.dumps(limits)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=max(1.0, seconds_left))
    except subprocess.TimeoutExpired:
        return [row(f"{part}: out of time after {seconds_left:.0f} s", "not measured", "")]
    if done.returncode:
        print(done.stderr[-4000:], file=sys.stderr)
        why = done.stderr.strip().rpartition("\n")[2][:200]
        return [row(f"check of {part}: {why}", "failed", "", "runs", met=False)]
    return json.loads(done.stdout.strip().rpartition("\n")[2])


def write(found: Rows, folder: Path) -> None:
    versions = {name: version(name) for name in ("torch", "triton", "liger-kernel", "pykeops")}
    told = ", ".join(f"{name} {number}" for name, number in versions.items())
    lines = table(table_lines({"kernels": found}, {}))
    if DRY:
        heading = "# A dry run\n\nIn Triton's interpreter, at tiny sizes: nothing here is a measurement."
    else:
        heading = f"# Kernels on {torch.cuda.get_device_name()}\n\nMeasured {datetime.now(UTC):%Y-%m-%d}."
    text = f"{heading} Written by `python bench/kernels_gpu.py`; {told}; Python {sys.version.split()[0]}.\n\n{lines}\n"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{REPORT}.md").write_text(text, encoding="utf-8")
    (folder / f"{REPORT}.json").write_text(json.dumps({"versions": versions, "rows": found}, indent=1), "utf-8")
    print("\n" + lines)


def version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def rows(quick: bool = False) -> Rows:
    """For `bench_kernels`: all of it, or in half the time."""
    return measured([*PARTS], time.monotonic() + (240 if quick else 480))


# Measuring.


def full(size: int, tiny: int) -> int:
    return tiny if DRY else size


def normal(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator(DEVICE).manual_seed(seed), device=DEVICE).to(dtype)


def ceilings() -> tuple[float, float]:
    """Bytes per second of a copy, operations per second of a product."""
    a = torch.empty(GIBIBYTE // 4, device=DEVICE)
    b = torch.empty_like(a)
    one = normal(8192, 8192, dtype=torch.bfloat16)
    return 2 * GIBIBYTE / seconds(lambda: b.copy_(a)), 2 * 8192**3 / seconds(lambda: one @ one)


def seconds(run: Run) -> float:
    if DRY:
        run()
        return 1.0
    from triton.testing import do_bench

    return float(do_bench(run, warmup=20, rep=100, quantiles=[0.5])) / 1e3


def peak(run: Run) -> float:
    """GiB over what was allocated before."""
    if DRY:
        run()
        return 1.0
    run()  # what it keeps for the next time is not its peak
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    run()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / GIBIBYTE


def figure(name: str, value: float, unit: str, least: float | None = None, most: float | None = None) -> dict:
    """A measured row; of a dry run, that it was not."""
    target = f"≥ {least:g}" if least is not None else f"≤ {most:g}" if most is not None else ""
    if DRY:
        return row(name, "not measured", "", target)
    met = value >= least if least is not None else value <= most if most is not None else None
    return row(name, value, unit, target, met)


def checked(name: str, run: Callable[[], None], right: str = "the reference in float64") -> Rows:
    """A row that says that a check held, or what it found."""
    try:
        run()
    except torch.cuda.OutOfMemoryError as error:
        return [row(f"check of {name}: {type(error).__name__}", "not measured", "")]
    except Exception as error:  # noqa: BLE001 - the others are to run
        return [row(f"check of {name}: {type(error).__name__}: {str(error)[:200]}", "failed", "", "agrees", met=False)]
    return [row(f"check of {name} against {right}", "agrees", "", "agrees", met=True)]


def close(mine: Tensor, exact: Tensor, tolerance: float, what: str = "") -> None:
    error = float((mine.double() - exact).abs().max() / exact.abs().max().clamp_min(0.1))
    if not error <= tolerance:
        raise AssertionError(f"{what} relative error {error:.1e}, allowed {tolerance:.0e}".strip())


def agree(run: Callable[..., Tensor], *inputs: Tensor, learned: int | None = None) -> None:
    """The run in float32, which is fused, against itself in float64, which is not: value, gradients, twice the same."""
    found = []
    for dtype in (torch.float32, torch.float32, torch.float64):
        given = [each.detach().to(dtype).requires_grad_(at < (learned or 99)) for at, each in enumerate(inputs)]
        value = run(*given)
        found.append((value.detach(), *torch.autograd.grad(value.square().sum(), given[:learned])))
    for one, again, other in zip(*found, strict=True):
        close(one, other, 2e-5)
        if not torch.equal(one, again):
            raise AssertionError("two runs differ")


def against(what: str, mine: Run, others: dict[str, Run], targets: dict[str, float]) -> tuple[Rows, float]:
    """Rows of our time and of the times by which it is faster, and our seconds."""
    taken = seconds(mine)
    found = [figure(what, 1e3 * taken, "ms")]
    for name, other in others.items():
        try:
            ratio = seconds(other) / taken
        except Exception as error:  # noqa: BLE001 - what a library does not take, or has no memory for, is no failure of ours
            found.append(row(f"{what}: times faster than {name}: {type(error).__name__}", "not measured", ""))
            torch.cuda.empty_cache()
            continue
        found.append(figure(f"{what}: times faster than {name}", ratio, "×", least=targets.get(name)))
    return found, taken


def eager_and_compiled(run: Callable[..., Tensor], *inputs: Tensor) -> dict[str, Run]:
    """The expression as it is, and compiled."""
    eager = backward(run)
    found: dict[str, Run] = {"eager": lambda: eager(*inputs)}
    if not DRY:
        torch._dynamo.reset()
        built = backward(torch.compile(run))
        found["torch.compile"] = lambda: built(*inputs)
    return found


def has(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def bandwidth(what: str, copy: float, taken: float, moved: float, must: float) -> Rows:
    """Bytes moved and bytes that anything would have to move, as shares of a copy's bandwidth."""
    return [
        figure(f"{what}: bytes moved per second", moved / taken / 1e12, "TB/s"),
        figure(f"{what}: share of copy bandwidth", moved / taken / copy, "", least=0.8),
        figure(f"{what}: share of it, counting what must be moved only", must / taken / copy, ""),
    ]


# The parts: checks and figures of each kernel.


def divergences(copy: float, product: float) -> Rows:  # noqa: ARG001
    found = checked("divergence, seven kinds, three precisions, 1 to 262,144 classes", check_divergences)
    found += checked("divergence of more than 2³¹ elements", check_huge)
    found += checked("a sparse teacher", check_sparse)
    sizes = ((8192, 32_000, torch.bfloat16), (2048, 128_256, torch.bfloat16), (65_536, 1000, torch.float32))
    for n, classes, dtype in ((full(n, 2), full(classes, 40), dtype) for n, classes, dtype in sizes):
        s, t = normal(n, classes, dtype=dtype), normal(n, classes, dtype=dtype, seed=1)
        for name, verb, book in (
            ("forward KL", divergence.forward_kl, lambda s, t: textbook(s.float(), t.float(), 1.0)),
            ("Jensen–Shannon", divergence.jensen_shannon, lambda s, t: textbook_jensen(s.float(), t.float(), 1.0)),
        ):
            what = f"divergence: {name}, {n:,} × {classes:,} {str(dtype).removeprefix('torch.')}"
            mine, others = backward(verb), eager_and_compiled(book, s, t)
            if has("liger_kernel"):
                others["Liger"] = liger(name, s, t)
            rows_, taken = against(what, lambda: mine(s, t), others, {"eager": 3, "Liger": 1.3})  # noqa: B023
            found += rows_
            # Both logits are read twice, a third time where a row is longer than a tile; the gradient is written.
            size = s.numel() * s.element_size()
            found += bandwidth(
                what, copy, taken, (5 if classes <= 16_384 or name == "forward KL" else 7) * size, 3 * size
            )
            memory = peak(lambda: mine(s, t)), peak(others["eager"])  # noqa: B023
            found.append(figure(f"{what}: peak memory", memory[0], "GiB"))
            found.append(figure(f"{what}: peak memory over eager's", memory[0] / memory[1], "×", most=1 / 3))
    return [*found, *absent("divergence", "liger_kernel", "Liger")]


def absent(what: str, package: str, name: str) -> Rows:
    return [] if has(package) else [row(f"{what}: times faster than {name} (not installed)", "not measured", "")]


def check_divergences() -> None:
    from workbench.kernels.fused import divergence as fused

    sizes = ((1, 1), (7, 10), (33, 1000), (5, 16_384), (3, 50_257), (2, 262_144))
    for n, classes in ((1, 1), (3, 10)) if DRY else sizes:
        for dtype, tolerance in ((torch.float32, 1e-5), (torch.bfloat16, 1e-2), (torch.float16, 2e-3)):
            s, t = (normal(n, classes, dtype=dtype, seed=i) * 3 for i in range(2))
            up = normal(n, seed=2)
            for name in KINDS:
                kind, what = Kind(name, 0.3, 2.0, 1.5), f"{name} {n}×{classes} {dtype}"
                values, stored = fused.forward(s, t, kind)
                slopes = fused.backward(s, t, kind, stored, up)
                wide = s.double(), t.double()
                close(values, expression(*wide, kind), 1e-5, what)
                close(slopes, up[:, None] * gradient(*wide, kind), tolerance, f"{what} gradient")


def check_huge() -> None:
    from workbench.kernels.fused import divergence as fused

    kind = Kind("skew", 0.1, 1.0, 1.0)
    s = normal(full((1 << 13) + 3, 5), full(1 << 18, 8), dtype=torch.bfloat16)
    t = s.flip(0)
    values, sums = fused.forward(s, t, kind)
    last = s[-2:].double(), t[-2:].double()
    close(values[-2:], expression(*last, kind), 1e-5)
    up = torch.ones(len(s), device=DEVICE)
    slopes = fused.backward(s, t, kind, sums, up, out=s)  # where the logits lie: there is no room for more
    close(slopes[-2:], gradient(*last, kind), 1e-2)


def check_sparse() -> None:
    teacher = Sparse.of(normal(full(50, 3), full(50_257, 30), seed=1), full(64, 4))

    def run(student: Tensor) -> Tensor:
        told = Sparse(teacher.ids, teacher.values.to(student.dtype), teacher.tail.to(student.dtype))
        return divergence.reverse_kl(student, told)

    agree(run, normal(full(50, 3), full(50_257, 30)))


def liger(name: str, s: Tensor, t: Tensor) -> Run:
    """Liger's kernels take log-probabilities; making them is part of the work."""
    from liger_kernel.transformers import LigerJSD, LigerKLDIVLoss

    if name == "forward KL":
        loss = LigerKLDIVLoss(reduction="batchmean")
        run = backward(lambda s, t: loss(s.float().log_softmax(-1), t.float().softmax(-1)))
    else:
        loss = LigerJSD()
        run = backward(lambda s, t: loss(s.float().log_softmax(-1), t.float().log_softmax(-1)))
    return lambda: run(s, t)


def linear(copy: float, product: float) -> Rows:  # noqa: ARG001
    found = checked("linear_divergence", check_linear)
    n, classes, width = full(32_768, 4), full(131_072, 20), full(2048, 8)
    h, ht = (normal(n, width, dtype=torch.bfloat16, seed=i).mul_(0.05).requires_grad_(i == 0) for i in range(2))
    W, Wt = (normal(classes, width, dtype=torch.bfloat16, seed=i + 2).requires_grad_(i == 0) for i in range(2))

    def mine() -> tuple[Tensor, ...]:
        value = linear_divergence.linear_divergence(h, W, ht, Wt, divergence="jensen_shannon")
        return torch.autograd.grad(value, (h, W))

    what = f"linear_divergence: {n:,} rows × {classes:,} classes × {width:,}, bf16, JS"
    others: dict[str, Run] = {}
    if has("liger_kernel"):
        from liger_kernel.transformers.fused_linear_jsd import LigerFusedLinearJSD

        loss = LigerFusedLinearJSD()
        others["Liger"] = lambda: torch.autograd.grad(loss(h, W, ht, Wt), (h, W))
    rows_, taken = against(what, mine, others, {"Liger": 1.2})
    rate = 8 * n * classes * width / taken  # four products: two heads, two gradients
    held = sum(each.numel() * each.element_size() for each in (h, ht, W, Wt)) / GIBIBYTE
    return [
        *found,
        *rows_,
        figure(f"{what}: operations per second", rate / 1e12, "TFLOP/s"),
        figure(f"{what}: share of a product's rate", rate / product, ""),
        figure(f"{what}: peak memory, inputs included", peak(mine) + held, "GiB", most=8),
        *absent("linear_divergence", "liger_kernel", "Liger"),
    ]


def check_linear() -> None:
    shapes = ((full(100, 5), 64), (full(5000, 30), 64), (full(100, 5), 32), (full(5000, 30), 32))
    inputs = [normal(*shape, seed=seed) for seed, shape in enumerate(shapes)]
    for name in ("forward_kl", "jensen_shannon", "skew_reverse_kl"):
        agree(
            lambda *given, name=name: linear_divergence.linear_divergence(*given, divergence=name), *inputs, learned=2
        )


def pairs(copy: float, product: float) -> Rows:  # noqa: ARG001
    layers, n = full(50, 3), full(512, 8)
    grams = torch.stack([hsic.gram(normal(n, full(128, 4), seed=i)) for i in range(layers)])

    def mine() -> Tensor:
        centred = hsic.center(grams)
        return hsic.hsic(centred, centred)

    def one_by_one() -> Tensor:
        return torch.stack([hsic.hsic(hsic.center(a[None]), hsic.center(b[None]))[0, 0] for a in grams for b in grams])

    def check() -> None:
        wide = hsic.center(grams.double())
        close(mine(), hsic.hsic(wide, wide), 2e-5)
        close(one_by_one(), hsic.hsic(wide, wide).flatten(), 2e-5)

    what = f"hsic: {layers} × {layers} layers, {n} examples"
    rows_, taken = against(what, mine, {"pair by pair": one_by_one}, {"pair by pair": 5})
    rate = 2 * layers**2 * n**2 / taken
    memory = figure(f"{what}: peak memory", 1024 * peak(mine), "MiB")
    return [*checked("hsic", check), *rows_, figure(f"{what}: operations per second", rate / 1e12, "TFLOP/s"), memory]


def sums(copy: float, product: float) -> Rows:  # noqa: ARG001
    found = checked("kernel_sums, four kernels", check_sums)
    for n, d in ((full(20_000, 20), 3), (full(20_000, 20), 64)):
        x, y = normal(n, d), normal(n, d, seed=1)

        def whole(x: Tensor, y: Tensor) -> Tensor:
            return (-torch.cdist(x, y).square() / (2 * 9.0)).exp().sum(1)

        mine, others = (
            backward(lambda x, y: kernel_sums.kernel_sums(x, y, bandwidth=3.0)),
            eager_and_compiled(whole, x, y),
        )
        if has("pykeops") and not DRY:
            others["PyKeOps"] = keops(x, y)
        what = f"kernel_sums: {n:,} × {n:,} points of {d}, rbf, with gradient"
        rows_, taken = against(what, lambda: mine(x, y), others, {})  # noqa: B023
        # Twice for a pair: its distance (3 d), its exponential, its share of the sums (1 + d + 1 columns).
        rate = (2 * 3 * d + 2 * (d + 2)) * n * n / taken
        memory = 1024 * peak(lambda: mine(x, y))  # noqa: B023
        found += [*rows_, figure(f"{what}: operations per second", rate / 1e12, "TFLOP/s")]
        found.append(figure(f"{what}: peak memory", memory, "MiB", most=n * n * 4 / 2**20 / 10))
    return [*found, *absent("kernel_sums", "pykeops", "PyKeOps")]


def check_sums() -> None:
    n, m = full(700, 20), full(900, 30)
    inputs = normal(n, 9), normal(m, 9, seed=1), normal(m, full(20, 2), seed=2), torch.tensor(1.3, device=DEVICE)
    for kernel in kernel_sums.KERNELS:
        agree(lambda x, y, w, h, k=kernel: kernel_sums.kernel_sums(x, y, w, kernel=k, bandwidth=h), *inputs)


def keops(x: Tensor, y: Tensor) -> Run:
    from pykeops.torch import LazyTensor

    def run(x: Tensor, y: Tensor) -> Tensor:
        apart_ = LazyTensor(x[:, None].contiguous()) - LazyTensor(y[None].contiguous())
        return (-(apart_**2).sum(-1) / 18).exp().sum(1)

    both = backward(run)
    return lambda: both(x, y)


def characteristics(copy: float, product: float) -> Rows:  # noqa: ARG001
    n, d, K = full(10_240, 40), full(512, 8), full(4096, 20)
    x, t = normal(n, d), normal(K, d, seed=1)
    mine = backward(lambda x, t: sum(characteristic.characteristic_function(x, t)))

    def run(x: Tensor, t: Tensor) -> Tensor:
        return torch.stack(characteristic.characteristic_function(x, t))

    what = f"characteristic: {n:,} points of {d}, {K:,} frequencies, with gradient"
    others = eager_and_compiled(lambda x, t: sum(characteristic.by_definition(x, t)), x, t)
    rows_, taken = against(what, lambda: mine(x, t), others, {})
    rate = 3 * 2 * n * d * K / taken  # phases twice, and one gradient
    return [
        *checked("characteristic", lambda: agree(run, normal(full(3000, 30), 40), normal(full(500, 10), 40, seed=1))),
        *rows_,
        figure(f"{what}: operations per second", rate / 1e12, "TFLOP/s"),
        figure(f"{what}: share of a bf16 product's rate", rate / product, ""),
        figure(f"{what}: peak memory over all the phases'", peak(lambda: mine(x, t)) * GIBIBYTE / (4 * n * K), "×"),
    ]


def teachers(copy: float, product: float) -> Rows:  # noqa: ARG001
    found: Rows = []
    for spread in (0.0, 0.3):

        def run(x: Tensor, m: Tensor, spread: float = spread) -> Tensor:
            return mixture.mixture_score(x, m, sigma=0.5, spread=spread).x0

        inputs = normal(full(100, 5), 17), normal(full(5000, 70), 17, seed=1)
        found += checked(
            f"mixture_score, spread {spread}", lambda run=run, inputs=inputs: agree(run, *inputs, learned=1)
        )
    for n, m, d in ((4096, 50_000, 2), (4096, 50_000, 64)):
        x, data = normal(full(n, 5), d), normal(full(m, 70), d, seed=1)
        mine = backward(lambda x, data: mixture.mixture_score(x, data, sigma=0.5).x0)
        whole = eager_and_compiled(lambda x, y: (-torch.cdist(x, y).square() / 0.5).softmax(1) @ y, x, data)
        what = f"mixture_score: {len(x):,} points of {d}, {len(data):,} data, with gradient"
        found += against(what, lambda: mine(x, data), whole, {})[0]  # noqa: B023
        found.append(figure(f"{what}: peak memory", 1024 * peak(lambda: mine(x, data)), "MiB"))  # noqa: B023
    return found


def images(copy: float, product: float) -> Rows:  # noqa: ARG001
    n, side = full(8192, 2), full(32, 8)
    x, told = normal(n, 3, side, side), change(n)
    mine = backward(lambda x: augmenting.augment(x, told))
    what = f"augment: {n:,} images of 3 × {side} × {side}, all of it, with gradient"
    others = eager_and_compiled(lambda x: augmenting.by_definition(x, told), x)
    rows_, taken = against(what, lambda: mine(x), others, {})
    size = x.numel() * 4
    memory = figure(f"{what}: peak memory over the images", peak(lambda: mine(x)) * GIBIBYTE / size, "×")
    check = checked(
        "augment", lambda: agree(lambda x: augmenting.augment(x, change(len(x))), normal(full(8, 2), 3, side, side))
    )
    # Images read and written, once more for their means; as much for gradients, with the mean's share added last.
    return [*check, *rows_, *bandwidth(what, copy, taken, 7 * size, 5 * size), memory]


def change(n: int) -> augmenting.Change:
    affine = torch.tensor([[[0.95, -0.2, 0.05], [0.2, 0.95, 0.0]]], device=DEVICE).expand(n, 2, 3)
    shift = torch.tensor([[1, -2]], device=DEVICE).expand(n, 2)
    hole = torch.tensor([[4, 4, 20, 20]], device=DEVICE).expand(n, 4)
    color = torch.tensor([[0.1, 1.5, 0.8]], device=DEVICE).expand(n, 3)
    return augmenting.Change(color, shift, hole, torch.arange(n, device=DEVICE) % 2 == 0, affine)


def ensemble(copy: float, product: float) -> Rows:  # noqa: ARG001
    what = "ensemble: 32 ConvNets as one"
    try:
        import bench_ensemble

        import workbench as wb
        from workbench.training import ensemble as module

        data = wb.data.load("digits")
    except ImportError as error:
        return [row(f"{what}: {error}", "not measured", "")]
    members, epochs = full(32, 2), full(3, 1)
    data = data.subset(60) if DRY else data
    options = {"width": 4, "depth": 1} if DRY else {}
    together, alone = bench_ensemble.times("convnet", members, options, data, epochs=epochs, rounds=1)
    found = [
        figure(f"{what}: {epochs} epochs of digits", together, "s"),
        figure(f"{what}: times faster than one by one", alone / together, "×", least=8),
    ]
    # Without graphs: what replaying saves, and that it changes nothing but rounding.
    records = []
    for graphs in (True, False):
        kept = module.recording
        if not graphs:
            module.recording = lambda *_: None
        started = time.perf_counter()
        made = wb.training.Ensemble("convnet", data, seeds=range(members), **options)
        records.append(made.fit(data, epochs=epochs, progress=False))
        records[-1].append(time.perf_counter() - started)
        module.recording = kept

    def check() -> None:
        for one, other in zip(records[0][:-1], records[1][:-1], strict=True):
            for name, value in other.state.items():
                close(one.state[name], value.double(), 1e-3, name)

    found += checked("an ensemble's steps replayed as one CUDA graph", check, "the same steps sent one by one")
    ratio = records[1][-1] / records[0][-1]
    return [*found, figure(f"{what}: times faster for replaying its steps", ratio, "×")]


PARTS: dict[str, Callable[[float, float], Rows]] = {
    "divergence": divergences,
    "linear": linear,
    "hsic": pairs,
    "kernel_sums": sums,
    "characteristic": characteristics,
    "mixture": teachers,
    "augment": images,
    "ensemble": ensemble,
}


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    sys.exit(main())
