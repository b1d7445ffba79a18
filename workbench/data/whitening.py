"""ZCA whitening: pixels made uncorrelated by the linear map nearest to leaving images as they are.

    x' = (x − m) W,   W = U (S + ε)^(−½) Uᵀ,   U S Uᵀ the covariance of the training images, raw 0..1.

As the protocol of trajectory matching has it (paper 019, CIFAR; ε = 0.1, covariance over n − 1): fitted on the training
split, applied to both.
"""

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from workbench.data.dataset import Dataset, Split
from workbench.data.sampling import DataError


@dataclass(frozen=True, eq=False)
class Whitening:
    """The map and its inverse.

    Attributes
    ----------
    mean
        m, shape (c, h, w).
    matrix, inverse
        W and W⁻¹, each symmetric, shape (d, d) with d = c · h · w.
    """

    mean: Tensor
    matrix: Tensor
    inverse: Tensor

    @classmethod
    def fit(cls, images: Tensor, eps: float = 0.1) -> "Whitening":
        """Of raw images (n, c, h, w); computed in float64, kept in the images' own type.

        Examples
        --------
        >>> x = torch.rand(50, 1, 2, 2, dtype=torch.float64)
        >>> w = Whitening.fit(x, eps=1e-12)
        >>> torch.allclose(w(x).flatten(1).T.cov(), torch.eye(4, dtype=torch.float64))
        True
        """
        flat = images.flatten(1).double()
        mean = flat.mean(0)
        centred = flat - mean
        values, U = torch.linalg.eigh(centred.T @ centred / max(1, len(flat) - 1))
        spread = (values.clamp(min=0) + eps).sqrt()
        matrix, inverse = ((U * each) @ U.T for each in (1 / spread, spread))
        return cls(mean.view(images.shape[1:]).to(images), matrix.to(images), inverse.to(images))

    def __call__(self, raw: Tensor) -> Tensor:
        """Whitened images of raw ones (…, c, h, w)."""
        return self._mapped(raw - self.mean.to(raw), self.matrix)

    def undo(self, white: Tensor) -> Tensor:
        """Raw images of whitened ones (…, c, h, w)."""
        return self._mapped(white, self.inverse) + self.mean.to(white)

    def _mapped(self, images: Tensor, matrix: Tensor) -> Tensor:
        return (images.flatten(-3) @ matrix.to(images)).view(images.shape)


def whitened(data: Dataset, *, eps: float = 0.1) -> Dataset:
    """The data with ZCA-whitened images, by the statistics of the training split.

    A set distilled from them keeps the inverse map, so that its pictures are shown as they would look unwhitened.

    Parameters
    ----------
    data
        Images.
    eps
        ε > 0: what variance is added to every direction.

    Raises
    ------
    DataError
        The data are no images, or whitened already, or `eps` is not positive.

    Examples
    --------
    >>> import workbench as wb
    >>> whitened(wb.data.load("digits"))
    Dataset('whitened digits', 1,200 train + 597 test × 1×8×8, 10 classes, cpu)
    """
    if len(data.shape) != 3:
        raise DataError(f"{data.name} has inputs of shape {data.shape}; only images are whitened")
    if data.train.whitening is not None:
        raise DataError(f"{data.name} is whitened already")
    if not eps > 0:
        raise DataError(f"eps={eps} must be positive")
    whitening = Whitening.fit(_raw(data.train), eps)

    def of(split: Split) -> Split:
        zero = torch.zeros_like(split.mean)
        return dataclasses.replace(
            split, inputs=whitening(_raw(split)), mean=zero, std=torch.ones_like(zero), whitening=whitening
        )

    return Dataset(f"whitened {data.name}", of(data.train), of(data.test))


def _raw(split: Split) -> Tensor:
    return split.inputs * split.std + split.mean
