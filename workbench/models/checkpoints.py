"""Weights from files: public checkpoints and plain state dicts, read without running code from them."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from safetensors.torch import load_file
from torch import Tensor, nn

from workbench.models.torch_files import UnsafeError, fault_of, read_torch

Network = TypeVar("Network", bound=nn.Module)


class CheckpointError(ValueError):
    """A checkpoint that cannot be read, or that does not fit the network. The message names file and weights."""


def load_checkpoint(model: Network, path: str | os.PathLike) -> Network:
    """Load weights into `model` and return it.

    The public CIFAR checkpoints ``resnet20`` … ``resnet110`` (akamaster/pytorch_resnet_cifar10) fit
    ``build("resnet20", ((3, 32, 32), 10))`` and its deeper siblings. They want images normalised with their constants:
    ``data.renormalise(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))``.

    Parameters
    ----------
    model
        Network whose weights are replaced.
    path
        ``.safetensors``, or what ``torch.save`` wrote: a state dict, or a dict with one under ``state_dict``. A leading
        ``module.`` in every name, as DataParallel leaves, is dropped. Read with ``weights_only``: a stranger's file
        runs no code.

    Raises
    ------
    CheckpointError
        The file is damaged, would run code, holds no weights, or its names or shapes do not fit.
    FileNotFoundError
        There is no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint at {path}")
    weights = _weights(_content(path), path)
    own = model.state_dict()
    # Older checkpoints do not count batches; the count decides nothing unless a batch norm averages cumulatively.
    missing = [name for name in own if name not in weights and not name.endswith("num_batches_tracked")]
    strange = [name for name in weights if name not in own]
    differ = [
        f"{name} {tuple(weights[name].shape)} instead of {tuple(value.shape)}"
        for name, value in own.items()
        if name in weights and weights[name].shape != value.shape
    ]
    problems = [
        f"{what} {', '.join(listed[:3])}" + (f" and {len(listed) - 3} more" if len(listed) > 3 else "")
        for what, listed in (("lacks", missing), ("has besides", strange), ("differs in", differ))
        if listed
    ]
    if problems:
        raise CheckpointError(f"{path} does not fit this {type(model).__name__}: it {'; it '.join(problems)}")
    model.load_state_dict(weights, strict=False)
    return model


def _content(path: Path) -> Any:
    try:
        return load_file(path) if path.suffix == ".safetensors" else read_torch(path)
    except UnsafeError:
        raise CheckpointError(
            f"{path} is not a file of weights alone, and is not read: anything else in it could run code"
        ) from None
    except Exception as error:  # noqa: BLE001 - damaged files fail in ways that cannot be listed
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path} is damaged or is no checkpoint ({first_line})") from None


def _weights(content: Any, path: Path) -> dict[str, Tensor]:
    state = content.get("state_dict", content) if isinstance(content, Mapping) else content
    if not _is_state(state):
        raise CheckpointError(f"{path} holds no state dict: a mapping from names to tensors")
    for name, value in state.items():
        if fault := fault_of(value):
            raise CheckpointError(f"{name} in {path} is {fault}")
    if all(name.startswith("module.") for name in state):
        return {name.removeprefix("module."): value for name, value in state.items()}
    return dict(state)


def _is_state(content: Any) -> bool:
    return (
        isinstance(content, Mapping)
        and bool(content)
        and all(isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items())
    )
