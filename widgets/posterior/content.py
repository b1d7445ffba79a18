"""What a PosteriorExplorer sends to the browser: an eigensystem that sliders filter, or every step as computed."""

from typing import Any

import torch

from widgets.core.arrays import Arrays
from widgets.posterior.kernels import FITTED
from widgets.posterior.source import DRAW_SEED, Look, Regression
from workbench.gp.inference.kernels import NAMES

NEGLIGIBLE = 1e-14
"""Share of the largest eigenvalue below which a direction moves no posterior by anything that can be seen."""


def regression_content(source: Regression, look: Look) -> tuple[dict[str, Any], dict[str, Any]]:
    """`content` and `arrays` of a look at a regression; ``data.js`` reads them."""
    arrays, path = Arrays(), look.path
    base = source.base
    assert base.noise is not None
    rows = slice(0, look.grid)
    sorted_axis = bool(len(source.features) == 1 or source.model is not None)
    content: dict[str, Any] = {
        "task": "regression",
        "live": source.live,
        "editable": source.editable,
        "why_not": source.why_not,
        "method": path.method,
        "features": [feature._asdict() for feature in source.features],
        "axis": look.axis,
        "outputs": list(source.outputs),
        "span": list(source.span(look.axis)),
        "curve": sorted_axis,
        "grid": arrays.add(path.inputs[rows, look.axis], "float32"),
        "train": {
            "x": arrays.add(path.train_inputs[:, look.axis], "float64"),
            "y": arrays.add(path.train_targets, "float64"),
            "groups": arrays.add(path.groups, "int32"),
            "rows": int(path.groups.max()) + 1,
        },
        "given": {
            "approach": base.approach,
            "noise": base.noise.tolist(),
            "mixing": base.mixing.tolist(),
            "length_scale": source.scales[0],
            "amplitude": source.scales[1],
            "kernel": base.kernel,
        },
        "kernel": {"text": path.kernel, "length_scale": look.kernel[0], "amplitude": look.kernel[1]},
        "kernels": [FITTED, *NAMES] if source.live else [],
        "offset": [] if path.offset is None else path.offset.tolist(),
        "scale": [] if path.scale is None else path.scale.tolist(),
        "eigen": None,
        "static": None,
        "test": None,
        "truth": None,
        "samples": None,
    }
    tests = look.tests
    if tests is not None:
        assert path.test_targets is not None
        content["test"] = {
            "x": arrays.add(path.inputs[tests, look.axis], "float32"),
            "y": arrays.add(path.test_targets[tests], "float32"),
            "true": source.model is not None and not source.tested,
        }
    if path.interactive:
        content["eigen"] = _eigen(look, arrays)
        if look.truth is not None:
            content["truth"] = _truth(look, arrays)
        if look.draws is not None:
            content["samples"] = _samples(look, arrays)
    else:
        content["static"] = _static(look, arrays)
    return content, arrays.packed


def _eigen(look: Look, arrays: Arrays) -> dict[str, Any]:
    path = look.path
    assert path.eigenvalues is not None
    assert path.coefficients is not None
    assert path.projections is not None
    assert path.prior_variance is not None
    d = path.eigenvalues
    kept = int((d > NEGLIGIBLE * d[0]).sum())
    rows = slice(0, look.grid)
    projections = path.projections[:, :kept]
    return {
        "kept": kept,
        "values": arrays.add(d, "float64"),
        "coefficients": arrays.add(path.coefficients, "float64"),
        "projections": arrays.add(projections[rows], "float32"),
        "prior": arrays.add(path.prior_variance[rows], "float32"),
        "directions": None if path.directions is None else arrays.add(path.directions[:, :kept], "float32"),
        "tests": None if look.tests is None else arrays.add(projections[look.tests], "float32"),
        "terms": path.evidence_terms,
    }


def _truth(look: Look, arrays: Arrays) -> dict[str, Any]:
    """The truth as the eigen-directions see it, and the noise variance that its residuals show (per output)."""
    path, truth = look.path, look.truth
    assert truth is not None
    assert path.directions is not None
    assert path.offset is not None
    assert path.scale is not None
    weight = torch.bincount(path.groups).double()[:, None]
    coefficients = (path.directions * weight).T @ ((truth - path.offset) / path.scale)
    residual = path.train_targets - truth[path.groups]
    return {
        "coefficients": arrays.add(coefficients, "float64"),
        "tests": None if look.true_tests is None else arrays.add(look.true_tests, "float32"),
        "noise": residual.square().mean(0).tolist(),
    }


def _samples(look: Look, arrays: Arrays) -> dict[str, Any]:
    """Prior draws along the axis and as the eigen-directions see them, with unit noise: the browser conditions them."""
    path, draws = look.path, look.draws
    assert draws is not None
    assert path.directions is not None
    assert path.eigenvalues is not None
    weight = torch.bincount(path.groups).double()
    noise = torch.randn(
        len(draws), len(path.eigenvalues), dtype=draws.dtype, generator=torch.Generator().manual_seed(DRAW_SEED + 1)
    )
    return {
        "grid": arrays.add(draws[:, : look.grid], "float32"),
        "values": arrays.add((draws[:, look.grid :] * weight) @ path.directions, "float64"),
        "noise": arrays.add(noise, "float64"),
    }


def _static(look: Look, arrays: Arrays) -> dict[str, Any]:
    """Every step as it was computed, where no eigensystem is shared by all of them."""
    path, rows = look.path, slice(0, look.grid)
    assert path.noise is not None
    return {
        "mean": arrays.add(path.mean[:, rows], "float32"),
        "variance": arrays.add(path.variance[:, rows], "float32"),
        "fitted": None if path.fitted is None else arrays.add(path.fitted, "float32"),
        "targets": None if path.targets is None else arrays.add(path.targets, "float32"),
        "tests": None if look.tests is None else arrays.add(path.mean[:, look.tests], "float32"),
        "evidence": path.log_marginal_likelihood.tolist(),
    }
