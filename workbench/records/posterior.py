"""The record of a Gaussian process's self-distillation: every step's posterior, and what moves its sliders."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pandas as pd
import torch
from torch import Tensor

from workbench.records.base import Record

_TERMS = {"rows", "weight", "spread", "outside", "missing"}


@dataclass(frozen=True, eq=False, kw_only=True)
class PosteriorPath(Record):
    """What a Gaussian process believes at each step of its self-distillation, on chosen inputs.

    Sizes: T steps, m inputs looked at, N training rows as given, n training rows after equal inputs are merged,
    r ≤ n eigen-directions, p outputs (classification: one latent function for two classes, else one per class).
    Step 1 is the ordinary Gaussian process.

    Attributes
    ----------
    task
        ``"regression"`` or ``"classification"``.
    approach
        ``"data"`` (a step is fitted to the last step's predictions) or ``"distribution"`` (the last posterior is the
        prior and the same targets are seen again).
    method
        How it was computed: ``"exact"``, ``"svgp"`` or ``"cg"``.
    inputs
        Where the posterior is evaluated, shape (m, features).
    mean, variance
        Of the latent function at `inputs`, shape (T, m, p), in the units of the targets.
    targets
        What each step was fitted to, shape (T, n, p). None when it was not asked for.
    fitted
        Posterior mean of each step at the n training inputs, shape (T, n, p); for classification the probabilities
        that become the next step's targets. None when it was not asked for.
    mixing
        Weight of the true targets at each step, shape (T,).
    noise
        Noise variance γ of each step, shape (T,), in squared units of the normalised targets; None for classification.
    log_marginal_likelihood
        Log density, in nats, of the targets of each step under that step's prior, shape (T,); summed over outputs.
        NaN where the method has none.
    train_inputs, train_targets
        The training rows as given, shapes (N, features) and (N, p); for classification class numbers, (N, 1).
    groups
        Which of the n merged rows each given row is, shape (N,), int64; −1 for a row of weight 0.
    test_targets
        True targets at `inputs`, shape (m, p) (class numbers (m, 1)); None when unknown.
    filters
        b of each step and eigen-direction, in 0..1: the share of the targets' component that the posterior mean
        keeps, shape (T, r). None for classification and where there is no eigensystem.
    effective_noise
        Per direction, the noise of the ordinary Gaussian process with the same mean, shape (T, r).
    limit_mean, limit_variance, limit_filter
        The same after infinitely many steps (the last noise and mixing repeated): shapes (m, p), (m, p), (r,).
    eigenvalues
        d of the training Gram matrix, falling, shape (r,). None when each step has a kernel of its own.
    coefficients
        Vᵀy, shape (r, p), y normalised.
    projections
        k(inputs, X)V, shape (m, r): with a filter, all that a new step, noise or mixing needs.
    directions
        The eigenvectors at the training rows, shape (n, r): ``directions @ (b * coefficients)`` are the fitted
        values. None when not kept.
    evidence_terms
        With eigenvalues and coefficients, what the log marginal likelihood needs: ``rows`` n, ``weight`` Σw,
        ``spread`` of targets at equal inputs, ``outside`` (squared norm of the targets outside the r directions) and
        ``missing`` (trace of the Gram matrix that they leave out).
    prior_variance
        k(x, x) at `inputs`, shape (m,).
    offset, scale
        The target normalisation, shape (p,): target = offset + scale · normalised.
    probabilities
        Class probabilities of each step, shape (T, m, classes); None for regression.
    classes
        Class names; empty for regression.
    feature_names, target_names
        Column names, empty where the data had none.
    kernel
        The kernel in words, with its fitted values.
    settings
        The estimator's parameters, as plain values.
    """

    task: str
    approach: str
    method: str = "exact"
    inputs: Tensor
    mean: Tensor
    variance: Tensor
    targets: Tensor | None = None
    fitted: Tensor | None = None
    mixing: Tensor
    noise: Tensor | None = None
    log_marginal_likelihood: Tensor
    train_inputs: Tensor
    train_targets: Tensor
    groups: Tensor
    test_targets: Tensor | None = None
    filters: Tensor | None = None
    effective_noise: Tensor | None = None
    limit_mean: Tensor | None = None
    limit_variance: Tensor | None = None
    limit_filter: Tensor | None = None
    eigenvalues: Tensor | None = None
    coefficients: Tensor | None = None
    projections: Tensor | None = None
    directions: Tensor | None = None
    evidence_terms: dict[str, float] = field(default_factory=dict)
    prior_variance: Tensor | None = None
    offset: Tensor | None = None
    scale: Tensor | None = None
    probabilities: Tensor | None = None
    classes: tuple[str, ...] = ()
    feature_names: tuple[str, ...] = ()
    target_names: tuple[str, ...] = ()
    kernel: str = ""
    settings: dict[str, Any] = field(default_factory=dict)

    layout: ClassVar[Mapping[str, str]] = {
        "inputs": "real m f",
        "mean": "real T m p",
        "variance": "real T m p",
        "targets": "real T n _",
        "fitted": "real T n _",
        "mixing": "real T",
        "noise": "real T",
        "log_marginal_likelihood": "real T",
        "train_inputs": "real N f",
        "train_targets": "number N _",
        "groups": "whole N",
        "test_targets": "number m _",
        "filters": "real T r",
        "effective_noise": "real T r",
        "limit_mean": "real m p",
        "limit_variance": "real m p",
        "limit_filter": "real r",
        "eigenvalues": "real r",
        "coefficients": "real r p",
        "projections": "real m r",
        "directions": "real n r",
        "prior_variance": "real m",
        "offset": "real p",
        "scale": "real p",
        "probabilities": "real T m classes",
    }

    def __post_init__(self) -> None:
        if self.mean.ndim != 3 or self.mean.shape != self.variance.shape:
            raise ValueError(
                f"mean and variance have shapes {tuple(self.mean.shape)} and {tuple(self.variance.shape)}; "
                "both must be (steps, inputs, outputs)"
            )
        if self.mean.shape[1] != len(self.inputs):
            raise ValueError(f"mean is given at {self.mean.shape[1]} points, but there are {len(self.inputs)} inputs")
        if self.task not in ("regression", "classification"):
            raise ValueError(f"task is {self.task!r}; it can be 'regression' or 'classification'")

    @property
    def steps(self) -> int:
        """T, the number of steps; 1 is the ordinary Gaussian process."""
        return len(self.mean)

    @property
    def interactive(self) -> bool:
        """Steps, noise and mixing can be changed from this record alone, with no kernel matrix (`gp.redistill`)."""
        return self.projections is not None and self.eigenvalues is not None and self.coefficients is not None

    @property
    def error(self) -> Tensor | None:
        """Each step's test error: root mean squared error (in target units), or share of wrong classes; shape (T,)."""
        if self.test_targets is None:
            return None
        if self.probabilities is not None:
            return (self.probabilities.argmax(-1) != self.test_targets[:, 0]).double().mean(1)
        return (self.mean - self.test_targets).square().mean((1, 2)).sqrt()

    @property
    def best_step(self) -> int | None:
        """The step (from 1) with the smallest test error; None without test targets."""
        error = self.error
        return None if error is None else int(error.argmin()) + 1

    def check(self) -> None:
        super().check()
        features, outputs = self.inputs.shape[1], self.mean.shape[2]
        if not self.mean.numel() or not features:
            raise ValueError(f"mean has shape {tuple(self.mean.shape)}, inputs {tuple(self.inputs.shape)}")
        for what, names, size in (
            ("feature_names", self.feature_names, features), ("target_names", self.target_names, outputs)
        ):  # fmt: skip
            if len(names) not in (0, size):
                raise ValueError(f"there are {len(names)} {what} for {size}")
        if self.task == "classification" and len(self.classes) != (2 if outputs == 1 else outputs):
            raise ValueError(f"there are {len(self.classes)} classes for {outputs} latent functions")
        if self.evidence_terms and set(self.evidence_terms) != _TERMS:
            raise ValueError(f"evidence_terms has {len(self.evidence_terms)} names; {', '.join(sorted(_TERMS))} belong")
        known = None if self.test_targets is None or self.task == "regression" else self.test_targets
        if known is not None and bool(((known < 0) | (known >= len(self.classes)) | (known != known.round())).any()):
            raise ValueError(f"test_targets are no numbers of the {len(self.classes)} classes")
        columns = outputs if self.probabilities is None else 1
        if self.test_targets is not None and self.test_targets.shape[1] != columns:
            raise ValueError(f"test_targets have shape {tuple(self.test_targets.shape)}")

    def summary(self) -> str:
        what = "regression" if self.task == "regression" else f"classification of {len(self.classes)} classes"
        best = f", best step {self.best_step}" if self.best_step else ""
        return (
            f"{self.approach}-centric Gaussian-process {what} ({self.method}), {self.steps} steps, "
            f"{len(self.train_inputs):,} training rows, {len(self.inputs):,} inputs{best}; kernel {self.kernel}"
        )

    def to_frame(self) -> pd.DataFrame:
        """One row per step, input and output: `step`, `point`, the features, `output`, `mean`, `std`, probabilities."""
        steps, points, outputs = self.mean.shape
        features = self.feature_names or tuple(f"x{i}" for i in range(self.inputs.shape[1]))
        names = self.target_names or tuple(f"y{i}" for i in range(outputs))
        if self.task == "classification":
            names = self.classes[1:] if outputs == 1 else self.classes
        grid = torch.cartesian_prod(torch.arange(steps), torch.arange(points), torch.arange(outputs)).reshape(-1, 3)
        step, point, output = grid.T
        frame = pd.DataFrame({"step": step.numpy() + 1, "point": point.numpy()})
        columns = {str(name): self.inputs[point, i].numpy() for i, name in enumerate(features)}
        frame = pd.concat([frame, pd.DataFrame(columns)], axis=1)
        frame["output"] = [names[i] for i in output.tolist()]
        frame["mean"] = self.mean.reshape(-1).numpy()
        frame["std"] = self.variance.clamp_min(0).sqrt().reshape(-1).numpy()
        if self.probabilities is not None:
            for i, name in enumerate(self.classes):
                frame[f"probability[{name}]"] = self.probabilities[step, point, i].numpy()
        return frame
