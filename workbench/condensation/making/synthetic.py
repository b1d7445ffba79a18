"""The synthetic set while it is being made: stored pixels that are optimised, and the examples they stand for."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor


class View(Protocol):
    """Turns stored images and labels into the examples that a method or a network sees.

    Called with images (n, c, h, w), labels (n,) or (n, classes) and a generator for whatever is drawn at random;
    returns images and labels of the examples. `spec` says it in plain values for the record; it is empty where the view
    is only for the making, such as random masks. `copies` is the number of examples that each stored image becomes.
    """

    @property
    def spec(self) -> Mapping[str, Any]: ...

    @property
    def copies(self) -> int: ...

    def __call__(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]: ...


class Synthetic:
    """Images being distilled: the leaves that an optimizer changes, and how to see them as examples.

    Parameters
    ----------
    pixels
        The stored images, normalised, shape (n, c, h, w), grouped by class; becomes a leaf of its own.
    labels
        Their classes, int64, shape (n,).
    classes
        Number of classes.
    source
        Position in the data's source of the image that each began as; −1 for none.
    views
        What turns stored images into examples, in order.
    clamp
        Least and greatest normalised value of a pixel, each broadcastable against an image: pixels are put back between
        them after each step. None: free.
    decay
        Keep an exponential moving average of the pixels with this decay in 0..1; the record then holds the average.
    **learned
        Further tensors to optimise along with the pixels, each of which becomes a leaf: ``step_size``,
        ``label_logits``, … `label_logits`, shape (n, classes), replaces the hard labels by their softmax.

    Attributes
    ----------
    leaves
        Name → leaf: ``pixels`` and what is learned besides.
    """

    def __init__(
        self,
        pixels: Tensor,
        labels: Tensor,
        classes: int,
        *,
        source: Tensor | None = None,
        views: tuple[View, ...] = (),
        clamp: tuple[Tensor, Tensor] | None = None,
        decay: float | None = None,
        **learned: Tensor,
    ) -> None:
        self.leaves = {
            name: value.detach().clone().requires_grad_() for name, value in {"pixels": pixels, **learned}.items()
        }
        self.hard_labels = labels
        self.classes = classes
        self.source = source
        self.views = views
        self.clamp = clamp
        self.decay = decay
        self.average = None if decay is None else self.pixels.detach().clone()

    @property
    def pixels(self) -> Tensor:
        """The stored images, a leaf."""
        return self.leaves["pixels"]

    @property
    def labels(self) -> Tensor:
        """Labels of the stored images: (n,), or (n, classes) with a gradient where they are learned."""
        logits = self.leaves.get("label_logits")
        return self.hard_labels if logits is None else logits.softmax(1)

    @property
    def kept(self) -> Tensor:
        """The images that the record holds: the pixels, or their moving average."""
        return (self.pixels if self.average is None else self.average).detach()

    @property
    def copies(self) -> int:
        """The number of examples that each stored image becomes."""
        return math.prod(view.copies for view in self.views)

    def examples(self, generator: torch.Generator, rows: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Images and labels as a network sees them, with gradients to the leaves; of the stored images at `rows`.

        What views draw at random is drawn anew at each call, as long as the generator is the same one.
        """
        images, labels = self.pixels, self.labels
        if rows is not None:
            rows = rows.to(images.device)
            images, labels = images[rows], labels[rows]
        for view in self.views:
            images, labels = view(images, labels, generator)
        return images, labels

    def batches(self, size: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """One pass over the stored images in random order, in batches that become `size` examples (the last fewer).

        Where views multiply the images, a batch holds fewer stored ones, so that a step on it stays as large as it was.
        """
        stored = max(1, size // self.copies)
        order = torch.randperm(len(self.pixels), generator=generator, device=generator.device)
        for rows in order.split(stored):
            yield self.examples(generator, rows)

    def by_class(self, generator: torch.Generator) -> Tensor:
        """The examples grouped by class, shape (classes, m, c, h, w)."""
        images, labels = self.examples(generator)
        hard = labels.argmax(1) if labels.ndim == 2 else labels
        return images[hard.argsort(stable=True)].unflatten(0, (self.classes, -1))

    def of_class(self, c: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The examples of one class and their labels; `examples` of its stored images."""
        hard = self.hard_labels if "label_logits" not in self.leaves else self.labels.argmax(1)
        return self.examples(generator, (hard == c).nonzero().flatten())

    @torch.no_grad()
    def settle(self) -> None:
        """After a step of the optimizer: put pixels back into their range, move the average on."""
        if self.clamp is not None:
            self.pixels.clamp_(*self.clamp)
        if self.average is not None:
            self.average.lerp_(self.pixels, 1 - (self.decay or 0.0))

    def state(self) -> dict[str, Tensor]:
        """Copies of all leaves and of the average, to continue from."""
        found = {name: leaf.detach().clone() for name, leaf in self.leaves.items()}
        return found if self.average is None else found | {"average": self.average.clone()}

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor]) -> None:
        """Set leaves and average from `state`."""
        for name, leaf in self.leaves.items():
            leaf.copy_(state[name])
        if self.average is not None:
            self.average.copy_(state["average"])


class Tiles:
    """Each stored image is a grid of `factor` × `factor` small ones, each enlarged (bilinear) to full size at use.

    The multi-formation of IDC, also used by NCFM and DREAM: the same pixels hold factor² examples. Rows and columns
    that do not divide are padded with zeros, the mean grey.
    """

    def __init__(self, factor: int) -> None:
        if factor < 1:
            raise ValueError(f"factor is {factor}; it must be at least 1")
        self.factor = factor

    @property
    def spec(self) -> dict[str, Any]:
        return {"tiles": self.factor}

    @property
    def copies(self) -> int:
        return self.factor**2

    def __call__(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:  # noqa: ARG002 - a `View`
        q, (height, width) = self.factor, images.shape[-2:]
        padded = F.pad(images, (0, -width % q, 0, -height % q))
        cut = padded.unflatten(-2, (q, -1)).unflatten(-1, (q, -1))  # (n, c, q, h, q, w)
        small = cut.permute(0, 2, 4, 1, 3, 5).flatten(0, 2)
        large = F.interpolate(small, size=(height, width), mode="bilinear", align_corners=False)
        return large, labels.repeat_interleave(q * q, 0)


class Mirror:
    """Each stored image is accompanied by its mirror image (FYI, paper 086): n images, then their n mirror images."""

    @property
    def spec(self) -> dict[str, Any]:
        return {"mirror": True}

    @property
    def copies(self) -> int:
        return 2

    def __call__(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:  # noqa: ARG002 - a `View`
        return torch.cat([images, images.flip(-1)]), torch.cat([labels, labels])


VIEWS: dict[str, Callable[[Any], View]] = {"tiles": Tiles, "mirror": lambda _: Mirror()}


def views_of(spec: Mapping[str, Any]) -> tuple[View, ...]:
    """The views that a record's `view` names.

    Raises
    ------
    ValueError
        A name this workbench does not know.
    """
    unknown = spec.keys() - VIEWS.keys()
    if unknown:
        raise ValueError(f"view names {min(unknown)!r}; this workbench knows {', '.join(VIEWS)}")
    return tuple(VIEWS[name](value) for name, value in spec.items())
