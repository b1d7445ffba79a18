"""One short text that two data sets share only if they hold the same examples, labels and class names."""

import hashlib
from collections.abc import Iterable, Iterator
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from workbench.data.dataset import Dataset, Split

CHUNK = 2**24
"""Bytes hashed at a time, so that data on a GPU or of many gigabytes need no second copy in memory."""

_KNOWN: WeakKeyDictionary[Split, tuple[tuple[int, ...], bytes]] = WeakKeyDictionary()


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
        digest.update(_digest(split))
    return digest.hexdigest()[:16]


def tensors_fingerprint(parts: Iterable[Tensor | str]) -> str:
    """Sixteen characters that depend on every value, shape and type of some tensors, and on texts among them.

    Examples
    --------
    >>> first, again, other = (tensors_fingerprint([x]) for x in (torch.zeros(3), torch.zeros(3), torch.zeros(1, 3)))
    >>> first == again, first == other
    (True, False)
    """
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            digest.update(f"{len(part)} {part}".encode())
        else:
            _add(digest, part)
    return digest.hexdigest()[:16]


def module_fingerprint(module: nn.Module) -> str:
    """`tensors_fingerprint` of a network: its kind, and the names and values of its weights and buffers."""
    return tensors_fingerprint(module_parts(module))


def module_parts(module: nn.Module) -> Iterator[Tensor | str]:
    """What a network's fingerprint depends on."""
    yield type(module).__name__
    for named in (module.named_parameters(), module.named_buffers()):
        for name, value in named:
            yield name
            yield value


def _digest(split: Split) -> bytes:
    """Of one split; computed again only if one of its tensors was changed in place."""
    tensors = (split.inputs, split.labels, split.mean, split.std)
    versions = tuple(tensor._version for tensor in tensors)  # noqa: SLF001 - the only sign of a change
    found = _KNOWN.get(split)
    if found is None or found[0] != versions:
        digest = hashlib.sha256()
        digest.update(f"{split.classes} {split.features} {split.target_mean} {split.target_std}".encode())
        for tensor in tensors:
            _add(digest, tensor)
        found = _KNOWN[split] = versions, digest.digest()
    return found[1]


def _add(digest: "hashlib._Hash", tensor: Tensor) -> None:
    digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
    flat = (
        tensor.detach().contiguous().reshape(-1).view(torch.uint8)
        if tensor.numel()
        else tensor.new_zeros(0, dtype=torch.uint8)
    )
    for start in range(0, len(flat), CHUNK):
        digest.update(flat[start : start + CHUNK].cpu().numpy().tobytes())
