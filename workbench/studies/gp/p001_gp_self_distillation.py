"""Does a Gaussian process that learns from itself regularise more with every step, and is that good?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gpytorch
import numpy as np
import pandas as pd
import torch

from workbench import data as datasets
from workbench.data import Dataset
from workbench.gp import SelfDistilledGPC, SelfDistilledGPR, redistill
from workbench.records import Claim, PosteriorPath
from workbench.studies.kit.claims import Estimate, asserted, reported
from workbench.studies.kit.claims import estimate as estimate_of
from workbench.studies.kit.study import Outcome, Setting, study

NOISES = (0.05, 0.4, 1.0)
MULTIPLES = (0.2, 1.0, 5.0)  # of the noise that a table's marginal likelihood asks for
STEPS = 8
Errors = dict[tuple[str, float], np.ndarray]  # (approach, noise) → test error, shape (seeds, steps)


@dataclass(frozen=True)
class Sine:
    """The paper's own data: 30 points of sin 2πx with noise of standard deviation 0.5, others for each seed."""

    name: str = "noisy sine"


@dataclass(frozen=True)
class Scale:
    """What a budget buys: training rows of a table, for regression and for classes."""

    rows: int
    rows_of_classes: int


def problem(data: Any, root: Any, budget: str) -> Sine | Dataset:  # noqa: ARG001 - a source may depend on the budget
    """The noisy sine by its name; a `Dataset`, what `workbench.data.load` knows, or a table with its target last."""
    if isinstance(data, Dataset | Sine):
        return data
    if isinstance(data, pd.DataFrame):
        return datasets.table(data, target=str(data.columns[-1]))
    return Sine() if data == Sine().name else datasets.load(data, root=root)


@study(
    seeds=(40, 40),
    small=Scale(rows=300, rows_of_classes=300),
    full=Scale(rows=1_500, rows_of_classes=600),
    data=Sine().name,
    source=problem,
    deviates=("on a table kernel and noise maximise the marginal likelihood; the noise levels are multiples of that",),
    cost="the same as small on the paper's own data, which are 30 points; tables may have 1,500 rows.",
)
def run(s: Setting[Sine | Dataset, Scale]) -> Outcome:
    """Both approaches over eight steps at three noise levels: the paper's noisy sine, or a table of the user's own.

    On the sine the error is that against the true function, with the kernel as given; on a table that of the test rows
    of random splits. Classes get the classifier.
    """
    source = s.data
    paths: dict[str, PosteriorPath]
    s.tell(f"{len(s.seeds)} repetitions on {source.name}")
    measure, scale = "rmse", "noise ÷ fitted noise"
    if isinstance(source, Sine):
        errors, paths = _sine(s.seeds, s.device)
        claims, scale = [*_paper_claims(errors), _sharpens(_sharpening(s.seeds))], "noise"
    elif source.task == "regression":
        errors, paths = _table(source, s.seeds, s.scale.rows, s.device)
        claims = _table_claims(errors)
    else:
        errors, sharpness, paths = _classes(source, s.seeds, s.scale.rows_of_classes, s.device)
        claims, measure = [_sharpens(sharpness), *_class_claims(errors)], "error"
    table = [
        {"data": source.name, "approach": approach, scale: noise, "seed": seed, "step": t + 1, measure: float(value)}
        for (approach, noise), matrix in errors.items()
        for seed, curve in zip(s.seeds, matrix, strict=True)
        for t, value in enumerate(curve)
    ]
    return Outcome(
        table,
        claims=claims,
        records=paths,
        settings={"steps": STEPS},
        notes="The paper's comparison is its own noisy sine, run as it is: 30 points, noise of standard deviation 0.5, "
        "kernel exp(−80 (x − x')²).",
    )


