"""Every kernel as a function of tensors that a test can make at any size."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from tests.kernels.test_augment import every
from workbench.kernels import characteristic, divergence, hsic, kernel_sums, linear_divergence
from workbench.kernels.augment import Change, augment

DIVERGENCES = (
    divergence.forward_kl,
    divergence.reverse_kl,
    divergence.jeffreys,
    divergence.jensen_shannon,
    divergence.skew_kl,
    divergence.skew_reverse_kl,
    divergence.total_variation,
)


@dataclass(frozen=True)
class Case:
    """A kernel, the shapes of its arguments for n rows of k columns, and how many of them have gradients.

    `rounding`: what float32 may be off by at k columns, as a share of the largest value.
    """

    run: Callable[..., Tensor]
    shapes: Callable[[int, int], list[tuple[int, ...]]]
    learned: int = 2
    rounding: Callable[[int], float] = lambda k: 1e-5

    def inputs(self, n: int, k: int, *, dtype: torch.dtype = torch.float64, seed: int = 0) -> list[Tensor]:
        make = torch.Generator().manual_seed(seed)
        return [torch.randn(shape, generator=make, dtype=torch.float64).to(dtype) for shape in self.shapes(n, k)]

    def value_and_slopes(self, inputs: list[Tensor]) -> list[Tensor]:
        """The value, and the gradients of the sum of its sines: every element has another upstream."""
        given = [each.detach().requires_grad_(at < self.learned) for at, each in enumerate(inputs)]
        value = self.run(*given)
        return [value.detach(), *torch.autograd.grad(value.sin().sum(), given[: self.learned])]


def rows(n: int, k: int) -> list[tuple[int, ...]]:
    return [(n, k), (n, k)]


def sparse(student: Tensor, teacher: Tensor) -> Tensor:
    return divergence.jensen_shannon(student, divergence.Sparse.of(teacher, (student.shape[1] + 1) // 2))


def pairs(x: Tensor, y: Tensor, *, how: str) -> Tensor:
    grams = [torch.stack([hsic.gram(each), hsic.gram(each[:, :1])]) for each in (x, y)]
    if how == "rbf":
        grams = [hsic.rbf(each) for each in grams]
    return hsic.hsic(*(hsic.center(each, debiased=how != "biased") for each in grams), debiased=how != "biased")


def changed(x: Tensor) -> Tensor:
    change = every(len(x)) if len(x) else every()
    return augment(x, Change(*(each.to(x.device) for each in change)))


CASES = {
    **{each.__name__: Case(each, rows) for each in DIVERGENCES},
    "sparse": Case(sparse, rows, learned=1),
    "linear_divergence": Case(
        linear_divergence.linear_divergence, lambda n, k: [(n, 3), (k, 3), (n, 4), (k, 4)], learned=2
    ),
    **{
        f"kernel_sums {kernel}": Case(
            partial(kernel_sums.kernel_sums, kernel=kernel, bandwidth=1.5), lambda n, k: [(n, k), (7, k), (7, 2)], 3
        )
        for kernel in kernel_sums.KERNELS
    },
    "characteristic": Case(
        lambda x, t: torch.stack(characteristic.characteristic_function(x, t)), lambda n, k: [(n, k), (5, k)]
    ),
    "discrepancy": Case(characteristic.discrepancy, lambda n, k: [(n, k), (4, k), (5, k)], 3),
    # The point that a pixel is read at is known to four roundings of a number as large as a side, 2⁻²² of it, in either
    # direction, and neighbours differ by up to twice the largest value: four times that in all.
    "augment": Case(
        changed, lambda n, k: [(n, 3, k + 1, k)], learned=1, rounding=lambda k: max(1e-5, 2**-20 * (k + 1))
    ),
    **{f"hsic {how}": Case(partial(pairs, how=how), lambda n, k: [(n, k), (n, k + 1)]) for how in ("linear", "rbf")},
}
LEAST = {name: 4 if name.startswith("hsic") else 1 for name in CASES}
"""Rows that a kernel needs at least."""
