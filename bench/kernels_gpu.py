"""The fused kernels on a GPU: right first, then how near the machine's limits and how far ahead of the alternatives.

Times are medians of `triton.testing.do_bench`, which empties the cache before every run; memory is the allocator's peak
over what was there before. The limits are measured too: the bandwidth of a large copy, the rate of a large product.
"""

import importlib.util
import time
from collections.abc import Callable

import torch
from bench_kernels import backward, row, textbook, textbook_jensen
from torch import Tensor

from workbench.kernels import augment as augmenting
from workbench.kernels import characteristic, dispatch, divergence, hsic, kernel_sums, linear_divergence, mixture
from workbench.kernels.divergence_rows import KINDS, Kind, expression, gradient

GIBIBYTE = 2**30
DEVICE = "cuda"


def normal(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator(DEVICE).manual_seed(seed), device=DEVICE).to(dtype)


def check() -> None:
    """Raise unless every fused kernel agrees with its reference in float64, values and gradients."""
    assert dispatch.available(), "Triton is not installed"
    from workbench.kernels.fused import divergence as fused

    started = time.perf_counter()
    for n, classes in ((1, 1), (7, 10), (33, 1000), (5, 16_384), (3, 50_257), (2, 262_144)):
        for dtype, tolerance in ((torch.float32, 1e-5), (torch.bfloat16, 1e-2), (torch.float16, 2e-3)):
            s, t = (normal(n, classes, dtype=dtype, seed=i) * 3 for i in range(2))
            up = normal(n, seed=2)
            for name in KINDS:
                kind = Kind(name, 0.3, 2.0, 1.5)
                values, stored = fused.forward(s, t, kind)
                slopes = fused.backward(s, t, kind, stored, up)
                wide = s.double(), t.double()
                close(f"{name} {n}×{classes} {dtype}", values, expression(*wide, kind), 1e-5)
                close(f"{name} {n}×{classes} {dtype} gradient", slopes, up[:, None] * gradient(*wide, kind), tolerance)
    huge = normal((1 << 13) + 3, 1 << 18, dtype=torch.bfloat16)  # more than 2³¹ elements
    values, _ = fused.forward(huge, huge.flip(0)[: len(huge)], Kind("forward", 0, 1.0, 1.0))
    close(
        "2³¹ elements",
        values[-2:],
        expression(huge[-2:].double(), huge[:2].flip(0).double(), Kind("forward", 0, 1.0, 1.0)),
        1e-5,
    )
    del huge
    x, y, w = normal(700, 9), normal(900, 9, seed=1), normal(900, 20, seed=2)
    for kernel in kernel_sums.KERNELS:
        agree(f"kernel_sums {kernel}", lambda x, y, w, k=kernel: kernel_sums.kernel_sums(x, y, w, kernel=k), x, y, w)
    agree(
        "characteristic",
        lambda x, t: sum(characteristic.characteristic_function(x, t)),
        normal(3000, 40),
        normal(500, 40, seed=1),
    )
    for spread in (0.0, 0.3):
        agree(
            "mixture_score",
            lambda x, m, s=spread: mixture.mixture_score(x, m, sigma=0.5, spread=s).x0,
            normal(100, 17),
            normal(5000, 17, seed=1),
            wrt=1,
        )
    agree(
        "linear_divergence",
        linear_divergence.linear_divergence,
        normal(100, 64),
        normal(5000, 64, seed=1),
        normal(100, 32),
        normal(5000, 32, seed=3),
        wrt=2,
    )
    agree("augment", lambda x: augmenting.augment(x, change(8)), normal(8, 3, 32, 32))
    print(f"every fused kernel agrees with its reference ({time.perf_counter() - started:.0f} s)", flush=True)


def close(what: str, mine: Tensor, exact: Tensor, tolerance: float) -> None:
    error = float((mine.double() - exact).abs().max() / exact.abs().max().clamp_min(0.1))
    assert error <= tolerance, f"{what}: relative error {error:.1e}, allowed {tolerance:.0e}"