def _sine(seeds: Sequence[int], device: str) -> tuple[Errors, dict[str, PosteriorPath]]:
    """RMSE against sin 2πx: one eigensystem per seed serves every approach, noise and step."""
    kernel = gpytorch.kernels.RBFKernel().double()
    kernel.lengthscale = torch.tensor(160.0, dtype=torch.float64).rsqrt()
    grid = np.linspace(0, 1, 101)[:, None]
    truth = np.sin(2 * np.pi * grid[:, 0])
    curves: dict[tuple[str, float], list[np.ndarray]] = {}
    shown = {}
    for seed in seeds:
        rng = np.random.default_rng(seed)
        x = rng.uniform(size=(30, 1))
        y = np.sin(2 * np.pi * x[:, 0]) + 0.5 * rng.normal(size=30)
        model = SelfDistilledGPR(kernel, steps=STEPS, noise=NOISES[0], hyperparameters="fixed", device=device)
        path = model.fit(x, y).path(grid, truth)
        for approach, noise, moved in _variants(path):
            curves.setdefault((approach, noise), []).append(_error(moved))
            if seed == seeds[0] and noise == NOISES[1]:
                shown[f"{approach}-centric"] = moved
    return {key: np.array(value) for key, value in curves.items()}, shown


def _table(source: Dataset, seeds: Sequence[int], rows: int, device: str) -> tuple[Errors, dict[str, PosteriorPath]]:
    """Test RMSE over random splits; kernel and noise are fitted once per split."""
    curves: dict[tuple[str, float], list[np.ndarray]] = {}
    shown = {}
    for seed in seeds:
        X, y, new, true = _split(source, seed, rows)
        model = SelfDistilledGPR(
            _ard(X), steps=STEPS, learn_noise=True, normalize_y=True, device=device, random_state=seed, method="exact"
        ).fit(X, y)
        path, fitted = model.path(new, true), float(model.noise_[0])
        for approach in ("data", "distribution"):
            for multiple in MULTIPLES:
                moved = redistill(path, approach=approach, noise=multiple * fitted)
                curves.setdefault((approach, multiple), []).append(_error(moved))
                if seed == seeds[0] and multiple == 1:
                    shown[f"{approach}-centric"] = moved
    return {key: np.array(value) for key, value in curves.items()}, shown


def _classes(
    source: Dataset, seeds: Sequence[int], rows: int, device: str
) -> tuple[Errors, np.ndarray, dict[str, PosteriorPath]]:
    """Share of wrong classes per step over random splits, and the mean |f| of data-centric steps."""
    curves: dict[tuple[str, float], list[np.ndarray]] = {}
    sharpness, shown = [], {}
    for seed in seeds:
        X, y, new, true = _split(source, seed, rows)
        kernel = gpytorch.kernels.ScaleKernel(gpytorch.kernels.RBFKernel()).double()
        kernel.base_kernel.lengthscale = torch.tensor(float(X.shape[1])).double().sqrt()
        kernel.outputscale = torch.tensor(4.0).double()
        for approach in ("data", "distribution"):
            model = SelfDistilledGPC(
                kernel, approach=approach, steps=STEPS, hyperparameters="fixed", device=device, method="exact"
            ).fit(X, y)
            path = model.path(new, true)
            curves.setdefault((approach, 0.0), []).append(_error(path))
            if approach == "data":
                sharpness.append(path.mean.abs().mean((1, 2)).numpy())
            if seed == seeds[0]:
                shown[f"{approach}-centric"] = path
    return {key: np.array(value) for key, value in curves.items()}, np.array(sharpness), shown


def _sharpening(seeds: Sequence[int]) -> np.ndarray:
    """Mean |f| at the training inputs after each data-centric step of a classifier on 40 points, (seeds, 6)."""
    kernel = gpytorch.kernels.ScaleKernel(gpytorch.kernels.RBFKernel()).double()
    kernel.outputscale, kernel.base_kernel.lengthscale = torch.tensor([2.0, 0.7], dtype=torch.float64)
    sizes = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        X = rng.uniform(-3, 3, (40, 1))
        y = rng.random(40) < 1 / (1 + np.exp(-2 * np.sin(2 * X[:, 0])))
        path = SelfDistilledGPC(kernel, steps=6, hyperparameters="fixed").fit(X, y).path(X)
        sizes.append(path.mean.abs().mean((1, 2)).numpy())
    return np.array(sizes)


