"""Expert trajectories: the weights of networks after every epoch of training, in memory or in one file that streams.

The file is a safetensors file with one tensor ``weights`` of shape (experts, epochs + 1, P), so that reading the
weights of one expert at one epoch reads nothing else. Opening one runs no code from it.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import safe_open
from torch import Tensor, nn

from workbench import models
from workbench.condensation.trajectories.trajectory_file import HEADER, SCHEMA, TrajectoryWriter, described


class TrajectoryError(ValueError):
    """Trajectories that are damaged, or do not fit what they are used for."""


class Trajectories:
    """The weights of K experts after 0..E epochs; each is a vector of P weights.

    Parameters
    ----------
    weights
        Shape (K, E + 1, P).
    shapes
        Name and shape of each weight in the vector, in order.
    spec
        What `workbench.models.from_spec` needs to build the network.
    accuracy
        Test accuracy of each expert after epochs 1..E, shape (K, E), in 0..1; None if it was not measured.
    settings
        How the experts were trained, as plain values.

    Raises
    ------
    TrajectoryError
        The shape of the weights does not fit `shapes`.

    Examples
    --------
    >>> import workbench as wb
    >>> data = wb.data.load("digits").subset(100)
    >>> experts = wb.condensation.Experts(count=2, epochs=3, network="mlp", options={"width": 8, "depth": 1})
    >>> found = experts.train(data, progress=False)
    >>> found
    Trajectories(2 experts × 3 epochs × 610 weights)
    >>> found.at(1, 3).shape
    torch.Size([610])
    """

    def __init__(
        self,
        weights: Any,
        shapes: Mapping[str, Sequence[int]],
        *,
        spec: dict[str, Any] | None = None,
        accuracy: Tensor | None = None,
        settings: dict[str, Any] | None = None,
        path: Path | None = None,
    ) -> None:
        self._weights = weights  # a tensor, or a slice of an open file, which is read piece by piece
        self.shapes = {name: tuple(shape) for name, shape in shapes.items()}
        self.spec = spec
        self.accuracy = accuracy
        self.settings = dict(settings or {})
        self.path = path
        shape = tuple(weights.shape if isinstance(weights, Tensor) else weights.get_shape())
        size = sum(torch.Size(s).numel() for s in self.shapes.values())
        where = "" if path is None else f" in {path}"
        if len(shape) != 3 or shape[0] < 1 or shape[1] < 2:
            raise TrajectoryError(
                f"weights{where} have shape {shape}; trajectories need (experts, epochs + 1, weights) with at least "
                "one expert and one epoch"
            )
        if shape[2] != size:
            raise TrajectoryError(f"weights{where} are vectors of {shape[2]}, but the network has {size} weights")
        self._shape = shape

    def __len__(self) -> int:
        return self._shape[0]

    def __repr__(self) -> str:
        streamed = "" if self.path is None else f", streamed from {self.path.name}"
        return f"Trajectories({len(self)} experts × {self.epochs} epochs × {self.size:,} weights{streamed})"

    @property
    def epochs(self) -> int:
        """Number of epochs E."""
        return self._shape[1] - 1

    @property
    def size(self) -> int:
        """Number of weights P of one network."""
        return self._shape[2]

    def at(self, expert: int, epoch: int) -> Tensor:
        """The weights of one expert after `epoch` epochs, a copy of shape (P,), on the CPU."""
        self._check(expert, epoch)
        return torch.as_tensor(self._weights[expert : expert + 1, epoch : epoch + 1]).reshape(-1).clone()

    def of(self, expert: int) -> Tensor:
        """The trajectory of one expert, a copy of shape (E + 1, P), on the CPU."""
        self._check(expert, 0)
        return torch.as_tensor(self._weights[expert : expert + 1])[0].clone()

    def take(self, experts: Sequence[int]) -> Self:
        """Some of the experts, in memory."""
        accuracy = None if self.accuracy is None else self.accuracy[list(experts)]
        weights = torch.stack([self.of(expert) for expert in experts])
        return type(self)(weights, self.shapes, spec=self.spec, accuracy=accuracy, settings=self.settings)

    def network(self, expert: int = 0, epoch: int | None = None) -> nn.Module:
        """The network of one expert after `epoch` epochs (by default the last).

        Raises
        ------
        TrajectoryError
            The experts were no networks of `workbench.models.build`.
        """
        if self.spec is None:
            raise TrajectoryError("these trajectories do not say what network they are of: build it and use `at`")
        network = models.from_spec(self.spec)
        pieces = self.at(expert, self.epochs if epoch is None else epoch).split(
            [torch.Size(shape).numel() for shape in self.shapes.values()]
        )
        state = {name: piece.view(shape) for (name, shape), piece in zip(self.shapes.items(), pieces, strict=True)}
        network.to(next(iter(state.values())).dtype).load_state_dict(state)
        return network

    def save(self, path: str | os.PathLike) -> Path:
        """Write everything to one file, expert by expert; it appears whole or not at all. Returns its path."""
        with TrajectoryWriter(path, self._shape[1:], self.of(0).dtype) as writer:
            for expert in range(len(self)):
                writer.add(self.of(expert))
            writer.finish(described(self.shapes, spec=self.spec, accuracy=self.accuracy, settings=self.settings))
        return writer.path

    @classmethod
    def open(cls, path: str | os.PathLike) -> Self:
        """The trajectories in a file; weights stay there until they are asked for.

        Raises
        ------
        TrajectoryError
            The file holds no trajectories, is cut short or damaged, or was written by a newer workbench.
        FileNotFoundError
            There is no such file.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"there are no trajectories at {path}")
        try:
            file = safe_open(path, framework="numpy")  # with "pt" a file must be smaller than memory
            about = _about(file, path)
            weights = file.get_slice("weights")
            _check_described(about, weights)
            accuracy = about["accuracy"]
            return cls(
                weights,
                about["shapes"],
                spec=about["spec"],
                accuracy=None if accuracy is None else torch.tensor(accuracy, dtype=torch.float64),
                settings=about["settings"],
                path=path,
            )
        except TrajectoryError:
            raise
        except Exception as error:  # noqa: BLE001 - damaged files fail in ways that cannot be listed
            raise TrajectoryError(f"{path} is cut short, damaged, or holds no trajectories ({error})") from None

    def _check(self, expert: int, epoch: int) -> None:
        if not 0 <= expert < len(self):
            raise IndexError(f"expert is {expert}; there are experts 0..{len(self) - 1}")
        if not 0 <= epoch <= self.epochs:
            raise IndexError(f"epoch is {epoch}; there are epochs 0 (before training) to {self.epochs}")


