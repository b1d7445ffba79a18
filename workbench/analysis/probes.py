"""Linear probes: what a linear classifier can read off each layer."""

import time
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workbench.analysis.features import layer_features, unusable
from workbench.analysis.fidelity import wilson
from workbench.analysis.networks import sides
from workbench.data import Dataset
from workbench.records import LayerProbes, Provenance, TrainingRecord

__all__ = ["linear_probes", "ridge_probe"]

PENALTIES = tuple(10.0**power for power in range(-6, 4))


def linear_probes(
    model: nn.Module | TrainingRecord,
    data: Dataset,
    *,
    layers: str | Sequence[str] | None = None,
    train_size: int = 2000,
    batch_size: int = 256,
    seed: int = 0,
) -> LayerProbes:
    """Test accuracy of a ridge classifier on each layer's features (Alain & Bengio 2016, with a closed form).

    Ridge regression onto one-hot labels, with an intercept. The penalty is chosen for each layer by the exact
    leave-one-out squared error on the training examples, so nothing is tuned on the test split.

    Parameters
    ----------
    model
        A network, or the record of its training (its final weights).
    data
        Probes are fitted on ``data.train`` and tested on ``data.test``.
    layers
        Layer names or globs; None: `default_layers`.
    train_size
        At most so many training examples, stratified by class: the cost is their number cubed where features are wider.
    batch_size
        Examples per forward pass.
    seed
        Of the choice of training examples.

    Examples
    --------
    >>> import workbench as wb
    >>> data = wb.data.load("digits")
    >>> probes = wb.analysis.linear_probes(wb.models.build("mlp", data), data, train_size=200)
    >>> probes.layers[0], bool(probes.accuracy[0] > 0.8)
    ('hidden.0', True)
    """
    started = time.perf_counter()
    if data.task != "classification":
        raise ValueError("data is a regression set; linear probes read classes")
    train = data.train if len(data.train) <= train_size else data.train.subset(train_size, seed)
    side, _ = sides(model, model, layers, (), epochs=())
    masked: dict[str, str] = {}
    rows = []
    pairs = zip(
        side.layers, layer_features(side, train, batch_size), layer_features(side, data.test, batch_size), strict=True
    )
    labels, test_labels = train.labels.cpu(), data.test.labels.cpu()
    for name, fit_on, test_on in pairs:
        reason = unusable(fit_on) or unusable(test_on)
        if reason:
            masked[name] = reason
            rows.append((torch.nan, (torch.nan, torch.nan), torch.nan, torch.nan))
            continue
        fitted, predicted, chosen = ridge_probe(fit_on, labels, test_on, len(data.classes))
        right = int((predicted.argmax(1) == test_labels).sum())
        share = float((fitted.argmax(1) == labels).double().mean())
        rows.append((right / len(test_labels), wilson(right, len(test_labels)), share, chosen))
    accuracy, intervals, train_accuracy, penalty = (torch.tensor(column) for column in zip(*rows, strict=True))
    return LayerProbes(
        name=side.name,
        layers=side.layers,
        accuracy=accuracy,
        intervals=intervals,
        train_accuracy=train_accuracy,
        penalty=penalty,
        chance=float((test_labels == labels.bincount().argmax()).double().mean()),
        n_train=len(train),
        n_test=len(test_labels),
        masked=masked,
        provenance=Provenance.capture(seed=seed, device=side.device, started=started),
    )


def ridge_probe(
    features: Tensor, labels: Tensor, test: Tensor, classes: int, penalties: Sequence[float] = PENALTIES
) -> tuple[Tensor, Tensor, float]:
    """Scores of a ridge classifier on its own and on other examples, and the penalty that leave-one-out chose.

    With centred features X = U S Vᵀ and centred targets Y, the fitted scores are ȳ + U D Uᵀ Y, D = S²/(S² + λ), and the
    residual of example i when left out is r_i / (1 − 1/n − Σ_k U_ik² D_k): all penalties from one factorisation.

    Parameters
    ----------
    features, test
        Shapes (n, d) and (m, d).
    labels
        int64, shape (n,).
    classes
        Number of classes C.
    penalties
        λ to choose from, times the mean squared norm of the centred features.

    Returns
    -------
    tuple
        Scores (n, C) and (m, C), and the chosen entry of `penalties`.
    """
    features, test = features.double(), test.double()
    mean = features.mean(0)
    x, new = features - mean, test - mean
    targets = F.one_hot(labels, classes).double()
    level = targets.mean(0)
    if x.shape[1] <= len(x):
        squares, right = torch.linalg.eigh(x.mT @ x)
        keep = squares > squares[-1] * 1e-12
        squares, right = squares[keep], right[:, keep]
        left, new = x @ right / squares.sqrt(), new @ right / squares.sqrt()
    else:
        squares, left = torch.linalg.eigh(x @ x.mT)
        keep = squares > squares[-1] * 1e-12
        squares, left = squares[keep], left[:, keep]
        new = new @ (x.mT @ left) / squares
    along = left.mT @ (targets - level)
    unit = float(squares.sum()) / len(x)
    best: tuple[float, float] = (float("inf"), penalties[0])
    for penalty in penalties:
        shrink = squares / (squares + penalty * unit)
        residual = targets - level - left @ (shrink[:, None] * along)
        leverage = 1 / len(x) + left.square() @ shrink
        error = float((residual / (1 - leverage).clamp_min(1e-12)[:, None]).square().mean())
        best = min(best, (error, penalty))
    shrink = squares / (squares + best[1] * unit)
    fitted, predicted = (level + each @ (shrink[:, None] * along) for each in (left, new))
    return fitted, predicted, best[1]
