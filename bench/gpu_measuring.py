"""Measuring on a GPU: times, memory, checks, and the rows that say what was found; used by `kernels_gpu`."""

import importlib.util
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from bench_kernels import backward, row
from torch import Tensor

GIBIBYTE = 2**30
DRY = "--dry" in sys.argv
WARM = "--warm" in sys.argv
"""Everything is run once, for what is compiled on the way; nothing is timed."""
DEVICE = "cpu" if DRY else "cuda"

SLOW = 0.5
"""Seconds from which a second run is enough to tell."""

Run = Callable[[], object]
Rows = Iterator[dict]


@dataclass(frozen=True)
class Problem:
    """Something that is timed: ours, PyTorch's expression of it, and libraries that do it too.

    Attributes
    ----------
    what
        Its name in the table.
    mine
        Ours, ready to run.
    expression, inputs
        The same as one would write it: run as it is, and compiled, with the gradient towards the first input.
    others
        Further ways, by name.
    libraries
        Packages and what makes their run; each is timed in a process of its own, which it cannot take ours with.
    targets
        By how many times ours is to be faster than which.
    more
        Further rows, from our seconds.
    upstream
        The gradient that the expression's gets; None: that of its mean.
    """

    what: str
    mine: Run
    expression: Callable[..., Tensor] | None = None
    inputs: tuple[Tensor, ...] = ()
    others: dict[str, Run] = field(default_factory=dict)
    libraries: dict[str, Callable[[], Run]] = field(default_factory=dict)
    targets: dict[str, float] = field(default_factory=dict)
    more: Callable[[float], Rows] = lambda taken: iter(())  # noqa: ARG005
    upstream: Tensor | None = None

    @property
    def eager(self) -> dict[str, Run]:
        if self.expression is None:
            return self.others
        both = self.gradient(self.expression)
        return {"eager": lambda: both(*self.inputs), **self.others}

    def gradient(self, run: Callable[..., Tensor]) -> Callable[..., Tensor]:
        return backward(run) if self.upstream is None else pulled(run, self.upstream)

    def ours(self) -> Rows:
        """Our time, what follows from it, and how the plain ways compare."""
        taken = seconds(self.mine)
        yield figure(self.what, 1e3 * taken, "ms")
        yield from self.more(taken)
        for name, run in self.eager.items():
            yield from self.against(name, lambda run=run: run, taken)

    def compiled(self) -> Rows:
        if self.expression is None or DRY:
            return

        def build() -> Run:
            torch._dynamo.reset()
            both = self.gradient(torch.compile(self.expression))
            return lambda: both(*self.inputs)

        yield from self.against("torch.compile", build)

    def library(self, package: str) -> Rows:
        if package in self.libraries:
            yield from self.against(NAMES[package], self.libraries[package])

    def against(self, name: str, make: Callable[[], Run], taken: float | None = None) -> Rows:
        """By how many times ours is faster; what another does not take, or has no memory for, is no failure of ours."""
        try:
            ratio = seconds(make()) / (taken or seconds(self.mine))
        except Exception as error:  # noqa: BLE001 - whatever another raises
            print(f"{self.what}: {name}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            yield row(f"{self.what}: times faster than {name}: {type(error).__name__}", "not measured", "")
            torch.cuda.empty_cache()
        else:
            yield figure(f"{self.what}: times faster than {name}", ratio, "×", least=self.targets.get(name))


NAMES = {"liger_kernel": "Liger", "pykeops": "PyKeOps"}


@dataclass(frozen=True)
class Part:
    """A kernel's checks by name, and what is timed; `packages` are the libraries that it is compared with."""

    checks: dict[str, Callable[[], None]]
    problems: Callable[[], Iterator[Problem]] = lambda: iter(())
    packages: tuple[str, ...] = ()
    whole: Callable[[], Rows] = lambda: iter(())

    def checked(self) -> Rows:
        for name, run in self.checks.items():
            yield checked(name, run)

    def figures(self) -> Rows:
        """Ours and eager's of all problems first: a compiler takes longest."""
        for problem in self.problems():
            yield from problem.ours()
        for problem in self.problems():
            yield from problem.compiled()
        yield from self.whole()

    def library(self, package: str) -> Rows:
        for problem in self.problems():
            yield from problem.library(package)


def pulled(run: Callable[..., Tensor], upstream: Tensor) -> Callable[..., Tensor]:
    """Value and gradient towards the first argument, of a given gradient of the value."""

    def both(first: Tensor, *others: Tensor) -> Tensor:
        first = first.detach().requires_grad_()
        return torch.autograd.grad(run(first, *others), first, upstream)[0]

    return both


def has(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


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
    if DRY or WARM:
        run()
        return 1.0
    from triton.testing import do_bench

    run()
    torch.cuda.synchronize()
    started = time.perf_counter()
    run()
    torch.cuda.synchronize()
    if (once := time.perf_counter() - started) > SLOW:
        return once
    return float(do_bench(run, warmup=20, rep=100, quantiles=[0.5])) / 1e3


def peak(run: Run) -> float:
    """GiB over what was allocated before."""
    if DRY or WARM:
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


def bandwidth(what: str, copy: float, taken: float, moved: float, must: float) -> Rows:
    """Bytes moved and bytes that anything would have to move, as shares of a copy's bandwidth."""
    yield figure(f"{what}: bytes moved per second", moved / taken / 1e12, "TB/s")
    yield figure(f"{what}: share of copy bandwidth", moved / taken / copy, "", least=0.8)
    yield figure(f"{what}: share of it, counting what must be moved only", must / taken / copy, "")


def checked(name: str, run: Callable[[], None], right: str = "the reference in float64") -> dict:
    """A row that says that a check held, or what it found."""
    try:
        run()
    except torch.cuda.OutOfMemoryError as error:
        return row(f"check of {name}: {type(error).__name__}", "not measured", "")
    except Exception as error:  # noqa: BLE001 - the others are to run
        return row(f"check of {name}: {type(error).__name__}: {str(error)[:200]}", "failed", "", "agrees", met=False)
    return row(f"check of {name} against {right}", "agrees", "", "agrees", met=True)


def close(mine: Tensor, exact: Tensor, tolerance: float, what: str = "") -> None:
    error = float((mine.double() - exact).abs().max() / exact.abs().max().clamp_min(0.1))
    if not error <= tolerance:
        raise AssertionError(f"{what} relative error {error:.1e}, allowed {tolerance:.0e}".strip())


def agree(run: Callable[..., Tensor], *inputs: Tensor, learned: int | None = None, tolerance: float = 2e-5) -> None:
    """The run in float32, which is fused, against itself in float64, which is not: value, gradients, twice the same."""
    found = []
    for dtype in (torch.float32, torch.float32, torch.float64):
        given = [each.detach().to(dtype).requires_grad_(at < (learned or 99)) for at, each in enumerate(inputs)]
        value = run(*given)
        found.append((value.detach(), *torch.autograd.grad(value.square().sum(), given[:learned])))
    for one, again, other in zip(*found, strict=True):
        close(one, other, tolerance)
        if not torch.equal(one, again):
            raise AssertionError("two runs differ")