def agree(what: str, run: Callable[..., Tensor], *inputs: Tensor, wrt: int | None = None) -> None:
    """The run in float32, which is fused, against itself in float64, which is not."""
    found = []
    for dtype in (torch.float32, torch.float64):
        given = [each.to(dtype) for each in inputs]
        learned = [each.requires_grad_() for each in given[:wrt]]
        value = run(*given)
        found.append((value.detach(), *torch.autograd.grad(value.square().sum(), learned)))
    for one, other in zip(*found, strict=True):
        close(what, one, other, 2e-5)


def change(n: int) -> augmenting.Change:
    eye = torch.tensor([[[0.95, -0.2, 0.05], [0.2, 0.95, 0.0]]], device=DEVICE).expand(n, 2, 3)
    whole = torch.tensor([[1, -2]], device=DEVICE).expand(n, 2)
    hole = torch.tensor([[4, 4, 20, 20]], device=DEVICE).expand(n, 4)
    color = torch.tensor([[0.1, 1.5, 0.8]], device=DEVICE).expand(n, 3)
    return augmenting.Change(color, whole, hole, torch.arange(n, device=DEVICE) % 2 == 0, eye)


def rows(quick: bool = False) -> list[dict]:
    device = torch.cuda.get_device_name()
    copy, product = ceilings()
    found = [
        row(f"{device}: a copy of 1 GiB", copy / 1e12, "TB/s"),
        row(f"{device}: a bf16 product of 8,192³", product / 1e12, "TFLOP/s"),
    ]
    for part in (divergences, linear, pairs, sums, characteristics, teachers, images, ensemble):
        try:
            found += part(copy, product, quick)
        except (ImportError, torch.cuda.OutOfMemoryError) as error:
            found.append(row(f"{part.__name__}: {type(error).__name__}", "not measured", ""))
        torch.cuda.empty_cache()
    return found