def _paper_claims(errors: Errors) -> list[Claim]:
    low, middle, high = (errors["data", noise] for noise in NOISES)
    inside = 1 + int(middle.mean(0)[1:3].argmin())
    outside = int(np.ma.masked_array(middle.mean(0), mask=np.isin(np.arange(STEPS), (1, 2))).argmin())
    claims = [
        asserted(
            "at noise 0.05 four data-centric steps beat one, as a share of seeds",
            _paired((low[:, 3] < low[:, 0]).astype(float)),
            ">=",
            0.9,
        ),
        asserted(
            f"at noise 0.4 the data-centric error is lowest at step 2 or 3 (step {inside + 1} against {outside + 1})",
            _paired(middle[:, outside] - middle[:, inside]),
            ">",
            0.0,
        ),
        asserted("… and higher at step 8 than at step 1", _paired(middle[:, -1] - middle[:, 0]), ">", 0.0),
        asserted("at noise 1 every data-centric step makes it worse", _least_rise(high), ">", 0.0),
    ]
    for noise in NOISES:
        rise = _least_rise(errors["distribution", noise])
        claims.append(asserted(f"at noise {noise:g} every distribution-centric step makes it worse", rise, ">", 0.0))
    return claims


def _table_claims(errors: Errors) -> list[Claim]:
    claims = []
    for noise in MULTIPLES:
        data, distribution = errors["data", noise], errors["distribution", noise]
        gain = _paired(data[:, 0] - data[:, 1])  # a step fixed beforehand: the best of eight always looks good
        claims += [
            reported(f"at {noise:g} × the fitted noise two data-centric steps beat one", gain, ">", 0.0),
            reported(
                f"at {noise:g} × the fitted noise {STEPS} distribution-centric steps are worse than one",
                _paired(distribution[:, -1] - distribution[:, 0]),
                ">",
                0.0,
            ),
        ]
    return claims


def _class_claims(errors: Errors) -> list[Claim]:
    return [
        reported(
            f"{STEPS} {approach}-centric steps classify no worse than one",
            _paired(matrix[:, -1] - matrix[:, 0]),
            "<=",
            0.0,
        )
        for (approach, _), matrix in errors.items()
    ]


def _sharpens(sizes: np.ndarray) -> Claim:
    return reported(
        "data-centric classification sharpens: |f| grows from the first step to the last",
        _paired(sizes[:, -1] - sizes[:, 0]),
        ">",
        0.0,
        note="The continuous Bernoulli's mean is flatter than the sigmoid that made its targets; regression shrinks.",
    )


def _paired(values: np.ndarray) -> Estimate:
    return estimate_of(values.tolist())


def _least_rise(curves: np.ndarray) -> Estimate:
    """The smallest step-to-step rise of the mean curve, paired by seed."""
    rises = np.diff(curves, axis=1)
    return _paired(rises[:, rises.mean(0).argmin()])


def _variants(path: PosteriorPath) -> list[tuple[str, float, PosteriorPath]]:
    return [
        (approach, noise, redistill(path, approach=approach, noise=noise))
        for approach in ("data", "distribution")
        for noise in NOISES
    ]


def _error(path: PosteriorPath) -> np.ndarray:
    error = path.error
    assert error is not None
    return error.numpy()


def _ard(X: np.ndarray) -> gpytorch.kernels.Kernel:
    """A squared-exponential kernel with a length-scale per column, started at √features."""
    kernel = gpytorch.kernels.ScaleKernel(gpytorch.kernels.RBFKernel(ard_num_dims=X.shape[1])).double()
    kernel.base_kernel.lengthscale = torch.full((X.shape[1],), float(X.shape[1]) ** 0.5, dtype=torch.float64)
    return kernel


def _split(source: Dataset, seed: int, rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Train inputs and targets (at most `rows`), test inputs and targets: a fresh three-to-one split of all rows."""
    X = torch.cat([source.train.inputs, source.test.inputs]).flatten(1).cpu().double().numpy()
    y = torch.cat([source.train.labels, source.test.labels]).cpu().numpy()
    if source.task == "regression":
        y = y.astype(float)
    order = np.random.default_rng(seed).permutation(len(X))
    test = order[: max(1, min(len(X) // 4, 1_000))]
    train = order[len(test) :][:rows]
    return X[train], y[train], X[test], y[test]
