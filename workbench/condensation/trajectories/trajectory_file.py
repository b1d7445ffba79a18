"""Writes expert trajectories to a safetensors file one by one, so that they never need to be in memory at once."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor

from workbench.records.writing import place_beside

HEADER = "workbench-trajectories"
SCHEMA = 1
_ROOM = 2**20  # bytes kept for the header, which is only known at the end; safetensors allows it to end in spaces
_TYPES = {torch.float16: "F16", torch.float32: "F32", torch.float64: "F64"}


class TrajectoryWriter:
    """A file that grows by one expert at a time and appears under its name when it is finished.

    Parameters
    ----------
    path
        Of the file.
    shape
        (epochs + 1, P) of every expert.
    dtype
        Floating point type that the weights are stored in.
    """

    def __init__(self, path: str | os.PathLike, shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> None:
        self.path = Path(path)
        self.shape, self.dtype, self.experts = tuple(shape), dtype, 0
        self._temporary = place_beside(self.path)
        self._file = self._temporary.open("wb")
        self._file.seek(8 + _ROOM)

    def add(self, trajectory: Tensor) -> None:
        """Append the trajectory of one expert, shape (epochs + 1, P).

        Raises
        ------
        ValueError
            It has another shape than the file was made for.
        """
        if tuple(trajectory.shape) != self.shape:
            raise ValueError(f"the trajectory has shape {tuple(trajectory.shape)}; this file holds {self.shape}")
        stored = trajectory.detach().to("cpu", self.dtype).contiguous()
        self._file.write(stored.view(torch.uint8).numpy().data)
        self.experts += 1

    def finish(self, about: dict[str, Any]) -> Path:
        """Write the header with `about`, plain values, and give the file its name."""
        end = self.experts * torch.Size(self.shape).numel() * self.dtype.itemsize
        header = {
            "__metadata__": {HEADER: json.dumps({"schema": SCHEMA, **about})},
            "weights": {
                "dtype": _TYPES[self.dtype],
                "shape": [self.experts, *self.shape],
                "data_offsets": [0, end],
            },
        }
        text = json.dumps(header).encode()
        if len(text) > _ROOM:
            raise ValueError(f"what is to be noted beside the weights takes {len(text)} bytes, more than {_ROOM}")
        self._file.seek(0)
        self._file.write(_ROOM.to_bytes(8, "little") + text.ljust(_ROOM))
        self._file.close()
        self._temporary.replace(self.path)
        return self.path

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._temporary.unlink(missing_ok=True)


def described(
    shapes: Mapping[str, Sequence[int]],
    *,
    spec: Mapping[str, Any] | None,
    accuracy: Tensor | None,
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """What the file notes beside the weights; the arguments are those of `Trajectories`."""
    return {
        "shapes": {name: list(shape) for name, shape in shapes.items()},
        "spec": None if spec is None else dict(spec),
        "accuracy": None if accuracy is None else accuracy.tolist(),
        "settings": dict(settings),
    }
