"""Posteriors into posteriors: self-distilled Gaussian processes, exact and at the speed of a slider (paper 001).

`SelfDistilledGPR` and `SelfDistilledGPC` are scikit-learn estimators on gpytorch or scikit-learn kernels; their `path`
is a `records.PosteriorPath`, which `redistill` moves to other steps, noises and mixing weights without a Gram matrix.
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
