"""Self-distilled Gaussian-process regression as a scikit-learn estimator (paper 001, sections A to C)."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from workbench.gp.inference.kernels import KernelFace, wrap
from workbench.gp.inference.rows import Rows, check_weights, merge, normalisation, refuse_conflicts
from workbench.gp.making import checks
from workbench.gp.making.chain import Engine, Step
from workbench.gp.making.fitting import Recipe
from workbench.gp.making.paths import plain_settings, regression_path
from workbench.records import PosteriorPath, Provenance


class SelfDistilledGPR(MultiOutputMixin, RegressorMixin, BaseEstimator):
    """A Gaussian process fitted again, step by step, to what it learned.

    Data-centric: step t is fitted to the mean of step t − 1 at the training inputs, ``y⁽ᵗ⁾ = K (K + γ_t I)⁻¹ y⁽ᵗ⁻¹⁾``.
    Distribution-centric: the posterior of step t − 1 is the prior, and the same targets are seen again, which equals
    one regression with noise ``1 / Σ 1/γ_s``. Step 1 is the ordinary Gaussian process.

    Parameters
    ----------
    kernel
        A gpytorch or scikit-learn kernel, or a name: ``"rbf"``, ``"matern"``, ``"periodic"``, ``"linear"``,
        ``"rational-quadratic"`` (times an amplitude). None is ``"rbf"``.
    approach
        ``"data"`` or ``"distribution"``.
    steps
        Number of fits, at least 1 (no distillation).
    noise
        Noise variance γ ≥ 0, one number or one per step, in squared units of the (normalised) targets.
    mixing
        Weight α of the true targets in each step's targets, 0..1, one number or one per step; ``"best"`` picks each
        step's in closed form on a validation split. Data-centric only.
    hyperparameters
        ``"fixed"``: the kernel as given. ``"first"``: its free parameters maximise the marginal likelihood of the true
        targets, then stay. ``"all"``: again at every step, on that step's targets (distribution-centric: on the targets
        as often as they were seen).
    learn_noise
        Fit the noise with the kernel at the first step; noise per step keeps its proportions.
    normalize_y
        Centre and scale the targets first: distillation then shrinks to their mean, not to zero.
    method
        ``"exact"``; ``"svgp"`` (inducing points); ``"cg"`` (conjugate gradients); ``"auto"``: exact up to 4,000 rows,
        then svgp. Above 1,500 rows svgp and cg fit the kernel on a random 1,500.
    inducing
        Number of inducing points for svgp, and of the preconditioner of cg.
    validation_fraction
        Share of the rows held out to choose ``mixing="best"``; the final fit uses all rows.
    random_state
        Seed of every random choice (validation split, subsets of rows, inducing points).
    device, dtype
        ``"auto"`` (an accelerator if there is one), ``"cpu"``, ``"cuda"``; ``"float64"`` or ``"float32"``.
    progress
        Show bars for long work.

    Attributes
    ----------
    kernel_ : str
        The fitted kernel in words (of the last step).
    kernel_values_ : dict
        Its parameters by name.
    noise_, mixing_ : ndarray of shape (steps,)
        γ_t (a kernel's white noise included) and α_t as used.
    log_marginal_likelihood_ : ndarray of shape (steps,)
        Of each step's targets under its prior, in nats; svgp: the lower bound; cg: NaN.
    jitter_ : float
        What had to be added to the diagonal; 0 where nothing had.
    condition_number_ : float
        Of K + γI at the last step, an upper bound where the eigensystem was not needed.
    method_ : str
        ``"exact"``, ``"svgp"`` or ``"cg"``.

    References
    ----------
    Borup and Andersen, Self-Distillation for Gaussian Process Regression and Classification, arXiv 2304.02641.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.linspace(0, 1, 11)[:, None]
    >>> model = SelfDistilledGPR(noise=0.1, steps=3, hyperparameters="fixed").fit(X, np.sin(6 * X[:, 0]))
    >>> mean, std = model.predict(X[:2], return_std=True, step=1)
    >>> mean.shape, model.path(X).limit_mean.abs().max().item()
    ((2,), 0.0)
    """

    def __init__(
        self,
        kernel: object = None,
        *,
        approach: str = "data",
        steps: int = 2,
        noise: float | Sequence[float] = 0.1,
        mixing: float | Sequence[float] | str = 0.0,
        hyperparameters: str = "first",
        learn_noise: bool = False,
        normalize_y: bool = False,
        method: str = "auto",
        inducing: int = 512,
        validation_fraction: float = 0.2,
        random_state: int | None = 0,
        device: str = "auto",
        dtype: str = "float64",
        progress: bool = False,
    ) -> None:
        self.kernel = kernel
        self.approach = approach
        self.steps = steps
        self.noise = noise
        self.mixing = mixing
        self.hyperparameters = hyperparameters
        self.learn_noise = learn_noise
        self.normalize_y = normalize_y
        self.method = method
        self.inducing = inducing
        self.validation_fraction = validation_fraction
        self.random_state = random_state
        self.device = device
        self.dtype = dtype
        self.progress = progress

    def fit(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> Self:
        """Condition every step on inputs (N, features) and targets (N,) or (N, p).

        `sample_weight` (N,) divides a row's noise: an integer weight equals that many copies of the row.

        Raises
        ------
        ValueError
            An argument out of range, NaN or text in X, conflicting targets at one input without noise, a kernel that is
            not positive definite.
        MemoryError
            ``method="exact"`` on more rows than memory holds.
        """
        self._check_choices()
        steps = checks.step_count(self.steps)
        noise = checks.noise_schedule(self.noise, steps)
        checks.numeric_columns(X)
        names = checks.target_names(y)
        X, y = validate_data(self, X, y, multi_output=True, y_numeric=True, dtype=np.float64)
        weight = check_weights(sample_weight, X)
        self._flat = y.ndim == 1
        y = np.asarray(y, dtype=float).reshape(len(X), -1)
        self.method_ = checks.resolve_method(self.method, len(X), checks.EXACT_REGRESSION_ROWS)
        device, dtype = checks.device_and_type(self.device, self.dtype)
        if self.method_ == "exact":
            checks.refuse_if_too_large(len(X), dtype, device, "method='svgp' or method='cg'")
        like = torch.zeros(1, X.shape[1], device=device, dtype=dtype)
        self._offset, self._scale = normalisation(y, weight, self.normalize_y)
        y = (y - self._offset) / self._scale
        rows = merge(X, y, weight, like)
        refuse_conflicts(noise, rows)
        self._names = {"feature_names": tuple(getattr(self, "feature_names_in_", ())), "target_names": names}
        self._data = X, y
        recipe = Recipe(
            approach=self.approach,
            method=self.method_,
            hyperparameters=self.hyperparameters,
            learn_noise=self.learn_noise,
            inducing=self.inducing,
            seed=int(check_random_state(self.random_state).randint(2**31 - 1)),
            progress=self.progress,
        )
        kernel = wrap(self.kernel, like)
        if self.hyperparameters != "fixed":
            noise = noise * self._fitted_share(recipe, kernel, rows, float(noise[0]))
        noise = noise + kernel.white
        if isinstance(self.mixing, str):
            self.mixing_ = recipe.best_mixing(
                kernel, X, y, weight, noise=noise, held_out=self.validation_fraction, like=like
            )
        else:
            self.mixing_ = checks.mixing_schedule(self.mixing, steps, self.approach)
        self._engines, self._chain = recipe.chain(kernel, rows, noise, self.mixing_)
        self.noise_ = noise
        last = self._engines[-1]
        self.kernel_, self.kernel_values_ = last.kernel.describe(), last.kernel.values()
        self.log_marginal_likelihood_ = np.array([step.evidence for step in self._chain])
        self.jitter_ = max(engine.jitter for engine in self._engines)
        if dtype == torch.float32:
            checks.warn_if_coarse(self.condition_number_)
        return self

    @property
    def condition_number_(self) -> float:
        """Of K + γI at the last step; computed when asked for."""
        check_is_fitted(self, "mixing_")
        return self._engines[-1].condition_number(self._chain[-1].noise)

    def predict(
        self, X: ArrayLike, return_std: bool = False, return_cov: bool = False, step: int | None = None
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Posterior mean at X (m, features): shape (m,) or (m, p); with its standard deviation or covariance on demand.

        Parameters
        ----------
        step
            Which step, from 1; None is the last. The variance is the latent function's, without γ.
        """
        if return_std and return_cov:
            raise RuntimeError("At most one of return_std or return_cov can be requested.")
        x, engine, chosen = self._at(X, step)
        mean = engine.mean(x, chosen.weights).cpu().numpy() * self._scale + self._offset
        mean = mean[:, 0] if self._flat else mean
        if return_std:
            std = engine.variance(x, chosen.noise).sqrt().cpu().numpy()
            return mean, std * self._scale[0] if self._flat else std[:, None] * self._scale
        if return_cov:
            covariance = engine.covariance(x, chosen.noise).cpu().numpy()
            return mean, covariance * self._scale[0] ** 2 if self._flat else covariance[..., None] * self._scale**2
        return mean

    def sample_y(self, X: ArrayLike, n_samples: int = 1, random_state: int = 0, step: int | None = None) -> np.ndarray:
        """Functions drawn from a step's posterior at X (m, features): shape (m, n_samples) or (m, p, n_samples)."""
        x, engine, chosen = self._at(X, step)
        mean = engine.mean(x, chosen.weights).cpu()
        covariance = engine.covariance(x, chosen.noise).cpu()
        values, vectors = torch.linalg.eigh(covariance)
        root = vectors * values.clamp_min(0).sqrt()
        normal = torch.randn(
            len(mean),
            mean.shape[1] * n_samples,
            generator=torch.Generator().manual_seed(random_state),
            dtype=mean.dtype,
        )
        draws = mean[..., None] + (root @ normal).reshape(*mean.shape, n_samples)
        scaled = draws.numpy() * self._scale[:, None] + self._offset[:, None]
        return scaled[:, 0] if self._flat else scaled

    def path(self, X: ArrayLike, y: ArrayLike | None = None) -> PosteriorPath:
        """Every step's posterior at X (m, features) and all that moving steps, noise and mixing needs later.

        `y`, the true targets at X, gives the path its test errors. With method exact or svgp the first call computes
        the eigensystem; eigenvectors are kept up to 1,000 training rows.
        """
        x, *_ = self._at(X, None)
        given, targets = self._data
        return regression_path(
            self._engines,
            self._chain,
            x,
            approach=self.approach,
            noise=torch.from_numpy(self.noise_),
            mixing=torch.from_numpy(self.mixing_),
            offset=torch.from_numpy(self._offset),
            scale=torch.from_numpy(self._scale),
            method=self.method_,
            train_inputs=torch.tensor(given),
            train_targets=torch.from_numpy(targets * self._scale + self._offset),
            test_targets=None if y is None else torch.from_numpy(np.array(y, dtype=float).reshape(len(x), -1)),
            settings=plain_settings(self),
            provenance=Provenance.capture(seed=self.random_state or 0, device=x.device),
            **self._names,
        )

    @property
    def fitted_kernel(self) -> Any:
        """A copy of the kernel object with its fitted values (of the last step), as `kernel` takes it."""
        check_is_fitted(self, "mixing_")
        return self._engines[-1].kernel.copy().kernel

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _check_choices(self) -> None:
        checks.choice("approach", self.approach, ("data", "distribution"))
        checks.choice("hyperparameters", self.hyperparameters, ("fixed", "first", "all"))
        if isinstance(self.mixing, str):
            checks.choice("mixing", self.mixing, ("best",))
            if self.approach == "distribution":
                raise ValueError("mixing='best' weighs true against predicted targets: it needs approach='data'")
            if not 0 < self.validation_fraction < 1:
                raise ValueError(f"validation_fraction is {self.validation_fraction!r}; it must lie between 0 and 1")
        if self.learn_noise and self.hyperparameters == "fixed":
            raise ValueError(
                "learn_noise=True fits the noise by marginal likelihood: use hyperparameters='first' or 'all'"
            )
        checks.positive_count("inducing", self.inducing)

    def _fitted_share(self, recipe: Recipe, kernel: KernelFace, rows: Rows, noise: float) -> float:
        """Fit `kernel` in place to the true targets; returns by which factor the noise schedule changes."""
        if noise == 0 and self.learn_noise:
            raise ValueError("noise is 0: learn_noise=True needs a positive noise to start from")
        found = recipe.fit_kernel(kernel, rows, noise, learn_noise=self.learn_noise)
        return found / noise if self.learn_noise else 1.0

    def _at(self, X: ArrayLike, step: int | None) -> tuple[Tensor, Engine, Step]:
        check_is_fitted(self, "mixing_")
        checks.numeric_columns(X)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        index = checks.step_index(step, len(self._chain))
        engine = self._engines[min(index, len(self._engines) - 1)]
        return torch.tensor(X).to(engine.rows.X), engine, self._chain[index]
