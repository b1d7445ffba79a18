"""The channel between clients and server: all that crosses goes through it, and its bytes are counted."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd
from torch import Tensor

UP, DOWN = "up", "down"


@dataclass(frozen=True)
class Message:
    """What crossed: in which round (0: before the first), whose, which way, what kind of thing, and its bytes."""

    round: int
    client: int
    way: str
    kind: str
    bytes: int


@dataclass
class Channel:
    """Counts what crosses, in both directions.

    Examples
    --------
    >>> import torch
    >>> channel = Channel()
    >>> (sent,) = channel.up(1, client=0, kind="soft labels", tensors=[torch.zeros(5, 10)])
    >>> channel.bytes(), channel.bytes(way="down")
    (200, 0)
    """

    messages: list[Message] = field(default_factory=list)

    def up(self, round: int, client: int, kind: str, tensors: Sequence[Tensor]) -> list[Tensor]:  # noqa: A002
        """What the server gets of a client's tensors: copies, without a graph."""
        return self._cross(round, client, UP, kind, tensors)

    def down(self, round: int, client: int, kind: str, tensors: Sequence[Tensor]) -> list[Tensor]:  # noqa: A002
        """What a client gets of the server's tensors."""
        return self._cross(round, client, DOWN, kind, tensors)

    def bytes(self, *, way: str | None = None, kind: str | None = None, round: int | None = None) -> int:  # noqa: A002
        """Sum over the messages that fit."""
        return sum(
            one.bytes
            for one in self.messages
            if way in (None, one.way) and kind in (None, one.kind) and round in (None, one.round)
        )

    def to_frame(self) -> pd.DataFrame:
        """One row per message."""
        return pd.DataFrame([vars(one) for one in self.messages], columns=["round", "client", "way", "kind", "bytes"])

    def _cross(self, at: int, client: int, way: str, kind: str, tensors: Sequence[Tensor]) -> list[Tensor]:
        size = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        self.messages.append(Message(at, client, way, kind, size))
        return [tensor.detach().clone() for tensor in tensors]
