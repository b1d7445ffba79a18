"""What `kernels_gpu` checks and times of each fused kernel, and of ensembles and condensation on a GPU."""

import time
from collections.abc import Iterator

import torch
from bench_kernels import backward, row, textbook, textbook_jensen
from gpu_measuring import (
    DEVICE,
    DRY,
    GIBIBYTE,
    WARM,
    Part,
    Problem,
    Rows,
    Run,
    agree,
    bandwidth,
    checked,
    close,
    figure,
    full,
    normal,
    peak,
    pulled,
)
from torch import Tensor

from workbench.kernels import augment as augmenting
from workbench.kernels import characteristic, divergence, hsic, kernel_sums, linear_divergence, mixture
from workbench.kernels.divergence_rows import KINDS, Kind, expression, gradient
from workbench.kernels.sparse_rows import Sparse

LIMITS = [1.0, 1.0]
"""A copy's bytes per second and a bf16 product's operations per second, measured first."""


def divergences() -> Iterator[Problem]:
    sizes = ((8192, 32_000, torch.bfloat16), (2048, 128_256, torch.bfloat16), (65_536, 1000, torch.float32))
    for n, classes, dtype in ((full(n, 2), full(classes, 40), dtype) for n, classes, dtype in sizes):
        s, t = normal(n, classes, dtype=dtype), normal(n, classes, dtype=dtype, seed=1)
        for name, verb, book in (
            ("forward KL", divergence.forward_kl, lambda s, t: textbook(s.float(), t.float(), 1.0)),
            ("Jensen–Shannon", divergence.jensen_shannon, lambda s, t: textbook_jensen(s.float(), t.float(), 1.0)),
        ):
            what = f"divergence: {name}, {n:,} × {classes:,} {str(dtype).removeprefix('torch.')}"
            # Both logits are read twice, a third time where a row is longer than a tile; the gradient is written.
            moved = (5 if classes <= 16_384 or name == "forward KL" else 7) * s.numel() * s.element_size()
            yield _divergence(what, backward(verb), book, (s, t), moved, name)


def _divergence(what: str, both, book, given: tuple[Tensor, Tensor], moved: int, name: str) -> Problem:
    size = given[0].numel() * given[0].element_size()
    plain = backward(book)

    def mine() -> object:
        return both(*given)

    def more(taken: float) -> Rows:
        yield from bandwidth(what, LIMITS[0], taken, moved, 3 * size)
        memory = peak(mine), peak(lambda: plain(*given))
        yield figure(f"{what}: peak memory", memory[0], "GiB")
        yield figure(f"{what}: peak memory over eager's", memory[0] / memory[1], "×", most=1 / 3)

    libraries = {"liger_kernel": lambda: _liger(name, *given)}
    return Problem(what, mine, book, given, {}, libraries, {"eager": 3, "Liger": 1.3}, more)


def _liger(name: str, s: Tensor, t: Tensor) -> Run:
    """Liger's kernels take log-probabilities; making them is part of the work."""
    from liger_kernel.transformers import LigerJSD, LigerKLDIVLoss

    if name == "forward KL":
        loss = LigerKLDIVLoss(reduction="batchmean")
        run = backward(lambda s, t: loss(s.float().log_softmax(-1), t.float().softmax(-1)))
    else:
        loss = LigerJSD()
        run = backward(lambda s, t: loss(s.float().log_softmax(-1), t.float().log_softmax(-1)))
    return lambda: run(s, t)


def _check_divergences(sizes: tuple[tuple[int, int], ...], names: tuple[str, ...], dtype: torch.dtype) -> None:
    from workbench.kernels.fused import divergence as fused

    tolerance = {torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 2e-3}[dtype]
    for n, classes in ((1, 1), (3, 10)) if DRY else sizes:
        s, t = (normal(n, classes, dtype=dtype, seed=i) * 3 for i in range(2))
        up = normal(n, seed=2)
        for name in names:
            kind, what = Kind(name, 0.3, 2.0, 1.5), f"{name} {n}×{classes} {dtype}"
            values, stored = fused.forward(s, t, kind)
            slopes = fused.backward(s, t, kind, stored, up)
            wide = s.double(), t.double()
            close(values, expression(*wide, kind), 1e-5, what)
            close(slopes, up[:, None] * gradient(*wide, kind), tolerance, f"{what} gradient")


def _check_huge() -> None:
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


def _check_sparse() -> None:
    teacher = Sparse.of(normal(full(50, 3), full(50_257, 30), seed=1), full(64, 4))

    def run(student: Tensor) -> Tensor:
        told = Sparse(teacher.ids, teacher.values.to(student.dtype), teacher.tail.to(student.dtype))
        return divergence.reverse_kl(student, told)

    agree(run, normal(full(50, 3), full(50_257, 30)))


