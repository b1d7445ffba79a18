"""The one length-scale and the one amplitude that sliders move, for kernels of gpytorch and of scikit-learn."""

import copy
import math
from typing import Any

import gpytorch
import numpy as np
import torch
from sklearn.base import clone
from sklearn.gaussian_process.kernels import Kernel as SklearnKernel

from workbench.gp.inference.kernels import NAMES

FITTED = "as fitted"


def named(name: str, *, length_scale: float, amplitude: float, span: float) -> gpytorch.kernels.Kernel:
    """The kernel `name` times an amplitude; a periodic one repeats once over `span` of the input.

    Examples
    --------
    >>> read(named("matern", length_scale=0.5, amplitude=2.0, span=1.0))
    (0.5, 2.0)
    """
    kernel = gpytorch.kernels.ScaleKernel(NAMES[name]()).double()
    if name == "periodic":
        kernel.base_kernel.initialize(period_length=span)
    return rescaled(kernel, length_scale=length_scale, amplitude=amplitude)


def read(kernel: Any) -> tuple[float | None, float | None]:
    """Length-scale and amplitude of a kernel (geometric means, where it has several); None where it has none."""
    lengths, variances = _values(kernel)
    return (_mean(lengths) if lengths else None), (math.sqrt(_mean(variances)) if variances else None)


def rescaled(kernel: Any, *, length_scale: float | None = None, amplitude: float | None = None) -> Any:
    """A copy whose length-scales and amplitudes are all multiplied so that `read` gives these values."""
    old_length, old_amplitude = read(kernel)
    stretch = 1.0 if length_scale is None or old_length is None else length_scale / old_length
    gain = 1.0 if amplitude is None or old_amplitude is None else (amplitude / old_amplitude) ** 2
    if isinstance(kernel, SklearnKernel):
        result = clone(kernel)
        params = result.get_params()
        changes = {name: np.multiply(params[name], stretch) for name in params if _is(name, "length_scale")}
        changes |= {name: params[name] * gain for name in params if _is(name, "constant_value")}
        return result.set_params(**changes)
    result = copy.deepcopy(kernel)
    with torch.no_grad():
        for part in result.modules():
            if getattr(part, "lengthscale", None) is not None:
                part.lengthscale = part.lengthscale * stretch
            if isinstance(part, gpytorch.kernels.ScaleKernel):
                part.outputscale = part.outputscale * gain
    return result


def _values(kernel: Any) -> tuple[list[float], list[float]]:
    if isinstance(kernel, SklearnKernel):
        params = kernel.get_params()
        lengths = [np.ravel(params[name]).tolist() for name in params if _is(name, "length_scale")]
        return [value for part in lengths for value in part], [
            float(params[name]) for name in params if _is(name, "constant_value")
        ]
    lengths, variances = [], []
    for part in kernel.modules():
        if getattr(part, "lengthscale", None) is not None:
            lengths += part.lengthscale.detach().reshape(-1).tolist()
        if isinstance(part, gpytorch.kernels.ScaleKernel):
            variances += part.outputscale.detach().reshape(-1).tolist()
    return lengths, variances


def _is(name: str, ending: str) -> bool:
    return name == ending or name.endswith(f"__{ending}")


def _mean(values: list[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values))
