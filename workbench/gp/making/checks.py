"""The door of the Gaussian-process estimators: every bad argument is refused here, by name, with what would do."""

import math
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

EXACT_REGRESSION_ROWS = 4_000
EXACT_CLASSIFICATION_ROWS = 2_000
COARSE_CONDITION = 1e5


def choice(name: str, value: Any, allowed: Sequence[str]) -> str:
    """`value` if it is one of `allowed`, else a ValueError that lists them."""
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}; it can be {', '.join(map(repr, allowed))}")
    return value


def step_count(steps: object) -> int:
    """`steps` as an int ≥ 1."""
    if isinstance(steps, bool) or not isinstance(steps, int | np.integer) or steps < 1:
        raise ValueError(f"steps is {steps!r}; it must be an integer of at least 1 (1 is no distillation)")
    return int(steps)


def positive_count(name: str, value: object) -> int:
    """`value` as an int ≥ 1."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"{name} is {value!r}; it must be an integer of at least 1")
    return int(value)


def step_index(step: object, steps: int) -> int:
    """The position of `step` (from 1; None is the last) in a chain of `steps`."""
    if step is None:
        return steps - 1
    if isinstance(step, bool) or not isinstance(step, int | np.integer) or not 1 <= step <= steps:
        raise ValueError(f"step is {step!r}; the fitted steps are 1 to {steps}")
    return int(step) - 1


def resolve_method(method: object, n: int, exact_rows: int) -> str:
    """The method that runs on n rows; "auto" is exact up to `exact_rows`."""
    method = choice("method", method, ("auto", "exact", "svgp", "cg"))
    if method == "auto":
        return "exact" if n <= exact_rows else "svgp"
    return method


def target_names(y: object) -> tuple[str, ...]:
    """Column names of a pandas target; empty for arrays."""
    if hasattr(y, "columns"):
        return tuple(map(str, y.columns))
    name = getattr(y, "name", None)
    return () if name is None else (str(name),)


def warn_if_coarse(condition: float) -> None:
    """Warn when float32 loses the filter: its relative error is about condition number × 1e-7."""
    if condition > COARSE_CONDITION:
        warnings.warn(
            f"dtype='float32' with condition number {condition:.2g} leaves about "
            f"{max(0.0, 7.2 - math.log10(condition)):.0f} correct digits in the filter: use dtype='float64', or a "
            "larger noise",
            stacklevel=4,
        )


def per_step(name: str, value: object, steps: int) -> np.ndarray:
    """A scalar or a sequence of one number per step as an array of shape (steps,)."""
    try:
        values = np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        raise ValueError(f"{name} is {value!r}; it must be a number or one number per step") from None
    if values.ndim == 0:
        values = np.full(steps, float(values))
    if values.shape != (steps,):
        raise ValueError(f"{name} has shape {values.shape}; for steps={steps} it must be a number or {steps} numbers")
    if not np.isfinite(values).all():
        raise ValueError(f"{name} is {value!r}; every value must be finite")
    return values


def noise_schedule(noise: object, steps: int) -> np.ndarray:
    """γ of each step, shape (steps,); zero is allowed here, negative is not."""
    values = per_step("noise", noise, steps)
    if (values < 0).any():
        raise ValueError(f"noise is {noise!r}; a noise variance cannot be negative")
    return values


def mixing_schedule(mixing: object, steps: int, approach: str) -> np.ndarray:
    """α of each step, shape (steps,)."""
    values = per_step("mixing", mixing, steps)
    if ((values < 0) | (values > 1)).any():
        raise ValueError(f"mixing is {mixing!r}; the weight of the true targets lies in 0..1")
    if approach == "distribution" and values.any():
        raise ValueError(
            "mixing weighs true against predicted targets, and approach='distribution' always sees the true ones: "
            "leave mixing=0, or use approach='data'"
        )
    return values


def numeric_columns(X: Any) -> None:
    """Refuse a DataFrame with text columns, naming them."""
    if not hasattr(X, "select_dtypes"):
        return
    text = [str(name) for name in X.columns if not np.issubdtype(_numpy_type(X[name]), np.number)]
    if text:
        raise ValueError(
            f"column{'s' if len(text) > 1 else ''} {', '.join(map(repr, text))} of X hold no numbers: encode "
            "them first, for example with sklearn.preprocessing.OneHotEncoder in a pipeline"
        )


def _numpy_type(column: Any) -> np.dtype:
    dtype = getattr(column.dtype, "numpy_dtype", column.dtype)
    if isinstance(dtype, np.dtype):
        return np.dtype(float) if dtype.kind == "b" else dtype
    return np.dtype(object)


def memory_free(device: torch.device) -> int:
    """Bytes that can still be allocated on `device`: a container's limit counts, not only the machine's."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        free = max(free, total // 2)  # the page cache counts as used, but gives way
    except (AttributeError, ValueError, OSError):
        free = 8 << 30
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
        if limit != "max":
            free = min(free, int(limit) - used)
    except (OSError, ValueError):
        pass  # no such limit on this system
    return free


def exact_memory(n: int, dtype: torch.dtype, matrices: int = 4) -> int:
    """Bytes that the exact path needs on n rows: the Gram matrix, its factor and the work space."""
    return matrices * n * n * torch.finfo(dtype).bits // 8


def refuse_if_too_large(n: int, dtype: torch.dtype, device: torch.device, alternative: str) -> None:
    """Refuse an exact fit that could not fit into memory, before anything is allocated.

    Raises
    ------
    MemoryError
        Names the memory it would take, what there is, and `alternative`.
    """
    need, free = exact_memory(n, dtype), memory_free(device)
    if need > free:
        raise MemoryError(
            f"method='exact' on {n:,} rows would take {_readable(need)} of memory, and {_readable(free)} are free on "
            f"{device}: use {alternative}"
        )


def _readable(size: int) -> str:
    power = min(4, int(math.log(max(size, 1), 1000)))
    return f"{size / 1000**power:.3g} {('B', 'kB', 'MB', 'GB', 'TB')[power]}"


def device_and_type(device: Any, dtype: object) -> tuple[torch.device, torch.dtype]:
    """`device` ("auto": an accelerator if there is one) and `dtype` ("float64" or "float32") as torch knows them."""
    name = choice("dtype", dtype, ("float64", "float32"))
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(device)
    except (RuntimeError, TypeError):
        raise ValueError(f"device is {device!r}; it can be 'auto', 'cpu', 'cuda' or 'cuda:0'") from None
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device is {device!r}, but torch sees no CUDA device: use device='cpu' or 'auto'")
    return chosen, getattr(torch, name)