def linear() -> Iterator[Problem]:
    n, classes, width = full(32_768, 4), full(131_072, 20), full(2048, 8)
    h, ht = (normal(n, width, dtype=torch.bfloat16, seed=i).mul_(0.05).requires_grad_(i == 0) for i in range(2))
    W, Wt = (normal(classes, width, dtype=torch.bfloat16, seed=i + 2).requires_grad_(i == 0) for i in range(2))
    what = f"linear_divergence: {n:,} rows × {classes:,} classes × {width:,}, bf16, JS"

    def mine() -> object:
        value = linear_divergence.linear_divergence(h, W, ht, Wt, divergence="jensen_shannon")
        return torch.autograd.grad(value, (h, W))

    def theirs() -> Run:
        from liger_kernel.transformers.fused_linear_jsd import LigerFusedLinearJSD

        loss = LigerFusedLinearJSD()
        return lambda: torch.autograd.grad(loss(h, W, ht, Wt, None), (h, W))  # the last: no labels

    def more(taken: float) -> Rows:
        rate = 8 * n * classes * width / taken  # four products: two heads, two gradients
        held = sum(each.numel() * each.element_size() for each in (h, ht, W, Wt)) / GIBIBYTE
        yield figure(f"{what}: operations per second", rate / 1e12, "TFLOP/s")
        yield figure(f"{what}: share of a product's rate", rate / LIMITS[1], "")
        yield figure(f"{what}: peak memory, inputs included", peak(mine) + held, "GiB", most=8)

    yield Problem(what, mine, libraries={"liger_kernel": theirs}, targets={"Liger": 1.2}, more=more)


def _check_linear() -> None:
    shapes = ((full(100, 5), 64), (full(5000, 30), 64), (full(100, 5), 32), (full(5000, 30), 32))
    inputs = [normal(*shape, seed=seed) for seed, shape in enumerate(shapes)]
    for name in ("forward_kl", "jensen_shannon", "skew_reverse_kl"):
        agree(
            lambda *given, name=name: linear_divergence.linear_divergence(*given, divergence=name), *inputs, learned=2
        )


def _grams() -> Tensor:
    return torch.stack([hsic.gram(normal(full(512, 8), full(128, 4), seed=i)) for i in range(full(50, 3))])


def _together(grams: Tensor) -> Tensor:
    centred = hsic.center(grams)
    return hsic.hsic(centred, centred)


def _one_by_one(grams: Tensor) -> Tensor:
    return torch.stack([hsic.hsic(hsic.center(a[None]), hsic.center(b[None]))[0, 0] for a in grams for b in grams])


def pairs() -> Iterator[Problem]:
    grams = _grams()
    layers, n = grams.shape[:2]
    what = f"hsic: {layers} × {layers} layers, {n} examples"

    def mine() -> object:
        return _together(grams)

    def more(taken: float) -> Rows:
        yield figure(f"{what}: operations per second", 2 * layers**2 * n**2 / taken / 1e12, "TFLOP/s")
        yield figure(f"{what}: peak memory", 1024 * peak(mine), "MiB")

    others: dict[str, Run] = {"pair by pair": lambda: _one_by_one(grams)}
    yield Problem(what, mine, others=others, targets={"pair by pair": 5}, more=more)


def _check_pairs() -> None:
    grams = _grams()
    wide = hsic.center(grams.double())
    close(_together(grams), hsic.hsic(wide, wide), 2e-5)
    close(_one_by_one(grams), hsic.hsic(wide, wide).flatten(), 2e-5)


def sums() -> Iterator[Problem]:
    for n, d in ((full(20_000, 20), 3), (full(20_000, 20), 64)):
        yield _sums(n, d)


def _sums(n: int, d: int) -> Problem:
    x, y = normal(n, d), normal(n, d, seed=1)
    what = f"kernel_sums: {n:,} × {n:,} points of {d}, rbf, with gradient"
    both = backward(lambda x, y: kernel_sums.kernel_sums(x, y, bandwidth=3.0))

    def mine() -> object:
        return both(x, y)

    def whole(x: Tensor, y: Tensor) -> Tensor:
        return (-torch.cdist(x, y).square() / (2 * 9.0)).exp().sum(1)

    def keops() -> Run:
        from pykeops.torch import LazyTensor

        def run(x: Tensor, y: Tensor) -> Tensor:
            apart = LazyTensor(x[:, None].contiguous()) - LazyTensor(y[None].contiguous())
            return (-(apart**2).sum(-1) / 18).exp().sum(1)

        theirs = backward(run)
        return lambda: theirs(x, y)

    def more(taken: float) -> Rows:
        # Twice for a pair: its distance (3 d), its exponential, its share of the sums (1 + d + 1 columns).
        rate = (2 * 3 * d + 2 * (d + 2)) * n * n / taken
        yield figure(f"{what}: operations per second", rate / 1e12, "TFLOP/s")
        yield figure(f"{what}: peak memory", 1024 * peak(mine), "MiB", most=n * n * 4 / 2**20 / 10)

    return Problem(what, mine, whole, (x, y), libraries={"pykeops": keops}, more=more)


