"""The records of looking at distilled images one by one: what each does in training, and where a network looks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pandas as pd
import torch
from torch import Tensor

from workbench.records.base import Record


@dataclass(frozen=True, eq=False, kw_only=True)
class Attribution(Record):
    """Which pixels a network's output for a class hangs on, for each of n images.

    Attributes
    ----------
    method
        ``"integrated_gradients"``, ``"saliency"``, ``"input_x_gradient"``, ``"occlusion"`` or ``"gradient_shap"``.
    target
        The class whose logit is attributed, int64, shape (n,).
    baseline
        What absence means: ``"mean"``, ``"black"``, ``"white"``, ``"noise"``, ``"given"``; ``""`` for a method that
        needs none.
    values
        float32, shape (n, channels, height, width). Signed, except of saliency, whose values are magnitudes.
    delta
        Sum of the values minus the logit's difference between image and baseline, shape (n,): zero if the method's
        sum were exact. None for a method that promises no sum.
    rows
        Positions of the images in the set they come from, int64, shape (n,).
    settings
        The method's own settings, as plain values.
    """

    method: str
    target: Tensor
    baseline: str = ""
    values: Tensor
    delta: Tensor | None = None
    rows: Tensor
    settings: dict[str, Any] = field(default_factory=dict)

    layout: ClassVar[Mapping[str, str]] = {
        "values": "float n _ _ _",
        "target": "whole n",
        "delta": "float n",
        "rows": "whole n",
    }

    def __post_init__(self) -> None:
        n = len(self.values)
        if self.values.ndim != 4:
            raise ValueError(f"values have shape {tuple(self.values.shape)}; (n, channels, height, width) is needed")
        for what, value in (("target", self.target), ("delta", self.delta), ("rows", self.rows)):
            if value is not None and tuple(value.shape) != (n,):
                raise ValueError(f"{what} has shape {tuple(value.shape)}; {n} images ask for ({n},)")

    @property
    def heat(self) -> Tensor:
        """The values summed over channels, shape (n, height, width)."""
        return self.values.sum(1)

    def check(self) -> None:
        super().check()
        if not self.values.numel():
            raise ValueError(f"values have shape {tuple(self.values.shape)}: there is nothing in them")

    def summary(self) -> str:
        against = f" against {self.baseline}" if self.baseline else ""
        error = "" if self.delta is None else f", largest convergence delta {float(self.delta.abs().max()):.2g}"
        return f"{self.method.replace('_', ' ')}{against} of {len(self.values)} images{error}"

    def to_frame(self) -> pd.DataFrame:
        """One row per image: `row`, `target`, `sum`, `largest` magnitude of a pixel, and `delta` where there is one."""
        columns: dict[str, Any] = {
            "row": self.rows.tolist(),
            "target": self.target.tolist(),
            "sum": self.values.flatten(1).sum(1).tolist(),
            "largest": self.heat.abs().flatten(1).amax(1).tolist(),
        }
        if self.delta is not None:
            columns["delta"] = self.delta.tolist()
        return pd.DataFrame(columns)


@dataclass(frozen=True, eq=False, kw_only=True)
class DistilledLooks(Record):
    """What `workbench.condensation.look` finds about each of the n images of a distilled set, under one network.

    An image that stands for several examples (tiles, mirror images) has the mean over them.

    Attributes
    ----------
    network
        What the network is called.
    spec
        What `workbench.models.build` needs to build it; None for a network of the user's own.
    classes
        The C class names.
    loss
        Cross-entropy with the image's own label in nats, shape (n,).
    gradient_norm
        Norm of the gradient of that loss by the network's parameters, shape (n,).
    probabilities
        What the network says about the image, shape (n, C).
    real
        Thumbnails of the real images named below, uint8, shape (m, channels, height, width).
    real_labels
        Their classes, int64, shape (m,).
    real_index
        Their positions in the data's source (`Split.index`), int64, shape (m,).
    real_is_test
        Which of them are of the test split, bool, shape (m,).
    nearest_pixels, nearest_features
        Rows of `real` of the nearest training images, nearest first, int64, shape (n, k): by pixels (normalised), and
        by the network's penultimate features.
    nearest_pixels_distance, nearest_features_distance
        Euclidean distances to them, shape (n, k).
    influence
        Mean change of the loss (nats) on the test examples of each class when the image is left out of training,
        shape (n, C): positive where the image helps. None if it was not asked for.
    influence_rows
        Rows of `real` of the test examples that leaving the image out changes most, most first, int64, shape (n, k).
    influence_values
        Those changes in nats, shape (n, k).
    attributions
        By a name such as ``"integrated_gradients"``.
    settings
        The arguments, as plain values.
    """

    network: str
    spec: dict[str, Any] | None = None
    classes: tuple[str, ...] = ()
    loss: Tensor
    gradient_norm: Tensor
    probabilities: Tensor
    real: Tensor
    real_labels: Tensor
    real_index: Tensor
    real_is_test: Tensor
    nearest_pixels: Tensor
    nearest_pixels_distance: Tensor
    nearest_features: Tensor
    nearest_features_distance: Tensor
    influence: Tensor | None = None
    influence_rows: Tensor | None = None
    influence_values: Tensor | None = None
    attributions: dict[str, Attribution] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)

    layout: ClassVar[Mapping[str, str]] = {
        "loss": "float images",
        "gradient_norm": "float images",
        "probabilities": "float images labels_",
        "real": "byte m _ _ _",
        "real_labels": "whole m",
        "real_index": "whole m",
        "real_is_test": "truth m",
        "nearest_pixels": "whole images k",
        "nearest_pixels_distance": "float images k",
        "nearest_features": "whole images j",
        "nearest_features_distance": "float images j",
        "influence": "float images labels_",
        "influence_rows": "whole images i",
        "influence_values": "float images i",
    }

    def __post_init__(self) -> None:
        n, m = len(self.loss), len(self.real)
        each = (
            "gradient_norm",
            "probabilities",
            "nearest_pixels",
            "nearest_pixels_distance",
            "nearest_features",
            "nearest_features_distance",
            "influence",
            "influence_rows",
            "influence_values",
        )
        for names, length in ((each, n), (("real_labels", "real_index", "real_is_test"), m)):
            for name in names:
                value = getattr(self, name)
                if value is not None and len(value) != length:
                    raise ValueError(f"{name} has {len(value)} rows; there must be {length}")
        for name in ("nearest_pixels", "nearest_features", "influence_rows"):
            rows = getattr(self, name)
            if rows is not None and rows.numel() and not 0 <= int(rows.min()) <= int(rows.max()) < m:
                raise ValueError(f"{name} names row {int(rows.max())} of {m} real images")

    def __len__(self) -> int:
        return len(self.loss)

    def check(self) -> None:
        super().check()
        known = self.probabilities.shape[1]
        if not known or len(self.classes) not in ((known,) if self.influence is not None else (0, known)):
            raise ValueError(f"probabilities are of {known} classes, names of {len(self.classes)}")

    def summary(self) -> str:
        own = "" if self.influence is None else ", influence by leaving each out"
        pinned = f", {len(self.attributions)} attributions" if self.attributions else ""
        return (
            f"{len(self)} distilled images under {self.network}: loss {float(self.loss.mean()):.3f} nats, mean "
            f"gradient norm {float(self.gradient_norm.mean()):.3g}, {len(self.real)} real images beside "
            f"them{own}{pinned}"
        )

    def to_frame(self) -> pd.DataFrame:
        """One row per image: `image`, `loss`, `gradient_norm`, `confidence`, distances to the nearest real image, and
        ``influence[class]`` where it is known.
        """
        columns: dict[str, Any] = {
            "image": range(len(self)),
            "loss": self.loss.tolist(),
            "gradient_norm": self.gradient_norm.tolist(),
            "confidence": self.probabilities.amax(1).tolist(),
            "nearest_pixels_distance": _first(self.nearest_pixels_distance),
            "nearest_features_distance": _first(self.nearest_features_distance),
        }
        if self.influence is not None:
            columns |= {f"influence[{name}]": self.influence[:, c].tolist() for c, name in enumerate(self.classes)}
        return pd.DataFrame(columns)


def _first(distances: Tensor) -> list[float]:
    found: list[float] = (distances[:, 0] if distances.shape[1] else torch.full((len(distances),), torch.nan)).tolist()
    return found
