"""The teacher's side of training: what it says about each training example, computed once where that is possible."""

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from workbench.data import Dataset, Split
from workbench.models import Outputs, observe

GuideFunction = Callable[[Tensor, Tensor], Outputs]


class Guide:
    """A teacher as `fit` calls it: ``guide(inputs, rows) -> Outputs``; `rows` are positions in the training split.

    Without augmentation the outputs on the whole training split are computed once, at the first step, and looked up
    from then on. They are kept as long as the split's tensor lives, so several students of one teacher share them.

    Parameters
    ----------
    teacher
        A network; it is put in eval mode and never trained.
    layers
        Layers whose features the outputs hold, as for `workbench.models.observe`.
    data
        Dataset or split that `rows` count in when the guide is called outside of `fit` (its train split is meant).
        `fit` and `Ensemble.fit` name their own training split, so there it need not be given.
    limit
        Bytes above which outputs are computed anew at every step instead of kept.

    Examples
    --------
    >>> import torch, workbench as wb
    >>> data = wb.data.load("digits").subset(50)
    >>> guide = Guide(wb.models.build("mlp", data), data=data)
    >>> rows = torch.tensor([3, 7])
    >>> guide(data.train.inputs[rows], rows).logits.shape
    torch.Size([2, 10])
    """

    def __init__(
        self,
        teacher: nn.Module,
        layers: str | Sequence[str] = (),
        data: Dataset | Split | None = None,
        *,
        limit: int = 2**30,
    ) -> None:
        self.teacher = teacher.eval()
        self.observer = observe(teacher, layers)
        self.data = None if data is None else train_split(data)
        self.limit = limit
        self._kept = WeakIdKeyDictionary()

    def __call__(self, inputs: Tensor, rows: Tensor) -> Outputs:
        kept = None if self.data is None else self.table(self.data)
        return self.live(inputs) if kept is None else kept.map(lambda table: table[rows])

    @torch.no_grad()
    def live(self, inputs: Tensor) -> Outputs:
        """The teacher's outputs, computed now; in the inputs' floating point type whatever the teacher's own is."""
        own = next(self.teacher.parameters(), None)
        if own is None:
            return self.observer(inputs)
        if own.device != inputs.device:
            self.teacher.to(inputs.device)
        if own.dtype == inputs.dtype or not inputs.is_floating_point():
            return self.observer(inputs)
        return self.observer(inputs.to(own.dtype)).map(lambda tensor: tensor.to(inputs.dtype))

    def table(self, split: Split, batch_size: int = 256) -> Outputs | None:
        """Outputs on all of `split`, kept for the next call; None when they would take more than `limit` bytes."""
        versions = [parameter._version for parameter in self.teacher.parameters()]  # noqa: SLF001 - the only sign of a change
        if split.inputs not in self._kept or self._kept[split.inputs][0] != versions:
            parts: list[Outputs] = []
            size = 0
            for inputs in split.inputs.split(batch_size):
                parts.append(self.live(inputs))
                tensors = [parts[-1].logits, *parts[-1].features.values()]
                size += sum(tensor.numel() * tensor.element_size() for tensor in tensors)
                if size > self.limit:
                    self._kept[split.inputs] = versions, None
                    return None
            whole = Outputs(
                torch.cat([part.logits for part in parts]),
                {name: torch.cat([part.features[name] for part in parts]) for name in parts[0].features},
            )
            self._kept[split.inputs] = versions, whole
        return cast("Outputs | None", self._kept[split.inputs][1])

    def on(self, split: Split, *, augmented: bool) -> GuideFunction:
        """This guide for training on `split`: looked up where the inputs are the split's own, else computed."""
        kept = None if augmented else self.table(split)
        if kept is None:
            return lambda inputs, rows: self.live(inputs)  # noqa: ARG005 - the guide's signature
        return lambda inputs, rows: kept.map(lambda table: table[rows])  # noqa: ARG005


def train_split(data: Dataset | Split) -> Split:
    """The split to train on: a dataset's `train`, or a split itself."""
    return data.train if isinstance(data, Dataset) else data
