"""Posteriors into posteriors: self-distilled Gaussian processes, exact and at the speed of a slider (paper 001).

`SelfDistilledGPR` and `SelfDistilledGPC` are scikit-learn estimators on gpytorch or scikit-learn kernels; their `path`
is a `records.PosteriorPath`, which `redistill` moves to other steps, noises and mixing weights without a Gram matrix.
"""

from workbench.gp.bernoulli import ContinuousBernoulliLikelihood, LogisticLikelihood
from workbench.gp.classification import SelfDistilledGPC
from workbench.gp.paths import redistill
from workbench.gp.regression import SelfDistilledGPR

__all__ = [
    "ContinuousBernoulliLikelihood",
    "LogisticLikelihood",
    "SelfDistilledGPC",
    "SelfDistilledGPR",
    "redistill",
]
