"""One short text that two data sets share only if they hold the same examples, labels and class names."""

import hashlib

import torch
from torch import Tensor

from workbench.data.dataset import Dataset, Split

CHUNK = 2**24
"""Bytes hashed at a time, so that data on a GPU or of many gigabytes need no second copy in memory."""


def fingerprint(data: Dataset | Split) -> str:
    """Sixteen characters that depend on every example, label, class name and normalisation constant.

    Independent of the device and of the data set's name.

    Examples
    --------
    >>> import workbench as wb
    >>> digits = wb.data.load("digits")
    >>> fingerprint(digits) == fingerprint(wb.data.load("digits")), fingerprint(digits) == fingerprint(digits.test)
    (True, False)
    """
    digest = hashlib.sha256()
    for split in (data.train, data.test) if isinstance(data, Dataset) else (data,):
        digest.update(f"{split.classes} {split.features} {split.target_mean} {split.target_std}".encode())
        for tensor in (split.inputs, split.labels, split.mean, split.std):
            _add(digest, tensor)
    return digest.hexdigest()[:16]


def _add(digest: "hashlib._Hash", tensor: Tensor) -> None:
    digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
    flat = tensor.detach().reshape(-1).view(torch.uint8) if tensor.numel() else tensor.new_zeros(0, dtype=torch.uint8)
    for start in range(0, len(flat), CHUNK):
        digest.update(flat[start : start + CHUNK].cpu().numpy().tobytes())