def _check_sums() -> None:
    n, m = full(700, 20), full(900, 30)
    inputs = normal(n, 9), normal(m, 9, seed=1), normal(m, full(20, 2), seed=2), torch.tensor(1.3, device=DEVICE)
    for kernel in kernel_sums.KERNELS:
        agree(lambda x, y, w, h, k=kernel: kernel_sums.kernel_sums(x, y, w, kernel=k, bandwidth=h), *inputs)


def characteristics() -> Iterator[Problem]:
    n, d, K = full(10_240, 40), full(512, 8), full(4096, 20)
    x, t = normal(n, d), normal(K, d, seed=1)
    both = backward(lambda x, t: sum(characteristic.characteristic_function(x, t)))
    what = f"characteristic: {n:,} points of {d}, {K:,} frequencies, with gradient"

    def mine() -> object:
        return both(x, t)

    def more(taken: float) -> Rows:
        rate = 3 * 2 * n * d * K / taken  # phases twice, and one gradient
        yield figure(f"{what}: operations per second", rate / 1e12, "TFLOP/s")
        yield figure(f"{what}: share of a bf16 product's rate", rate / LIMITS[1], "")
        yield figure(f"{what}: peak memory over all the phases'", peak(mine) * GIBIBYTE / (4 * n * K), "×")

    yield Problem(what, mine, lambda x, t: sum(characteristic.by_definition(x, t)), (x, t), more=more)


def _check_characteristic(features: int) -> None:
    points, frequencies = normal(full(3000, 30), features), normal(full(500, 10), features, seed=1)
    agree(lambda x, t: torch.stack(characteristic.characteristic_function(x, t)), points, frequencies)


def teachers() -> Iterator[Problem]:
    for d in (2, 64):
        yield _teacher(full(4096, 5), full(50_000, 70), d)


def _teacher(n: int, m: int, d: int) -> Problem:
    x, data = normal(n, d), normal(m, d, seed=1)
    both = backward(lambda x, data: mixture.mixture_score(x, data, sigma=0.5).x0)
    what = f"mixture_score: {n:,} points of {d}, {m:,} data, with gradient"

    def mine() -> object:
        return both(x, data)

    def more(taken: float) -> Rows:  # noqa: ARG001
        yield figure(f"{what}: peak memory", 1024 * peak(mine), "MiB")

    return Problem(what, mine, lambda x, y: (-torch.cdist(x, y).square() / 0.5).softmax(1) @ y, (x, data), more=more)


def _check_teacher(spread: float, features: int) -> None:
    inputs = normal(full(100, 5), features), normal(full(5000, 70), features, seed=1)
    spreads = spread * normal(len(inputs[1]), seed=2).abs()

    def run(x: Tensor, m: Tensor) -> Tensor:
        given = spreads.to(x.dtype) if spread else 0.0
        return mixture.mixture_score(x, m, sigma=0.5, spread=given).x0

    agree(run, *inputs, learned=1)


def images() -> Iterator[Problem]:
    augmenting.TWICE = True  # the expression as one writes it: with torch's own sampling
    n, side = full(8192, 2), full(32, 8)
    x, told, up = normal(n, 3, side, side), _change(n), normal(n, 3, side, side, seed=1)
    both = pulled(lambda x: augmenting.augment(x, told), up)
    what = f"augment: {n:,} images of 3 × {side} × {side}, all of it, with gradient"
    size = x.numel() * 4

    def mine() -> object:
        return both(x)

    def more(taken: float) -> Rows:
        # Images read and written, gradients read and written.
        yield from bandwidth(what, LIMITS[0], taken, 4 * size, 4 * size)
        yield figure(f"{what}: peak memory over the images", peak(mine) * GIBIBYTE / size, "×")

    yield Problem(what, mine, lambda x: augmenting.by_definition(x, told), (x,), more=more, upstream=up)


def _check_images(side: int) -> None:
    # A point is known to four roundings of a side, and neighbours differ by up to twice the largest value.
    agree(
        lambda x: augmenting.augment(x, _change(len(x))),
        normal(full(8, 2), 3, side, side),
        tolerance=max(2e-5, 2**-20 * side),
    )


