"""What each training image does to the loss on others: exact, by training once more without it, all runs as one."""

import copy
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm.auto import tqdm

from workbench.condensation.judging.teaching import together
from workbench.data import Split
from workbench.models import Outputs
from workbench.training import Ensemble
from workbench.training.losses import Loss


def soft_cross_entropy(outputs: Outputs, guide: Outputs | None, labels: Tensor) -> Tensor:  # noqa: ARG001 - a `Loss`
    """Cross-entropy of each example with the guide's distribution in nats, shape (n,)."""
    assert guide is not None
    return F.cross_entropy(outputs.logits, guide.logits.softmax(-1), reduction="none")


def leave_one_out(
    network: nn.Module,
    split: Split,
    test: Split,
    *,
    soft: Tensor | None = None,
    owner: Tensor | None = None,
    loss: Loss | None = None,
    steps: int = 300,
    lr: float = 0.01,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    progress: bool = False,
    watch: Callable[[float], None] | None = None,
) -> tuple[Tensor, Tensor]:
    """Influence of every training image by exact leave-one-out (paper 009, C6).

        I_ij = ℓ_{−i}(x_j) − ℓ_all(x_j),

    where −i is trained from the same initial weights by the same number of full-batch steps without image i. All n + 1
    runs are one `Ensemble`, whose members differ in the 0/1 weights of the examples; each divides its loss by the
    number it keeps, so that a member is what training on the reduced set gives.

    Parameters
    ----------
    network
        With the initial weights; it is not changed.
    split
        The training examples, n or more.
    test
        The examples whose loss is looked at.
    soft
        Label distributions of the training examples, shape (examples, classes), instead of the split's classes.
    owner
        Which image each training example belongs to, 0 … n−1: they are left out together. By default each is its own.
    loss
        Instead of cross-entropy, per example as for `workbench.training.fit`; also measured on the test examples.
    steps, lr, momentum, weight_decay
        Of full-batch gradient descent; the defaults are the paper's code.
    progress
        Show a progress bar.
    watch
        Called after each step with the share of the work done, 0..1; raising ends it.

    Returns
    -------
    tuple of Tensor
        Influences, shape (n, test examples): positive where the loss is higher without the image, so that the image
        helps; and the losses with all images, shape (test examples,).

    Raises
    ------
    ValueError
        There are fewer than two images.

    Examples
    --------
    >>> import workbench as wb
    >>> data = wb.data.load("digits")
    >>> few = data.train.per_class(1)
    >>> influence, loss = leave_one_out(wb.models.build("mlp", data, width=16), few, data.test, steps=20)
    >>> influence.shape, loss.shape
    (torch.Size([10, 597]), torch.Size([597]))
    """
    examples = len(split)
    owner = torch.arange(examples) if owner is None else owner.cpu()
    n = int(owner.max()) + 1 if len(owner) else 0
    if n < 2:
        raise ValueError(f"split has {n} images; leaving one out needs at least two")
    device = split.inputs.device
    weights = torch.cat([torch.ones(1, examples), (owner[None] != torch.arange(n)[:, None]).float()])
    weights = weights.to(split.inputs)
    network = copy.deepcopy(network).to(device, split.inputs.dtype)
    distributions = soft
    if soft is None and split.classes and loss is None:
        distributions = F.one_hot(split.labels, len(split.classes)).to(split.inputs)
    judged = loss or soft_cross_entropy
    size = together(network, split.inputs[:1], examples)
    total = steps * -(-(n + 1) // size)
    rows, done = [], 0
    with tqdm(total=total, desc="leaving one out", disable=not progress, leave=False, unit="step") as bar:
        for some in weights.split(size):
            members = len(some)
            ensemble = Ensemble([copy.deepcopy(network) for _ in range(members)])
            ensemble.prepare(
                loss=_Weighted(judged), optimizer="sgd", lr=lr, momentum=momentum, weight_decay=weight_decay
            )
            inputs = split.inputs.expand(members, *split.inputs.shape)
            labels = split.labels.expand(members, examples)
            said = torch.zeros(examples, 1).to(split.inputs) if distributions is None else distributions.log()
            guide = Outputs(said.expand(members, *said.shape), {"weight": some})
            for _ in range(steps):
                ensemble.step(inputs, labels, guide)
                done += 1
                bar.update()
                if watch is not None:
                    watch(done / total)
            rows.append(_losses(ensemble, test, judged, hard=loss is None))
    losses = torch.cat(rows)
    return losses[1:] - losses[0], losses[0]


class _Weighted:
    """The mean of a loss over the examples that have weight."""

    def __init__(self, loss: Loss) -> None:
        self.loss = loss

    def __call__(self, outputs: Outputs, guide: Outputs | None, labels: Tensor) -> Tensor:
        assert guide is not None
        weight = guide.features["weight"]
        return (weight * self.loss(outputs, guide, labels)).sum() / weight.sum()


@torch.no_grad()
def _losses(ensemble: Ensemble, test: Split, loss: Loss, *, hard: bool) -> Tensor:
    """Loss of every member on every test example, shape (members, n), on the CPU."""
    logits = ensemble.outputs(test.inputs, per_member=False).logits
    if hard:
        return torch.stack([F.cross_entropy(one, test.labels, reduction="none") for one in logits]).cpu()
    return torch.stack([loss(Outputs(one), None, test.labels) for one in logits]).cpu()