def ceilings() -> tuple[float, float]:
    a = torch.empty(GIBIBYTE // 4, device=DEVICE)
    b = torch.empty_like(a)
    one = normal(8192, 8192, dtype=torch.bfloat16)
    return 2 * GIBIBYTE / seconds(lambda: b.copy_(a)), 2 * 8192**3 / seconds(lambda: one @ one)


def seconds(run: Callable[[], object]) -> float:
    from triton.testing import do_bench

    return do_bench(run, warmup=20, rep=100, quantiles=[0.5]) / 1e3


def peak(run: Callable[[], object]) -> float:
    """GiB over what was allocated before."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    run()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / GIBIBYTE


def against(
    what: str, mine: Callable[[], object], others: dict[str, Callable[[], object]], targets: dict[str, float]
) -> list[dict]:
    taken = seconds(mine)
    found = [row(what, 1e3 * taken, "ms")]
    for name, other in others.items():
        try:
            ratio = seconds(other) / taken
        except Exception as error:  # noqa: BLE001 - a library that does not take this is not a failure of ours
            found.append(row(f"{what}: times faster than {name}: {type(error).__name__}", "not measured", ""))
            continue
        target = targets.get(name)
        met = None if target is None else ratio >= target
        found.append(row(f"{what}: times faster than {name}", ratio, "×", f"≥ {target:g}" if target else "", met))
    return found


def divergences(copy: float, product: float, quick: bool) -> list[dict]:  # noqa: ARG001
    found = []
    for n, classes, dtype in (
        (8192, 32_000, torch.bfloat16),
        (2048, 128_256, torch.bfloat16),
        (65_536, 1000, torch.float32),
    ):
        s, t = normal(n, classes, dtype=dtype).requires_grad_(), normal(n, classes, dtype=dtype, seed=1)
        for name, mine, book in (
            ("forward KL", divergence.forward_kl, lambda s, t: textbook(s, t, 1.0)),
            ("Jensen–Shannon", divergence.jensen_shannon, lambda s, t: textbook_jensen(s, t, 1.0)),
        ):
            what = f"divergence: {name}, {n:,} × {classes:,} {str(dtype).removeprefix('torch.')}"
            run, eager = backward(mine), backward(lambda s, t, book=book: book(s.float(), t.float()))
            others = {"eager": lambda eager=eager, s=s, t=t: eager(s, t)}
            if not quick and classes == 32_000:
                built = backward(torch.compile(lambda s, t, book=book: book(s.float(), t.float())))
                others["torch.compile"] = lambda built=built, s=s, t=t: built(s, t)
            if importlib.util.find_spec("liger_kernel"):
                others["Liger"] = liger(name, s, t)
            found += against(what, lambda run=run, s=s, t=t: run(s, t), others, {"eager": 3, "Liger": 1.3})
            # Moved: both logits twice, a third time where a row is longer than a tile; the gradient.
            passes = 5 if classes <= 16_384 or name == "forward KL" else 7
            rate = passes * s.numel() * s.element_size() / (found[-1 - len(others)]["value"] / 1e3)
            found.append(row(f"{what}: share of copy bandwidth", rate / copy, "", "≥ 0.8", rate >= 0.8 * copy))
            memory = peak(lambda run=run, s=s, t=t: run(s, t)), peak(others["eager"])
            found.append(
                row(
                    f"{what}: peak memory over eager's",
                    memory[0] / memory[1],
                    "×",
                    "≤ 0.333",
                    memory[0] <= memory[1] / 3,
                )
            )
    if not importlib.util.find_spec("liger_kernel"):
        found.append(row("divergence: times faster than Liger (not installed)", "not measured", ""))
    return found


def liger(name: str, s: Tensor, t: Tensor) -> Callable[[], object]:
    """Liger's kernels take log-probabilities; making them is part of the work."""
    from liger_kernel.transformers import LigerJSD, LigerKLDIVLoss

    if name == "forward KL":
        loss = LigerKLDIVLoss(reduction="batchmean")
        run = backward(lambda s, t: loss(s.float().log_softmax(-1), t.float().softmax(-1)))
    else:
        loss = LigerJSD()
        run = backward(lambda s, t: loss(s.float().log_softmax(-1), t.float().log_softmax(-1)))
    return lambda: run(s, t)


def linear(copy: float, product: float, quick: bool) -> list[dict]:  # noqa: ARG001
    rows_, classes, width = (2048, 32_000, 1024) if quick else (32_768, 131_072, 2048)
    h, ht = (normal(rows_, width, dtype=torch.bfloat16, seed=i).mul_(0.05) for i in range(2))
    W, Wt = (normal(classes, width, dtype=torch.bfloat16, seed=i + 2) for i in range(2))
    h.requires_grad_(), W.requires_grad_()

    def mine() -> tuple[Tensor, ...]:
        value = linear_divergence.linear_divergence(h, W, ht, Wt, divergence="jensen_shannon")
        return torch.autograd.grad(value, (h, W))

    what = f"linear_divergence: {rows_:,} rows × {classes:,} classes × {width:,}, bf16, JS"
    held = sum(each.numel() * 2 for each in (h, ht, W, Wt)) / GIBIBYTE
    memory = peak(mine) + held
    others = {}
    if importlib.util.find_spec("liger_kernel"):
        from liger_kernel.transformers.fused_linear_jsd import LigerFusedLinearJSD

        loss = LigerFusedLinearJSD()
        others["Liger"] = lambda: torch.autograd.grad(loss(h, W, ht, Wt), (h, W))
    found = against(what, mine, others, {"Liger": 1.2})
    rate = 8 * rows_ * classes * width / (found[0]["value"] / 1e3)
    found.append(row(f"{what}: share of a product's rate", rate / product, ""))
    found.append(row(f"{what}: peak memory, inputs included", memory, "GiB", "≤ 8", memory <= 8))
    if not others:
        found.append(row(f"{what}: times faster than Liger (not installed)", "not measured", ""))
    return found


def pairs(copy: float, product: float, quick: bool) -> list[dict]:  # noqa: ARG001
    layers = 10 if quick else 50
    grams = torch.stack([hsic.gram(normal(512, 128, seed=i)) for i in range(layers)])

    def one_by_one() -> Tensor:
        return torch.stack([hsic.hsic(hsic.center(a[None]), hsic.center(b[None]))[0, 0] for a in grams for b in grams])

    what = f"hsic: {layers} × {layers} layers, 512 examples"
    return against(
        what,
        lambda: hsic.hsic(hsic.center(grams), hsic.center(grams)),
        {"pair by pair": one_by_one},
        {"pair by pair": 5},
    )


def sums(copy: float, product: float, quick: bool) -> list[dict]:  # noqa: ARG001
    found = []
    for n, d in ((20_000, 3), (20_000, 64)):
        x, y = normal(n, d), normal(n, d, seed=1)

        def expression(x: Tensor, y: Tensor) -> Tensor:
            return (-torch.cdist(x, y).square() / (2 * 9.0)).exp().sum(1)

        mine, eager = backward(lambda x, y: kernel_sums.kernel_sums(x, y, bandwidth=3.0)), backward(expression)
        others = {"eager": lambda x=x, y=y, eager=eager: eager(x, y)}
        if not quick and d == 3:
            built = backward(torch.compile(expression))
            others["torch.compile"] = lambda x=x, y=y, built=built: built(x, y)
        if importlib.util.find_spec("pykeops"):
            from pykeops.torch import LazyTensor

            lazy = backward(
                lambda x, y: (-((LazyTensor(x[:, None]) - LazyTensor(y[None])) ** 2).sum(-1) / 18).exp().sum(1)
            )
            others["PyKeOps"] = lambda x=x, y=y, lazy=lazy: lazy(x, y)
        what = f"kernel_sums: {n:,} × {n:,} points of {d}, rbf"
        found += against(what, lambda x=x, y=y, mine=mine: mine(x, y), others, {})
        found.append(row(f"{what}: peak memory", 1024 * peak(lambda x=x, y=y, mine=mine: mine(x, y)), "MiB"))
    if not importlib.util.find_spec("pykeops"):
        found.append(row("kernel_sums: times faster than PyKeOps (not installed)", "not measured", ""))
    return found


def characteristics(copy: float, product: float, quick: bool) -> list[dict]:  # noqa: ARG001
    x, t = normal(10_240, 512), normal(4096, 512, seed=1)
    mine = backward(lambda x, t: sum(characteristic.characteristic_function(x, t)))
    eager = backward(lambda x, t: sum(characteristic.by_definition(x, t)))
    return against(
        "characteristic: 10,240 points of 512, 4,096 frequencies",
        lambda: mine(x, t),
        {"eager": lambda: eager(x, t)},
        {},
    )


def teachers(copy: float, product: float, quick: bool) -> list[dict]:  # noqa: ARG001
    found = []
    for n, m, d in ((4096, 50_000, 2), (4096, 50_000, 64)):
        x, data = normal(n, d), normal(m, d, seed=1)
        mine = backward(lambda x, data: mixture.mixture_score(x, data, sigma=0.5).x0)
        eager = backward(lambda x, data: (-torch.cdist(x, data).square() / 0.5).softmax(1) @ data)
        what = f"mixture_score: {n:,} points of {d}, {m:,} data"
        found += against(
            what,
            lambda x=x, data=data, mine=mine: mine(x, data),
            {"eager": lambda x=x, data=data, eager=eager: eager(x, data)},
            {},
        )
    return found


def images(copy: float, product: float, quick: bool) -> list[dict]:  # noqa: ARG001
    n = 8192
    x, told = normal(n, 3, 32, 32), change(n)
    mine, eager = backward(lambda x: augmenting.augment(x, told)), backward(lambda x: augmenting.by_definition(x, told))
    what = f"augment: {n:,} images of 3 × 32 × 32, all of it"
    found = against(what, lambda: mine(x), {"eager": lambda: eager(x)}, {})
    rate = 5 * x.numel() * 4 / (found[0]["value"] / 1e3)
    return [*found, row(f"{what}: share of copy bandwidth", rate / copy, "", "≥ 0.8", rate >= 0.8 * copy)]


def ensemble(copy: float, product: float, quick: bool) -> list[dict]:  # noqa: ARG001
    import bench_ensemble

    import workbench as wb

    together, apart = bench_ensemble.times(
        "convnet", 32, {}, wb.data.load("digits"), epochs=1 if quick else 2, rounds=1
    )
    return [
        row(
            "ensemble: 32 ConvNets as one: times faster than one by one",
            apart / together,
            "×",
            "≥ 8",
            apart >= 8 * together,
        )
    ]
