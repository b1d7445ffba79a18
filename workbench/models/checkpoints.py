"""Weights from files: public checkpoints and plain state dicts, read without running code from them."""

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn


def load_checkpoint(model: nn.Module, path: str | os.PathLike) -> nn.Module:
    """Load weights into `model` from a ``.th`` / ``.pt`` / ``.safetensors`` file, and return it."""
    path = Path(path)
    content = torch.load(path, map_location="cpu", weights_only=True)
    state = content.get("state_dict", content)
    model.load_state_dict(_plain(state))
    return model


def _plain(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix("module."): value for name, value in state.items()}
