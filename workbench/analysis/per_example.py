"""Loss and gradient of single examples: how much each would move a network by itself."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workbench.models import observe

__all__ = ["loss_and_gradient_norm"]


def loss_and_gradient_norm(
    network: nn.Module, inputs: Tensor, labels: Tensor, *, batch_size: int = 64
) -> tuple[Tensor, Tensor]:
    """Cross-entropy of each example in nats, and the Euclidean norm of its gradient by all trained parameters.

    Parameters
    ----------
    network
        Any classifier without a state that its forward pass changes; run in eval mode, left as it was.
    inputs
        Shape (n, ...).
    labels
        Classes, int64, shape (n,), or distributions, shape (n, classes).
    batch_size
        Examples whose gradients are in memory at once.

    Returns
    -------
    tuple of Tensor
        Losses and norms, each (n,).

    Examples
    --------
    >>> import workbench as wb
    >>> data = wb.data.load("digits")
    >>> network = wb.models.build("mlp", data)
    >>> loss, norm = loss_and_gradient_norm(network, data.test.inputs[:5], data.test.labels[:5])
    >>> loss.shape, norm.shape
    (torch.Size([5]), torch.Size([5]))
    """
    observer = observe(network)
    trained = {name: p.detach() for name, p in network.named_parameters() if p.requires_grad}
    if not trained:  # a network that was frozen still has weights that a gradient can be asked for
        trained = {name: p.detach() for name, p in network.named_parameters()}
    fixed = {name: p.detach() for name, p in network.named_parameters() if name not in trained}
    fixed |= dict(network.named_buffers())

    def loss(parameters: Mapping[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        logits = observer(x[None], {**parameters, **fixed}).logits
        return F.cross_entropy(logits, y[None])

    run = torch.vmap(torch.func.grad_and_value(loss), in_dims=(None, 0, 0))
    training = network.training
    network.eval()
    losses, norms = [], []
    try:
        for x, y in zip(inputs.split(batch_size), labels.split(batch_size), strict=True):
            gradients, value = run(trained, x, y)
            losses.append(value)
            norms.append(sum(g.flatten(1).square().sum(1) for g in gradients.values()).sqrt())
    finally:
        network.train(training)
    return torch.cat(losses), torch.cat(norms)