def _change(n: int) -> augmenting.Change:
    affine = torch.tensor([[[0.95, -0.2, 0.05], [0.2, 0.95, 0.0]]], device=DEVICE).expand(n, 2, 3)
    shift = torch.tensor([[1, -2]], device=DEVICE).expand(n, 2)
    hole = torch.tensor([[4, 4, 20, 20]], device=DEVICE).expand(n, 4)
    color = torch.tensor([[0.1, 1.5, 0.8]], device=DEVICE).expand(n, 3)
    return augmenting.Change(color, shift, hole, torch.arange(n, device=DEVICE) % 2 == 0, affine)


def ensemble() -> Rows:
    what = "ensemble: 32 ConvNets as one"
    if WARM:
        return
    try:
        import bench_ensemble

        import workbench as wb
        from workbench.training import ensemble as module

        data = wb.data.load("digits")
    except ImportError as error:
        yield row(f"{what}: {error}", "not measured", "")
        return
    members, epochs = full(32, 2), full(3, 1)
    data = data.subset(60) if DRY else data
    options = {"width": 4, "depth": 1} if DRY else {}
    together, alone = bench_ensemble.times("convnet", members, options, data, epochs=epochs, rounds=1)
    yield figure(f"{what}: {epochs} epochs of digits", together, "s")
    yield figure(f"{what}: times faster than one by one", alone / together, "×", least=8)
    # Without graphs: what replaying saves, and that it changes nothing but rounding.
    records, taken = [], []
    for graphs in (True, False):
        kept = module.recording
        if not graphs:
            module.recording = lambda *_: None
        started = time.perf_counter()
        made = wb.training.Ensemble("convnet", data, seeds=range(members), **options)
        records.append(made.fit(data, epochs=epochs, progress=False))
        taken.append(time.perf_counter() - started)
        module.recording = kept

    def check() -> None:
        for one, other in zip(*records, strict=True):
            for name, value in other.state.items():
                close(one.state[name], value.double(), 1e-3, name)

    yield checked("an ensemble's steps replayed as one CUDA graph", check, "the same steps sent one by one")
    yield figure(f"{what}: times faster for replaying its steps", taken[1] / taken[0], "×")


def condensation() -> Rows:
    what = "condensation: DM, one iteration, ConvNet-3 of width 128, 10 classes × 64 real + 10"
    if WARM:
        return
    import bench_condensation

    if DRY:
        for name, tiny in {"WIDTH": 4, "DEPTH": 1, "SIDE": 8, "REAL": 2, "IPC": 1}.items():
            setattr(bench_condensation, name, tiny)
    at_once, looped = bench_condensation.iteration(torch.device(DEVICE), None, full(9, 1))
    yield figure(what, 1e3 * at_once, "ms")
    yield figure(f"{what}: times faster than class by class", looped / at_once, "×", least=3)


PARTS: dict[str, Part] = {
    "divergence": Part(
        {
            "divergence, seven kinds, float32": lambda: _check_divergences(
                ((7, 10), (3, 50_257)), KINDS, torch.float32
            ),
            "divergence, two kinds, bfloat16": lambda: _check_divergences(
                ((33, 1000), (5, 16_384), (2, 262_144)), ("forward", "jensen"), torch.bfloat16
            ),
            "divergence, two kinds, float16": lambda: _check_divergences(
                ((1, 1), (33, 1000)), ("reverse", "skew"), torch.float16
            ),
            "divergence of more than 2³¹ elements": _check_huge,
            "a sparse teacher": _check_sparse,
        },
        divergences,
        ("liger_kernel",),
    ),
    "linear": Part({"linear_divergence": _check_linear}, linear, ("liger_kernel",)),
    "hsic": Part({"hsic": _check_pairs}, pairs),
    "kernel_sums": Part({"kernel_sums, four kernels": _check_sums}, sums, ("pykeops",)),
    "characteristic": Part(
        {
            "characteristic, 40 features": lambda: _check_characteristic(40),
            "characteristic, products by parts": lambda: _check_characteristic(full(200, 65)),
        },
        characteristics,
    ),
    "mixture": Part(
        {
            f"mixture_score, {features} features, spread {spread}": lambda spread=spread, features=features: (
                _check_teacher(spread, features)
            )
            for features in (3, 17)
            for spread in (0.0, 0.3)
        },
        teachers,
    ),
    "augment": Part(
        {f"augment, side {side}": lambda side=side: _check_images(side) for side in (full(32, 8), full(80, 9))}, images
    ),
    "ensemble": Part({}, whole=ensemble),
    "condensation": Part({}, whole=condensation),
}
