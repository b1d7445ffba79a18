"""Every fused kernel compiles for a GPU that need not be here: to machine code of compute capability 9.0.

The launches are recorded instead of run; what Triton would have been given is compiled ahead of time.
"""

import re

import pytest
import torch

from workbench.kernels.dispatch import INTERPRETED, available

if not available():
    pytest.skip("Triton exists for Linux only", allow_module_level=True)
if INTERPRETED:
    pytest.skip("the interpreter has no compiler", allow_module_level=True)

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction

from workbench.kernels.augment import Change
from workbench.kernels.divergence_rows import Kind
from workbench.kernels.fused import augment, characteristic, divergence, kernel_sums, mixture, sparse_rows

NAMES = {
    torch.int32: "i32",
    torch.float32: "fp32",
    torch.bfloat16: "bf16",
    torch.float16: "fp16",
    torch.int64: "i64",
    torch.bool: "i1",
}


def kind_of(value):
    if isinstance(value, torch.Tensor):
        return "*" + NAMES[value.dtype]
    return "fp32" if isinstance(value, float) else "i32"


@pytest.fixture
def launches(monkeypatch):
    """(kernel, signature, constants, options) of every launch, none of which happens."""
    recorded = []

    def record(kernel, *args, grid, warmup, **keywords):
        assert all(side <= 65_535 for side in grid[1:]), "CUDA takes no more along the second and third axis"
        names = kernel.arg_names
        given = dict(zip(names, args, strict=False)) | {
            name: keywords.pop(name) for name in list(keywords) if name in names
        }
        constants = {p.name for p in kernel.params if p.is_constexpr} | {n for n, v in given.items() if v is None}
        signature = {n: "constexpr" if n in constants else kind_of(given[n]) for n in names}
        recorded.append((kernel, signature, {n: given[n] for n in constants}, keywords))

    monkeypatch.setattr(JITFunction, "run", record)
    return recorded


def compiled(launch):
    kernel, signature, constants, options = launch
    places = {(kernel.arg_names.index(n),): value for n, value in constants.items()}
    source = ASTSource(kernel, signature, places)
    return triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)


def check(launches):
    assert launches
    for launch in launches:
        made = compiled(launch)
        assert made.asm["cubin"], launch[0].__name__
        # Rows are counted in 64 bits: times their length they pass 2³¹ where a tensor has so many elements.
        first = re.search(r"(%\S+) = tt.get_program_id x : i32", made.asm["ttir"])
        assert first, launch[0].__name__
        assert not re.search(rf"arith.muli ({re.escape(first[1])}, |%\S+, {re.escape(first[1])} )", made.asm["ttir"])


@pytest.mark.parametrize("classes", [10, 30_000])
@pytest.mark.parametrize("name", ["forward", "jensen"])
def test_divergence(launches, name, classes):
    student = torch.empty(2, classes, dtype=torch.bfloat16)
    kind = Kind(name, 0.3, 1.5, 1.0)
    _, sums = divergence.forward(student, student, kind)
    divergence.backward(student, student, kind, sums, torch.empty(2))
    check(launches)


def test_sparse_teachers(launches):
    sparse_rows.rest(torch.empty(2, 5000), torch.zeros(2, 8, dtype=torch.int64), 2.0)
    check(launches)


def test_characteristic(launches):
    phases = torch.empty(2, 30, 500)
    characteristic.sums(phases)
    characteristic.slopes_in_parts(phases, phases[:, 0], phases[:, 1])
    characteristic.slopes_(phases, phases[:, 0], phases[:, 1])
    check(launches)


def test_many_rows_and_many_sets_are_few_along_the_grids_short_axes(launches):
    for shape in ((1, 5_000_000, 1), (100_000, 17, 1)):
        phases = torch.empty(shape)
        characteristic.sums(phases)
        characteristic.slopes_(phases, phases[:, 0], phases[:, 0])
    divergence.forward(torch.empty(70_000, 3), torch.empty(70_000, 3), Kind("forward", 0, 1.0, 1.0))
    kernel_sums.sums(torch.empty(5_000_000, 1), torch.empty(1, 1), torch.empty(1, 1), 0, 0)
    assert len(launches) == 6


@pytest.mark.parametrize(
    ("kernel", "order", "features", "columns"), [(0, 0, 3, 33), (1, 1, 4, 4), (3, 2, 20, 1), (0, 1, 64, 65)]
)
def test_kernel_sums(launches, kernel, order, features, columns):
    points = torch.empty(90, features)
    kernel_sums.sums(points[:70], points, torch.empty(90, columns), kernel, order)
    check(launches)


@pytest.mark.parametrize("features", [3, 64])
@pytest.mark.parametrize("spreads", [1, 20])
def test_mixture(launches, features, spreads):
    x, points, spread = torch.empty(20, features), torch.empty(20), torch.empty(spreads)
    mixture.forward(x, x, points, points, spread, points)
    mixture.backward(x, x, points, points, spread, points, points, x, points, points)
    check(launches)


@pytest.mark.parametrize("small", [4096, 0])
def test_augment(launches, small, monkeypatch):
    monkeypatch.setattr(augment, "SMALL", small)
    whole = torch.zeros(2, 4, dtype=torch.int64)
    affine = torch.eye(2, 3).expand(2, 2, 3)
    change = Change(torch.ones(2, 3), whole[:, :2], whole, whole[:, 0] > 0, affine)
    augment.forward(torch.empty(2, 3, 8, 8), change)
    augment.backward(torch.empty(2, 3, 8, 8), change)
    check(launches)
