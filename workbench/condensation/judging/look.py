"""`look`: what each distilled image is to a network: loss, gradient, nearest real images, influence, attribution."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from workbench import models
from workbench.analysis import attribute, loss_and_gradient_norm
from workbench.analysis import nearest as nearest_among
from workbench.condensation.judging.influence import leave_one_out
from workbench.condensation.judging.teaching import Lesson, Recipe, SoftLabels, teach
from workbench.condensation.judging.usable import decoded, fitting
from workbench.data import Dataset, Split
from workbench.models import observe
from workbench.records import DistilledLooks, DistilledSet, Provenance, TrainingRecord
from workbench.training import distributed
from workbench.training.evaluating import logits_of


def look(
    distilled: DistilledSet,
    data: Dataset,
    network: nn.Module | TrainingRecord | str | None = None,
    *,
    influence: bool | str = False,
    nearest: int = 4,
    influenced: int = 8,
    attributions: Sequence[str] = (),
    baseline: str | Tensor = "mean",
    epochs: int = 300,
    steps: int = 300,
    lr: float = 0.01,
    momentum: float = 0.9,
    seed: int = 0,
    device: str | torch.device = "auto",
    progress: bool = True,
    watch: Callable[[float], None] | None = None,
) -> DistilledLooks:
    """Look at every image of a distilled set through a network.

    Parameters
    ----------
    distilled
        The set.
    data
        The real data: nearest images are of its training split, influence is on its test split.
    network
        A trained network, or the record of its training; an architecture by name, or None (the one the images were
        made with, else a ConvNet): it is trained on the distilled set by the field's protocol (`evaluate`).
    influence
        Also retrain without each image in turn, by `leave_one_out`: True for an MLP of two layers of 64 units, or an
        architecture by name. Costs as much as training n + 1 networks.
    nearest
        How many nearest real images to find for each.
    influenced
        How many real test images to name for each that its absence changes most.
    attributions
        Methods of `workbench.analysis.attribute` to keep, towards each image's own class.
    baseline
        For those.
    epochs
        Of training the network, where it is to be trained.
    steps, lr, momentum
        Of the leave-one-out runs.
    seed
        Of the weights of networks trained here.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"``.
    progress
        Show a progress bar of the leave-one-out runs.
    watch
        Called with the share of those done, 0..1; what it raises ends the look.

    Raises
    ------
    ValueError
        The set does not fit the data, or the network does not fit the images.

    Examples
    --------
    >>> import workbench as wb
    >>> data = wb.data.load("digits")
    >>> tiny = wb.condensation.condense(data, wb.condensation.DistributionMatching(ipc=1), iterations=0, progress=False)
    >>> seen = look(tiny, data, "mlp", epochs=20, progress=False)
    >>> seen.loss.shape, seen.nearest_pixels.shape
    (torch.Size([10]), torch.Size([10, 4]))
    """
    started = time.perf_counter()
    place = distributed.pick(device)
    data = data.to(place)
    fitted = fitting(distilled, data)
    examples, soft, owner = decoded(fitted)
    model, name, trained_here = _network(network, distilled, examples, soft, data, epochs, seed, place)
    model = model.to(place, examples.inputs.dtype)
    logits = logits_of(model, examples.inputs)
    if logits.shape[1] != len(data.classes):
        raise ValueError(
            f"network has {logits.shape[1]} outputs, but data {data.name!r} has {len(data.classes)} classes"
        )
    loss, norm = loss_and_gradient_norm(model, examples.inputs, examples.labels if soft is None else soft)
    by_pixels = nearest_among(fitted.images, data.train.inputs, nearest)
    own = _averaged(features(model, examples.inputs), owner)
    by_features = nearest_among(own, features(model, data.train.inputs), nearest)
    change = None
    if influence:
        which = "mlp" if influence is True else influence
        options = {"width": 64} if influence is True else {}
        change, _ = leave_one_out(
            models.build(which, data, seed=seed, **options),
            examples,
            data.test,
            soft=soft,
            owner=owner,
            steps=steps,
            lr=lr,
            momentum=momentum,
            progress=progress,
            watch=watch,
        )
    top = None if change is None else change.abs().topk(min(influenced, change.shape[1]), dim=1).indices
    thumbnails, rows = _gathered(data, by_pixels[1].cpu(), by_features[1].cpu(), top)
    one_hot = nn.functional.one_hot(data.test.labels, len(data.classes)).double().cpu()
    per_class = None if change is None else (change.double() @ one_hot / one_hot.sum(0)).float()
    found = {
        method: attribute(
            model, fitted.images, fitted.hard_labels, method, baseline, mean=data.mean, std=data.std, seed=seed
        )
        for method in attributions
    }
    return DistilledLooks(
        network=name,
        spec=getattr(model, "spec", None),
        classes=data.classes,
        loss=_averaged(loss, owner).cpu(),
        gradient_norm=_averaged(norm, owner).cpu(),
        probabilities=_averaged(logits.softmax(1), owner).cpu(),
        **thumbnails,
        nearest_pixels=rows[0],
        nearest_pixels_distance=by_pixels[0].cpu(),
        nearest_features=rows[1],
        nearest_features_distance=by_features[0].cpu(),
        influence=per_class,
        influence_rows=None if change is None else rows[2],
        influence_values=None if change is None or top is None else change.gather(1, top),
        attributions=found,
        settings={
            "trained_here": trained_here,
            "epochs": epochs if trained_here else 0,
            "seed": seed,
            "influence": influence,
            "steps": steps,
            "lr": lr,
            "momentum": momentum,
            "data": data.name,
        },
        provenance=Provenance.capture(seed=seed, device=place, started=started),
    )


@torch.no_grad()
def features(network: nn.Module, inputs: Tensor, batch_size: int = 512) -> Tensor:
    """What the last linear layer of a network sees, shape (n, d): by its attribute ``penultimate``, or by its input.

    Raises
    ------
    ValueError
        The network has neither that attribute nor a linear layer.
    """
    layer = getattr(network, "penultimate", None)
    training = network.training
    network.eval()
    try:
        if layer is not None:
            observer = observe(network, layer)
            return torch.cat([observer(x).features[layer].flatten(1) for x in inputs.split(batch_size)])
        linear = [module for module in network.modules() if isinstance(module, nn.Linear)]
        if not linear:
            raise ValueError(
                f"{type(network).__name__} has no linear layer: set network.penultimate to the name of the layer whose "
                "output stands for an image"
            )
        seen: list[Tensor] = []
        handle = linear[-1].register_forward_pre_hook(lambda module, given: seen.append(given[0].flatten(1)))  # noqa: ARG005
        try:
            for x in inputs.split(batch_size):
                network(x)
        finally:
            handle.remove()
        return torch.cat(seen)
    finally:
        network.train(training)


def _network(
    network: nn.Module | TrainingRecord | str | None,
    distilled: DistilledSet,
    examples: Split,
    soft: Tensor | None,
    data: Dataset,
    epochs: int,
    seed: int,
    place: torch.device,
) -> tuple[nn.Module, str, bool]:
    """The network to look through, what it is called, and whether it was trained for this."""
    if isinstance(network, TrainingRecord):
        return network.model, network.name or (network.spec or {}).get("name", "network"), False
    if isinstance(network, nn.Module):
        return network, (getattr(network, "spec", None) or {}).get("name", type(network).__name__), False
    spec: dict[str, Any] | None = distilled.spec if network is None else None
    name = network or (spec or {}).get("name", "convnet")
    built = models.build(name, data, seed=seed, **(spec or {}).get("options", {}))
    if distilled.start and network is None:
        built.load_state_dict(distilled.start)
    lesson = Lesson(examples, None if soft is None else SoftLabels(soft))
    what = f"{name} trained on {distilled.name or distilled.method}"
    teach([built], [lesson], data.test, Recipe(epochs=epochs, points=1), seeds=[seed], device=place, what=what)
    return built, what, True


def _averaged(values: Tensor, owner: Tensor) -> Tensor:
    """Means over the examples (m, ...) of each image, shape (n, ...)."""
    n = int(owner.max()) + 1
    sums = values.new_zeros(n, *values.shape[1:]).index_add(0, owner, values)
    count = torch.bincount(owner, minlength=n).to(values.dtype)
    return sums / count.view(-1, *[1] * (values.ndim - 1))


def _gathered(
    data: Dataset, by_pixels: Tensor, by_features: Tensor, top: Tensor | None
) -> tuple[dict[str, Tensor], list[Tensor]]:
    """Thumbnails of all real images that are named, each once, and the names as rows of those."""
    train = torch.cat([by_pixels.flatten(), by_features.flatten()]).unique()
    test = torch.empty(0, dtype=torch.int64) if top is None else top.flatten().unique()
    parts = [data.train.take(train), data.test.take(test)]
    fields = {
        "real": torch.cat([part.images() for part in parts]),
        "real_labels": torch.cat([part.labels.cpu() for part in parts]),
        "real_index": torch.cat([part.index for part in parts]),
        "real_is_test": torch.cat([torch.zeros(len(train)), torch.ones(len(test))]).bool(),
    }
    rows = [torch.searchsorted(train, by_pixels), torch.searchsorted(train, by_features)]
    return fields, rows if top is None else [*rows, len(train) + torch.searchsorted(test, top)]
