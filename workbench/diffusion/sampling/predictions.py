"""Five names for what a diffusion model predicts: given the state, each says the same as the others.

x_t = α x̂₀ + σ ε̂;   score = −ε̂/σ;   velocity u = α̇ x̂₀ + σ̇ ε̂ = dx_t/dt;   v = α ε̂ − σ x̂₀  (where α² + σ² = 1).
"""

from typing import NamedTuple

from torch import Tensor

from workbench.diffusion.sampling.schedules import Schedule, along

KINDS = ("x0", "noise", "score", "velocity", "v")


class Prediction(NamedTuple):
    """What a model believes at a state.

    Attributes
    ----------
    x0
        The final image x̂₀, shape (n, ...): the *diffusion target* of the state.
    noise
        The noise ε̂, same shape.
    """

    x0: Tensor
    noise: Tensor


def read(value: Tensor, kind: str, x: Tensor, t: Tensor, schedule: Schedule) -> Prediction:
    """What a network's output of this kind says about x̂₀ and ε̂.

    Neither a velocity nor a v is divided by a small number on the way; x̂₀ from noise divides by α, noise from x̂₀ by σ.

    Parameters
    ----------
    value
        The output, shape (n, ...).
    kind
        ``"x0"``, ``"noise"``, ``"score"``, ``"velocity"`` or ``"v"``.
    x, t
        State and time, shapes (n, ...) and () or (n,).

    Raises
    ------
    ValueError
        An unknown kind, or ``"v"`` on a schedule whose variance is not preserved.
    """
    alpha, sigma = along(schedule.alpha(t), x), along(schedule.sigma(t), x)
    match kind:
        case "x0":
            return Prediction(value, (x - alpha * value) / sigma)
        case "noise":
            return Prediction((x - sigma * value) / alpha, value)
        case "score":
            return Prediction((x + sigma.square() * value) / alpha, -sigma * value)
        case "velocity":
            alpha_rate, sigma_rate = along(schedule.alpha_rate(t), x), along(schedule.sigma_rate(t), x)
            determinant = alpha * sigma_rate - sigma * alpha_rate
            return Prediction(
                (sigma_rate * x - sigma * value) / determinant, (alpha * value - alpha_rate * x) / determinant
            )
        case "v":
            _preserving(schedule)
            return Prediction(alpha * x - sigma * value, sigma * x + alpha * value)
    raise _unknown(kind)


def write(prediction: Prediction, kind: str, t: Tensor, schedule: Schedule) -> Tensor:
    """A prediction as a network of this kind would have put it; the inverse of `read`."""
    x0, noise = prediction
    alpha, sigma = along(schedule.alpha(t), x0), along(schedule.sigma(t), x0)
    match kind:
        case "x0":
            return x0
        case "noise":
            return noise
        case "score":
            return -noise / sigma
        case "velocity":
            return along(schedule.alpha_rate(t), x0) * x0 + along(schedule.sigma_rate(t), x0) * noise
        case "v":
            _preserving(schedule)
            return alpha * noise - sigma * x0
    raise _unknown(kind)


def jump(prediction: Prediction, s: Tensor, schedule: Schedule) -> Tensor:
    """α_s x̂₀ + σ_s ε̂, shape (n, ...): the state at time s if the prediction stays what it is (DDIM)."""
    x0, noise = prediction
    return along(schedule.alpha(s), x0) * x0 + along(schedule.sigma(s), noise) * noise


def _unknown(kind: str) -> ValueError:
    theirs = {"epsilon": "noise", "eps": "noise", "sample": "x0", "v_prediction": "v", "flow_prediction": "velocity"}
    meant = f": what diffusers calls {kind!r} is {theirs[kind]!r} here" if kind in theirs else ""
    return ValueError(f"kind is {kind!r}; it can be {', '.join(KINDS)}{meant}")


def _preserving(schedule: Schedule) -> None:
    if not schedule.preserving:
        raise ValueError(f"kind is 'v', which {type(schedule).__name__} does not have; use 'velocity'")
