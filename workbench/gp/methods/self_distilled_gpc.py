"""Self-distilled Gaussian-process classification as a scikit-learn estimator (paper 001, sections D and E)."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from workbench.gp.inference.bernoulli import averaged_sigmoid
from workbench.gp.inference.inducing import choose_inducing
from workbench.gp.inference.kernels import wrap
from workbench.gp.inference.latent import ExactLatent, Latent
from workbench.gp.inference.rows import check_weights, merge
from workbench.gp.inference.spectrum import probe_positive
from workbench.gp.inference.variational import VariationalLatent
from workbench.gp.making import checks
from workbench.gp.making.paths import plain_settings
from workbench.records import PosteriorPath, Provenance


class SelfDistilledGPC(ClassifierMixin, BaseEstimator):
    """A Gaussian-process classifier fitted again, step by step, to what it learned.

    Step 1 is the ordinary classifier: logistic likelihood, Laplace's approximation. Data-centric steps are fitted to
    the last step's averaged probabilities at the training inputs, with the continuous Bernoulli likelihood: this
    *sharpens* (its mean is flatter than the sigmoid), where data-centric regression shrinks. Distribution-centric steps
    see the labels again under the last posterior. Several classes: one latent function per class, one-vs-rest.

    Parameters
    ----------
    kernel
        As in `SelfDistilledGPR`; each class fits its own copy.
    approach
        ``"data"`` or ``"distribution"``.
    mode
        Of the distribution-centric approach. ``"duplicate"``: each label t times, exact re-use of the posterior up to
        Laplace's approximation. ``"scaled"``: the paper's code, kernel t·k and each label once; the same mode and
        latent mean, t times the latent variance. ``"sequential"``: each Laplace posterior as the next Gaussian prior.
    steps
        Number of fits, at least 1 (no distillation).
    mixing
        Weight of the true labels in data-centric targets, 0..1, one number or one per step.
    targets
        ``"sigmoid"``: data-centric targets are averaged sigmoids, as in the paper. ``"consistent"``: from step 2 on
        the averaged mean of the continuous Bernoulli itself, which does not sharpen by the mismatch of the two.
    hyperparameters
        ``"fixed"``, ``"first"`` or ``"all"``, by Laplace's marginal likelihood of each step's targets
        (distribution-centric: of the labels as often as they were seen).
    method
        ``"exact"``, ``"svgp"`` (stochastic variational inference on inducing points, gpytorch kernels only), or
        ``"auto"``: exact up to 2,000 rows.
    inducing, epochs
        Of svgp: number of inducing points, passes over the rows per step.
    random_state, device, dtype, progress
        As in `SelfDistilledGPR`.

    Attributes
    ----------
    classes_ : ndarray
        Class labels.
    kernels_ : list of str
        The fitted kernel of each latent function, in words.
    log_marginal_likelihood_ : ndarray of shape (steps,)
        Of each step's targets, in nats, summed over latent functions; svgp: the lower bound.
    method_ : str
        ``"exact"`` or ``"svgp"``.

    References
    ----------
    Borup and Andersen, Self-Distillation for Gaussian Process Regression and Classification, arXiv 2304.02641.

    Examples
    --------
    >>> X = np.linspace(-1, 1, 12)[:, None]
    >>> model = SelfDistilledGPC(steps=3, hyperparameters="fixed").fit(X, X[:, 0] > 0)
    >>> model.predict_proba([[0.9], [-0.9]], step=1).shape, model.path(X, X[:, 0] > 0).error.tolist()
    ((2, 2), [0.0, 0.0, 0.0])
    """

    def __init__(
        self,
        kernel: object = None,
        *,
        approach: str = "data",
        mode: str = "duplicate",
        steps: int = 2,
        mixing: float | Sequence[float] = 0.0,
        targets: str = "sigmoid",
        hyperparameters: str = "first",
        method: str = "auto",
        inducing: int = 256,
        epochs: int = 10,
        random_state: int | None = 0,
        device: str = "auto",
        dtype: str = "float64",
        progress: bool = False,
    ) -> None:
        self.kernel = kernel
        self.approach = approach
        self.mode = mode
        self.steps = steps
        self.mixing = mixing
        self.targets = targets
        self.hyperparameters = hyperparameters
        self.method = method
        self.inducing = inducing
        self.epochs = epochs
        self.random_state = random_state
        self.device = device
        self.dtype = dtype
        self.progress = progress

    def fit(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> Self:
        """Condition every step on inputs (N, features) and labels (N,).

        `sample_weight` (N,) multiplies a row's log-likelihood: an integer weight equals that many copies of the row.

        Raises
        ------
        ValueError
            An argument out of range, NaN or text in X, a single class, a kernel that is not positive definite.
        MemoryError
            ``method="exact"`` on more rows than memory holds.
        """
        self._check_choices()
        steps = checks.step_count(self.steps)
        mixing = checks.mixing_schedule(self.mixing, steps, self.approach)
        checks.numeric_columns(X)
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        weight = check_weights(sample_weight, X)
        self.classes_, numbers = np.unique(y, return_inverse=True)
        seen = numbers if weight is None else numbers[weight > 0]
        if len(np.unique(seen)) < 2:
            raise ValueError(
                f"y holds 1 class only, {self.classes_[seen[0]]!s} (rows of weight 0 do not count): a "
                "classifier needs two"
            )
        self.method_ = checks.resolve_method(self.method, len(X), checks.EXACT_CLASSIFICATION_ROWS)
        if self.method_ == "cg":
            raise ValueError("method is 'cg', which solves regressions; for classification use 'exact' or 'svgp'")
        device, dtype = checks.device_and_type(self.device, self.dtype)
        if self.method_ == "exact":
            checks.refuse_if_too_large(len(X), dtype, device, "method='svgp'")
        like = torch.zeros(1, X.shape[1], device=device, dtype=dtype)
        shares = np.eye(len(self.classes_))[numbers]
        rows = merge(X, shares[:, 1:] if len(self.classes_) == 2 else shares, weight, like)
        kernel = wrap(self.kernel, like)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        Z = None if self.method_ == "exact" else choose_inducing(rows, self.inducing, seed)
        probe_positive(kernel.gram(rows.X[:256]))
        self._latents: list[Latent] = []
        for c in range(rows.y.shape[1]):
            share = rows.with_targets(rows.y[:, c : c + 1])
            latent: Latent
            if Z is None:
                latent = ExactLatent(kernel.copy(), share)
            else:
                latent = VariationalLatent(
                    kernel.copy(), share, Z, epochs=self.epochs, seed=seed + c, progress=self.progress
                )
            latent.distil(
                self.approach,
                self.mode,
                mixing,
                hyperparameters=self.hyperparameters,
                consistent=self.targets != "sigmoid",
            )
            self._latents.append(latent)
        self._data = X, numbers
        self._groups = rows.groups
        self.mixing_ = mixing
        self.kernels_ = [latent.describe() for latent in self._latents]
        self.log_marginal_likelihood_ = np.sum([latent.evidence for latent in self._latents], axis=0)
        return self

    def predict_proba(self, X: ArrayLike, step: int | None = None) -> np.ndarray:
        """Class probabilities at X (m, features): averaged sigmoids, shape (m, classes), rows summing to 1.

        `step` counts from 1; None is the last.
        """
        x, index = self._at(X, step)
        moments = [latent.moments(x, index) for latent in self._latents]
        return self._probabilities(torch.stack([averaged_sigmoid(*pair) for pair in moments], -1)).cpu().numpy()

    def predict(self, X: ArrayLike, step: int | None = None) -> np.ndarray:
        """The likeliest class at X (m, features), shape (m,)."""
        check_is_fitted(self, "mixing_")
        return self.classes_[self.predict_proba(X, step).argmax(1)]

    def latent(self, X: ArrayLike, step: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of the latent functions at X, each (m, 1) for two classes, else (m, classes)."""
        x, index = self._at(X, step)
        mean, variance = zip(*(latent.moments(x, index) for latent in self._latents), strict=True)
        return torch.stack(mean, -1).cpu().numpy(), torch.stack(variance, -1).cpu().numpy()

    def path(self, X: ArrayLike, y: ArrayLike | None = None) -> PosteriorPath:
        """Every step's latent posterior and class probabilities at X (m, features); `y` (m,): true labels there."""
        x, _ = self._at(X, None)
        moments = [
            [latent.moments(x, t) for latent in self._latents] for t in range(len(self.log_marginal_likelihood_))
        ]
        mean = torch.stack([torch.stack([pair[0] for pair in step], -1) for step in moments]).cpu().double()
        variance = torch.stack([torch.stack([pair[1] for pair in step], -1) for step in moments]).cpu().double()
        given, numbers = self._data
        test = None
        if y is not None:
            y = np.asarray(y)
            if not np.isin(y, self.classes_).all():
                raise ValueError(f"y holds labels that are not among the fitted classes {self.classes_.tolist()}")
            test = torch.from_numpy(np.searchsorted(self.classes_, y))[:, None]
        return PosteriorPath(
            task="classification",
            approach=self.approach,
            method=self.method_,
            inputs=x.cpu().double(),
            mean=mean,
            variance=variance,
            targets=torch.stack([latent.targets for latent in self._latents], -1).cpu().double(),
            fitted=torch.stack([latent.fitted for latent in self._latents], -1).cpu().double(),
            mixing=torch.from_numpy(self.mixing_),
            log_marginal_likelihood=torch.from_numpy(self.log_marginal_likelihood_),
            train_inputs=torch.tensor(given),
            train_targets=torch.from_numpy(numbers)[:, None],
            groups=torch.from_numpy(self._groups),
            test_targets=test,
            probabilities=self._probabilities(averaged_sigmoid(mean, variance)),
            classes=tuple(map(str, self.classes_)),
            feature_names=tuple(getattr(self, "feature_names_in_", ())),
            kernel="; ".join(dict.fromkeys(self.kernels_)),
            settings=plain_settings(self),
            provenance=Provenance.capture(seed=self.random_state or 0, device=x.device),
        )

    @property
    def fitted_kernels(self) -> list[Any]:
        """Copies of the kernel objects with their fitted values, one per latent function, of the last step."""
        check_is_fitted(self, "mixing_")
        return [latent.fitted_kernel().copy().kernel for latent in self._latents]

    def _check_choices(self) -> None:
        checks.choice("approach", self.approach, ("data", "distribution"))
        checks.choice("mode", self.mode, ("duplicate", "scaled", "sequential"))
        checks.choice("targets", self.targets, ("sigmoid", "consistent"))
        checks.choice("hyperparameters", self.hyperparameters, ("fixed", "first", "all"))
        checks.positive_count("inducing", self.inducing)
        checks.positive_count("epochs", self.epochs)
        if isinstance(self.mixing, str):
            raise ValueError(  # noqa: TRY004 - a wrong value of an argument that regression also takes as text
                f"mixing is {self.mixing!r}; a closed-form best weight exists for regression only: give a number in "
                "0..1"
            )

    def _at(self, X: ArrayLike, step: int | None) -> tuple[Tensor, int]:
        check_is_fitted(self, "mixing_")
        checks.numeric_columns(X)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        return torch.tensor(X).to(self._latents[0].rows.X), checks.step_index(step, len(self.mixing_))

    def _probabilities(self, sigmoids: Tensor) -> Tensor:
        """Class probabilities (…, classes) from one averaged sigmoid per latent function (…, latents)."""
        if len(self._latents) == 1:
            return torch.cat([1 - sigmoids, sigmoids], -1)
        return sigmoids / sigmoids.sum(-1, keepdim=True).clamp_min(torch.finfo(sigmoids.dtype).tiny)