def _about(file: Any, path: Path) -> dict[str, Any]:
    """What the file notes beside its weights."""
    header = (file.metadata() or {}).get(HEADER)
    if header is None or "weights" not in file.keys():  # noqa: SIM118 - a safetensors file, not a dict
        raise TrajectoryError(f"{path} is a safetensors file, but holds no trajectories")
    about: dict[str, Any] = json.loads(header)
    if about["schema"] > SCHEMA:
        raise TrajectoryError(
            f"{path} was written by a newer workbench (schema {about['schema']}; this one reads up to {SCHEMA})"
        )
    return about


def _check_described(about: dict[str, Any], weights: Any) -> None:
    """Refuse what a file says of its weights and cannot be: what is not looked at here fails long after opening."""
    if weights.get_dtype() not in ("F16", "F32", "F64"):
        raise ValueError(f"its weights are {weights.get_dtype()}")
    shapes, accuracy = about["shapes"], about["accuracy"]
    plain = isinstance(shapes, dict) and all(
        isinstance(shape, list) and all(type(size) is int and 0 <= size < 2**40 for size in shape) and len(shape) < 9
        for shape in shapes.values()
    )
    if not plain or not isinstance(about["settings"], dict) or not isinstance(about["spec"], dict | None):
        raise ValueError("shapes, spec or settings are not what they should be")
    if accuracy is not None:
        experts, epochs = weights.get_shape()[0], weights.get_shape()[1] - 1
        rows = [len(row) for row in accuracy]
        if rows != [epochs] * experts or not all(isinstance(value, int | float) for row in accuracy for value in row):
            raise ValueError(f"accuracy is not of {experts} experts after {epochs} epochs")
