"""Temperature scaling: the one number that logits are divided by so that a classifier's confidence can be believed.

    T* = argmin_T NLL(z / T, y),     NLL is convex in β = 1/T, with slope  d NLL / dβ = E[Σ_c p_c z_c − z_y].

Guo et al., “On Calibration of Modern Neural Networks”, ICML 2017, Eq. 9. Predictions stay as they are. Where every
example is classified correctly the NLL falls to 0 as T → 0 and there is no optimum: the search is bounded, and says
when it ends at a bound.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

BOUNDS = (0.05, 20.0)


@dataclass(frozen=True)
class Temperature:
    """A fitted temperature.

    Attributes
    ----------
    value
        T, within the bounds.
    nll
        Mean negative log-likelihood at T on the examples it was fitted to, in nats.
    bound
        ``"lower"`` or ``"upper"`` where the likelihood would still rise beyond that bound, so that T says more about
        the bound than about the network; ``"flat"`` where no temperature matters (logits equal for all classes), with
        T = 1 if the bounds allow; else ``""``.
    """

    value: float
    nll: float
    bound: Literal["", "lower", "upper", "flat"] = ""


def fit_temperature(logits: Tensor, labels: Tensor, *, bounds: tuple[float, float] = BOUNDS) -> Temperature:
    """The temperature under which labelled examples are most likely.

    Parameters
    ----------
    logits
        Shape (n, classes).
    labels
        True classes, int64, shape (n,).
    bounds
        Least and greatest T.

    Raises
    ------
    ValueError
        Shapes do not fit, there are no examples, a logit is not finite, or the bounds are not 0 < least < greatest.

    Examples
    --------
    >>> import torch
    >>> logits = torch.tensor([[6.0, 0.0], [6.0, 0.0], [6.0, 0.0], [6.0, 0.0]])
    >>> round(fit_temperature(logits, torch.tensor([0, 0, 0, 1])).value, 3)  # right in 3 of 4: log 3 = 6 / T
    5.461
    >>> fit_temperature(logits, torch.tensor([0, 0, 0, 0])).bound
    'lower'
    """
    from scipy.optimize import minimize_scalar  # noqa: PLC0415 - scipy takes a moment to load

    least, greatest = bounds
    if not 0 < least < greatest:
        raise ValueError(f"bounds are {bounds}; they must be 0 < least < greatest")
    z, y = _checked(logits, labels)
    low, high = 1 / greatest, 1 / least
    rising, falling = slope(z, y, low), slope(z, y, high)
    flat = float((z - z.mean(1, keepdim=True)).abs().max()) <= 1e-12 * max(1.0, float(z.abs().max()))
    if flat:
        value = min(max(1.0, least), greatest)
        return Temperature(value, nll(z, y, value), "flat")
    if falling <= 0:  # more certain would be more likely still
        return Temperature(least, nll(z, y, least), "lower")
    if rising >= 0:
        return Temperature(greatest, nll(z, y, greatest), "upper")
    found = minimize_scalar(
        lambda beta: nll(z, y, 1 / beta), bounds=(low, high), method="bounded", options={"xatol": 1e-10 * high}
    )
    value = float(1 / found.x)
    return Temperature(value, nll(z, y, value))


def nll(logits: Tensor, labels: Tensor, temperature: float) -> float:
    """Mean negative log-likelihood of the labels in nats, of logits divided by the temperature."""
    return F.cross_entropy(logits.double() / temperature, labels).item()


def nll_curve(logits: Tensor, labels: Tensor, temperatures: Sequence[float] | Tensor) -> Tensor:
    """The same at several temperatures, float64, shape (k,)."""
    z, y = _checked(logits, labels)
    return torch.tensor([nll(z, y, float(T)) for T in temperatures], dtype=torch.float64)


def slope(logits: Tensor, labels: Tensor, beta: float) -> float:
    """D NLL / dβ at β = 1/T: E[Σ_c p_c z_c − z_y]. It is zero at the optimum and never falls as β rises."""
    z = logits.double()
    expected = ((z * beta).softmax(1) * z).sum(1)
    return (expected - z.gather(1, labels[:, None])[:, 0]).mean().item()


def _checked(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ValueError(
            f"logits have shape {tuple(logits.shape)} and labels {tuple(labels.shape)}; "
            "(n, classes) and (n,) are needed"
        )
    if not len(logits):
        raise ValueError("there are no examples to fit a temperature to")
    if not bool(logits.isfinite().all()):
        row = int((~logits.isfinite()).any(1).nonzero()[0])
        raise ValueError(f"the logits of row {row} are not all finite")
    return logits.detach().double().cpu(), labels.cpu()
