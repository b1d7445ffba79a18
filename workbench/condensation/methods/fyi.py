"""FYI: every synthetic image is accompanied by its mirror image, so that it needs to store one side only.

    FYI(X, y) = ([X; flip(X)], [y; y])   wherever a method consumes synthetic images; X alone is stored.

Son et al., “FYI: Flip Your Images for Dataset Distillation”, ECCV 2024 (paper 086). For any host: gradient matching,
distribution matching, trajectory matching. It helps where left and right occur equally often, which they do in
photographs and not in digits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from workbench.condensation.judging.evaluate import evaluate
from workbench.condensation.making.synthetic import Mirror, View
from workbench.condensation.making.viewed import Viewed
from workbench.data import Dataset
from workbench.records import DistilledEvaluation, DistilledSet

TESTS = ("copies", "plain", "random flip", "doubled batch")


@dataclass(frozen=True)
class FYI(Viewed):
    """A host that always sees its images beside their mirror images.

    Mini-batches hold half as many stored images, so that steps stay comparable with the host's (losses are means). The
    host's own augmentation comes after, the same as without FYI.

    Attributes
    ----------
    host
        The method, such as ``DistributionMatching(ipc=1)``.

    Examples
    --------
    >>> import workbench as wb
    >>> data = wb.data.mirrored(wb.data.load("digits"))
    >>> method = FYI(wb.condensation.DistributionMatching(ipc=1, real_batch=16))
    >>> tiny = wb.condensation.condense(data, method, iterations=2, progress=False)
    >>> tiny.method, tiny.images.shape, tiny.view
    ('FYI-DM', torch.Size([10, 1, 8, 8]), {'mirror': True})
    """

    @property
    def view(self) -> View:
        return Mirror()


def asymmetry(images: Tensor) -> float:
    """How far images are from their mirror images: mean over images of ‖x − flip(x)‖ / ‖x‖, in 0..2.

    Parameters
    ----------
    images
        Shape (n, c, h, w), normalised, so that lengths are measured from the mean grey; a wholly grey image counts 0.

    Examples
    --------
    >>> import torch
    >>> half = torch.tensor([[[[1.0, 0.0]]]])
    >>> asymmetry(half + half.flip(-1)), round(asymmetry(half), 3)
    (0.0, 1.414)
    """
    x = images.double().flatten(1)
    turned = images.double().flip(-1).flatten(1)
    return ((x - turned).norm(dim=1) / x.norm(dim=1).clamp(min=1e-12)).mean().item()


def evaluate_mirrored(
    distilled: DistilledSet,
    data: Dataset,
    networks: str | Sequence[str] = ("convnet",),
    seeds: int | Sequence[int] = 5,
    epochs: int = 300,
    *,
    tests: Sequence[str] = TESTS,
    batch_size: int = 256,
    **options: Any,
) -> dict[str, DistilledEvaluation]:
    """Evaluate the same stored images with and without mirror images, which tells FYI's gain from mere augmentation.

    Parameters
    ----------
    distilled
        A set, made with FYI or without.
    data, networks, seeds, epochs
        As for `workbench.condensation.evaluate`.
    tests
        Which: ``"copies"`` trains on the images and their mirror images, half of a batch each; ``"plain"`` on the
        images alone; ``"random flip"`` on the images, each mirrored half of the time; ``"doubled batch"`` as
        ``"copies"`` with batches twice as large (the same steps as without copies).
    batch_size
        Examples per step of all but the last.
    options
        Further arguments of `workbench.condensation.evaluate`.

    Returns
    -------
    dict
        Test → evaluation.

    Raises
    ------
    ValueError
        A test of another name; or an augmentation is given besides, which would be in some tests and not in others.
    """
    unknown = [test for test in tests if test not in TESTS]
    if unknown:
        raise ValueError(f"tests has {unknown[0]!r}; it can have {', '.join(TESTS)}")
    if options.get("augment") is not None:
        raise ValueError("augment must be left out: these tests differ in what they do to left and right")
    view = {key: value for key, value in distilled.view.items() if key != "mirror"}
    bare, paired = distilled.replace(view=view), distilled.replace(view=view | {"mirror": True})
    found = {}
    for test in tests:
        copies = test in ("copies", "doubled batch")
        found[test] = evaluate(
            paired if copies else bare,
            data,
            networks,
            seeds,
            epochs,
            augment="flip" if test == "random flip" else None,
            batch_size=2 * batch_size if test == "doubled batch" else batch_size,
            name=f"{distilled.name}, {test}",
            **options,
        )
    return found
